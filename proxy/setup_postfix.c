/*
 * The lines of etc/examples/postfix/README.md, with the address that is free on this host. That
 * page says what each setting is for. Called by setup_server.c. Changes nothing itself.
 */
#include "proxy/setup_postfix.h"

#include "proxy/doctor_postfix.h"
#include "proxy/doctor_sockets.h"

static const char *const settings[] = {
    "syslog_name=postfix/postern",
    "smtpd_authorized_xclient_hosts=127.0.0.1",
    "smtpd_sasl_auth_enable=yes",
    "smtpd_sasl_security_options=noanonymous",
    "smtpd_relay_restrictions=permit_sasl_authenticated,reject",
    "smtpd_recipient_restrictions=",
    "smtpd_client_restrictions=",
    "smtpd_helo_restrictions=",
    "smtpd_sender_restrictions=",
    "smtpd_client_event_limit_exceptions=static:all",
    "mynetworks=",
    "inet_protocols=all",
    "smtpd_tls_security_level=none",
    "smtpd_tls_auth_only=no",
    "milter_macro_daemon_name=ORIGINATING",
};

static bool is_taken(const char *text)
{
    struct doctor_socket socket;
    struct address address;
    const char *why;
    return address_parse(text, &address, &why) && doctor_sockets_find(&address, &socket);
}

bool setup_postfix_has_service(const char *text)
{
    struct address address;
    const char *why;
    return address_parse(text, &address, &why) && address_is_loopback(&address) &&
           doctor_postfix_service_at(&address) == DOCTOR_POSTFIX_OURS;
}

void setup_postfix_address(char out[static ADDRESS_TEXT_SIZE])
{
    const char *const *addresses = doctor_postfix_addresses, *chosen = doctor_postfix_own();
    for (size_t i = 0; i < DOCTOR_POSTFIX_ADDRESSES && !chosen; i++)
        if (!is_taken(addresses[i]))
            chosen = addresses[i];
    snprintf(out, ADDRESS_TEXT_SIZE, "%s",
             chosen ? chosen : addresses[DOCTOR_POSTFIX_ADDRESSES - 1]);
}

/* The service is there: what keeps it from being of use? */
static void explain_service(const char *address, bool speaks, FILE *out)
{
    fprintf(out, "Its service for Postern is in /etc/postfix/master.cf, at %s, ", address);
    if (speaks)
        fprintf(out,
                "and does not let\n"
                "Postern say who its clients are. As root:\n"
                "\n"
                "    postconf -Pe %s/inet/smtpd_authorized_xclient_hosts=127.0.0.1\n"
                "    postfix reload\n",
                address);
    else if (is_taken(address))
        fputs("and does not answer\n"
              "as it should: usually Postfix has no SASL mechanism. As root:\n"
              "\n"
              "    apt-get install libsasl2-modules\n"
              "    postfix stop\n"
              "    postfix start\n",
              out);
    else
        fputs("and nothing listens\n"
              "there. As root, where \"postfix status\" says that Postfix runs:\n"
              "\n"
              "    postfix reload\n"
              "\n"
              "Where it does not run:\n"
              "\n"
              "    postfix start\n",
              out);
}

void setup_postfix_explain(const char *address, bool speaks, FILE *out)
{
    if (setup_postfix_has_service(address)) {
        explain_service(address, speaks, out);
        return;
    }
    fprintf(out,
            "A service of its own for Postern, at %s. Port 25 stays as it is. As root:\n"
            "\n"
            "    apt-get install libsasl2-modules\n"
            "    postconf -Me \"%s/inet = %s inet n - $(postconf -Fh '*/inet/chroot' | "
            "head -n 1) - - smtpd",
            address, address, address);
    for (size_t i = 0; i < sizeof settings / sizeof settings[0]; i++)
        fprintf(out, " \\\n        -o %s", settings[i]);
    fprintf(
        out,
        "\"\n"
        "    postfix reload\n"
        "\n"
        "Without libsasl2-modules, or another SASL mechanism, that service ends each session\n"
        "at once. It checks no passwords: Postern does. To take it back:\n"
        "\n"
        "    postconf -MX %s/inet\n"
        "    postfix reload\n"
        "\n"
        "In /etc/postfix/master.cf, submission and submissions (smtps) must be commented out:\n"
        "their ports are Postern's now.\n",
        address);
}
