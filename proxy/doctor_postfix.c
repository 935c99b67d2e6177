/*
 * Settings of Postfix's service for Postern, by what a session there has shown to be missing.
 * Called by the doctor's checks of backends. Asks nothing itself.
 */
#include "proxy/doctor_postfix.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "proxy/base/compiler.h"

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

void doctor_postfix_line(const struct config_backend *backend, enum doctor_postfix_lack lack,
                         char out[static DOCTOR_POSTFIX_SIZE])
{
    *out = '\0';
    if (address_port(&backend->address) == 25) {
        append(out,
               "give Postern a service of its own there: \"postern setup\" shows the lines");
        return;
    }
    append(out, "postconf -Pe");
    for (size_t i = 0; i < 3 && settings[lack][i]; i++)
        append(out, " %s/inet/%s", backend->address_text, settings[lack][i]);
    append(out, ", then postfix reload");
}
