/*
 * Postfix's service for Postern: how to make or start it, and its settings, by what a session
 * there has shown to be missing. Called by the doctor's checks of backends. Reads master.cf
 * and runs nothing.
 */
#include "proxy/doctor_postfix.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAIN_CF   "/etc/postfix/main.cf"
#define MASTER_CF "/etc/postfix/master.cf"
/* In the lines of the manual. */
#define SYSLOG_NAME "syslog_name=postfix/postern"

/* Port 25, in most files, and the address that the lines of postern(8) have. */
#define SMTP_SERVICE    "smtp"
#define MANUALS_ADDRESS "127.0.0.1:10025"

const char *const doctor_postfix_addresses[DOCTOR_POSTFIX_ADDRESSES] = {
    MANUALS_ADDRESS, "127.0.0.1:10587", "127.0.0.1:10588"};

static const char *const settings[][3] = {
    [DOCTOR_POSTFIX_XCLIENT] = {"smtpd_authorized_xclient_hosts=127.0.0.1"},
    [DOCTOR_POSTFIX_LOGIN] = {"smtpd_sasl_auth_enable=yes", "smtpd_tls_auth_only=no",
                              "smtpd_relay_restrictions=permit_sasl_authenticated,reject"},
    [DOCTOR_POSTFIX_TLS] = {"smtpd_tls_security_level=none"},
};

PRINTF_LIKE(2, 3) static void append(char *out, const char *format, ...)
{
    size_t length = strlen(out);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(out + length, DOCTOR_POSTFIX_SIZE - length, format, arguments);
    va_end(arguments);
}

/* Port 25 is for strangers. */
static void append_other_service(char *out)
{
    const char *own = doctor_postfix_own();
    if (own)
        append(out, "Postfix has a service for Postern: set \"address\" to \"%s\"", own);
    else
        append(out, "give Postern a service of its own in Postfix: postern(8) shows the lines");
}

void doctor_postfix_line(const struct config_backend *backend, enum doctor_postfix_lack lack,
                         char out[static DOCTOR_POSTFIX_SIZE])
{
    *out = '\0';
    if (address_port(&backend->address) == 25) {
        append_other_service(out);
        return;
    }
    append(out, "postconf -Pe");
    for (size_t i = 0; i < 3 && settings[lack][i]; i++)
        append(out, " %s/inet/%s", backend->address_text, settings[lack][i]);
    append(out, ", then postfix reload");
}

/* Is it at that address? `service` is the first word of an entry of master.cf, such as
 * "10025", "localhost:10025" or "[::1]:10025". It is changed. */
static bool is_at(char *service, const struct address *address)
{
    char wanted[ADDRESS_HOST_SIZE];
    char *colon = strrchr(service, ':');
    const char *port = colon ? colon + 1 : service;
    unsigned long number = strcmp(port, SMTP_SERVICE) == 0 ? 25 : strtoul(port, NULL, 10);
    if (number != address_port(address))
        return false;
    if (!colon)
        return true;
    *colon = '\0';
    char *host = service + strspn(service, "[");
    host[strcspn(host, "]")] = '\0';
    address_host(address, wanted);
    return strcmp(host, wanted) == 0 || strcmp(host, "localhost") == 0;
}

static bool begins_entry_at(const char *line, const struct address *address)
{
    char service[128], type[8];
    return sscanf(line, "%127s %7s", service, type) == 2 && strcmp(type, "inet") == 0 &&
           is_at(service, address);
}

/* Lines that begin with a blank go on with the entry before. */
enum doctor_postfix_service doctor_postfix_service_at(const struct address *address)
{
    enum doctor_postfix_service found = DOCTOR_POSTFIX_NONE;
    FILE *file = fopen(MASTER_CF, "re");
    char *line = NULL;
    size_t size = 0;
    bool inside = false;
    while (file && found != DOCTOR_POSTFIX_OURS && getline(&line, &size, file) >= 0) {
        if (!strchr(" \t#\n", *line))
            inside = begins_entry_at(line, address);
        if (inside && *line != '#')
            found = strstr(line, SYSLOG_NAME) ? DOCTOR_POSTFIX_OURS : DOCTOR_POSTFIX_OTHER;
    }
    free(line);
    if (file)
        fclose(file);
    return found;
}

const char *doctor_postfix_own(void)
{
    for (size_t i = 0; i < DOCTOR_POSTFIX_ADDRESSES; i++) {
        struct address address;
        const char *why;
        if (address_parse(doctor_postfix_addresses[i], &address, &why) &&
            doctor_postfix_service_at(&address) == DOCTOR_POSTFIX_OURS)
            return doctor_postfix_addresses[i];
    }
    return NULL;
}

bool doctor_postfix_start(const struct config_backend *backend,
                          char out[static DOCTOR_POSTFIX_SIZE])
{
    const char *text = backend->address_text, *own;
    *out = '\0';
    if (*backend->program || !address_is_loopback(&backend->address) ||
        access(MAIN_CF, F_OK) != 0)
        return false;
    if (doctor_postfix_service_at(&backend->address) != DOCTOR_POSTFIX_NONE)
        append(out, MASTER_CF " has a service there; postfix status says whether Postfix runs: "
                              "then postfix reload, otherwise postfix start");
    else if (address_port(&backend->address) == 25 && (own = doctor_postfix_own()))
        append(out,
               "Postfix has no service there: set \"address\" to \"%s\", where it has one for "
               "Postern",
               own);
    else if (address_port(&backend->address) == 25)
        append(out, "Postfix has no service there: give Postern one of its own, as postern(8) "
                    "shows, and set \"address\" to it");
    else
        append(
            out,
            "Postfix has no service there: type the lines of postern(8), \"Behind Postfix on "
            "the same host\"%s%s%s, then postfix reload",
            strcmp(text, MANUALS_ADDRESS) == 0 ? "" : ", with ",
            strcmp(text, MANUALS_ADDRESS) == 0 ? "" : text,
            strcmp(text, MANUALS_ADDRESS) == 0 ? "" : " in place of " MANUALS_ADDRESS);
    return true;
}
