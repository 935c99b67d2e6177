/*
 * syslog(3) for the libraries in our processes (libpam and its modules, NSS): the C library's
 * functions by their names, which the linker finds here first. The C library's wait for a
 * server that does not read, and an auth worker would wait with them (threat 37). Linked into
 * the program itself only; needs no header of its own, as <syslog.h> and the C library's
 * fortified names say what there is.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/base/log.h"
#include "proxy/base/log_syslog.h"

/* As in <syslog.h>, which may not be included: a fortified build defines the functions there.
 */
enum {
    FACILITY_MASK = 0x3f8,
    SEVERITY_MASK = 0x07,
    FACILITY_MAIL = 2 << 3,
    OPTION_PID = 0x01,
    ALL_SEVERITIES = 0xff,
};

void openlog(const char *name, int options, int facility);
void closelog(void);
int setlogmask(int mask);
void vsyslog(int priority, const char *format, va_list arguments) PRINTF_LIKE(2, 0);
void syslog(int priority, const char *format, ...) PRINTF_LIKE(2, 3);
/* What a fortified build of a library calls. NOLINTBEGIN(bugprone-reserved-identifier) */
void __vsyslog_chk(int priority, int flag, const char *format, va_list arguments)
    PRINTF_LIKE(3, 0);
void __syslog_chk(int priority, int flag, const char *format, ...) PRINTF_LIKE(3, 4);
/* NOLINTEND(bugprone-reserved-identifier) */

static const char *program = "postern";
static int default_facility = FACILITY_MAIL;
static bool with_pid = true;
static int severities = ALL_SEVERITIES;

void openlog(const char *name, int options, int facility)
{
    program = name ? name : "postern";
    with_pid = (options & OPTION_PID) != 0;
    if (facility & FACILITY_MASK)
        default_facility = facility & FACILITY_MASK;
}

void closelog(void)
{
    program = "postern";
    log_syslog_close();
}

int setlogmask(int mask)
{
    int before = severities;
    if (mask != 0)
        severities = mask;
    return before;
}

/* Where there is no server, as in a container, nobody wants to know, and nothing is lost. */
static bool is_lost(int error)
{
    return error == EAGAIN || error == ENOBUFS;
}

/* What is longer than a line of ours is cut. */
void vsyslog(int priority, const char *format, va_list arguments)
{
    char text[LOG_LINE_LIMIT];
    int error = errno, length;
    priority &= FACILITY_MASK | SEVERITY_MASK;
    if (!(severities & 1 << (priority & SEVERITY_MASK)))
        return;
    if (!(priority & FACILITY_MASK))
        priority |= default_facility;
    length = vsnprintf(text, sizeof text, format, arguments);
    if (length >= (int)sizeof text)
        length = sizeof text - 1;
    (void)log_tell_lost();
    if (length > 0 && !log_syslog_send(priority, program, with_pid, text, (size_t)length) &&
        is_lost(errno))
        log_count_lost();
    errno = error;
}

void syslog(int priority, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsyslog(priority, format, arguments);
    va_end(arguments);
}

void __vsyslog_chk(int priority, int flag, const char *format, va_list arguments)
{
    (void)flag;
    vsyslog(priority, format, arguments);
}

void __syslog_chk(int priority, int flag, const char *format, ...)
{
    va_list arguments;
    (void)flag;
    va_start(arguments, format);
    vsyslog(priority, format, arguments);
    va_end(arguments);
}
