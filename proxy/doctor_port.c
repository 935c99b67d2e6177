/* Turns what /proc says of a port into one of five cases, and names the way to free a port that
 * a known mail server has. Changes nothing. */
#include "proxy/doctor_port.h"

#include <string.h>

#define SENDMAIL                                                                               \
    "sendmail: sed -i '/Port=submission/s/^DAEMON_OPTIONS/dnl &/' /etc/mail/sendmail.mc, "     \
    "then make -C /etc/mail, then systemctl restart sendmail"

static const struct {
    const char *process, *advice;
} occupants[] = {
    {"master", "Postfix: postconf -M# submission/inet (or smtps/inet, submissions/inet: as its "
               "service is called in /etc/postfix/master.cf), then postfix reload"},
    {"exim", "Exim: take the port out of daemon_smtp_ports, then restart it"},
    {"exim4", "Exim: take the port out of daemon_smtp_ports, then restart it"},
    {"sendmail-mta", SENDMAIL},
    {"sendmail", SENDMAIL},
    {"couriertcpd", "Courier: systemctl disable --now courier-msa courier-mta-ssl"},
    {"smtpd", "OpenSMTPD: take the port out of its \"listen on\", then restart it"},
};

enum doctor_port doctor_port_find(const struct address *address,
                                  struct doctor_port_owner *owner)
{
    if (!doctor_sockets_find(address, &owner->socket))
        return DOCTOR_PORT_FREE;
    if (!doctor_sockets_owner(&owner->socket, &owner->process))
        return DOCTOR_PORT_UNSEEN;
    if (owner->process.postern)
        return DOCTOR_PORT_POSTERN;
    return owner->process.pid == 1 ? DOCTOR_PORT_UNIT : DOCTOR_PORT_TAKEN;
}

const char *doctor_port_advice(const char *process)
{
    for (size_t i = 0; i < sizeof occupants / sizeof occupants[0]; i++)
        if (strcmp(occupants[i].process, process) == 0)
            return occupants[i].advice;
    return "stop it or give it another port, or change \"address\" in section listen (a file "
           "without such sections needs one for each port that Postern is to have)";
}
