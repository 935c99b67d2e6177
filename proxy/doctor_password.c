/* The password of `postern doctor --login`. Called by doctor.c; it is never echoed, and a
 * signal leaves the terminal as it was. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "proxy/doctor_login.h"

static volatile sig_atomic_t caught;

static void on_signal(int number)
{
    caught = number;
}

static bool complain(const char *why)
{
    fprintf(stderr, "postern doctor: --login: %s\n", why);
    return false;
}

/* One line, byte by byte, so that what follows it stays unread. */
static bool read_line(char out[static DOCTOR_LOGIN_PASSWORD_SIZE])
{
    size_t length = 0;
    for (;;) {
        char byte;
        ssize_t got = read(STDIN_FILENO, &byte, 1);
        if (got < 0 && (errno != EINTR || caught))
            return complain("the password cannot be read");
        if (got == 0 && length == 0)
            return complain("no password came from standard input");
        if (got == 0 || (got > 0 && byte == '\n'))
            break;
        if (got > 0 && length == DOCTOR_LOGIN_PASSWORD_SIZE - 1)
            return complain("the password is too long");
        if (got > 0)
            out[length++] = byte;
    }
    out[length] = '\0';
    return length > 0 || complain("the password is empty");
}

/* Signals that would end the process end it when the terminal is as it was. */
static bool ask(const char *user, char out[static DOCTOR_LOGIN_PASSWORD_SIZE])
{
    static const int ending[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
    enum { COUNT = sizeof ending / sizeof ending[0] };
    struct sigaction before[COUNT], quiet = {.sa_handler = on_signal};
    struct termios shown, hidden;
    if (tcgetattr(STDIN_FILENO, &shown) < 0)
        return complain("the terminal cannot be used");
    for (size_t i = 0; i < COUNT; i++)
        sigaction(ending[i], &quiet, &before[i]);
    hidden = shown;
    hidden.c_lflag &= ~(tcflag_t)ECHO;
    bool good = tcsetattr(STDIN_FILENO, TCSAFLUSH, &hidden) == 0;
    fprintf(stderr, "Password of %s: ", user);
    good = good && read_line(out);
    (void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &shown);
    fputc('\n', stderr);
    for (size_t i = 0; i < COUNT; i++)
        sigaction(ending[i], &before[i], NULL);
    if (caught)
        raise(caught);
    return good;
}

bool doctor_login_complete(struct doctor_login *login, const char *hostname)
{
    if (!*login->from)
        snprintf(login->from, sizeof login->from, "%s%s%s", login->user,
                 strchr(login->user, '@') ? "" : "@", strchr(login->user, '@') ? "" : hostname);
    return isatty(STDIN_FILENO) ? ask(login->user, login->password)
                                : read_line(login->password);
}
