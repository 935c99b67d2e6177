/* What the doctor's checks share: the configuration that they look at, and where they say what
 * they found. A check is a row of the table in doctor.c and a function below. */
#ifndef POSTERN_DOCTOR_INTERNAL_H
#define POSTERN_DOCTOR_INTERNAL_H

#include <openssl/x509.h>
#include <stdbool.h>
#include <stddef.h>

#include "proxy/config.h"
#include "proxy/doctor_report.h"

/* What the checks of a backend leave to the checks after them. */
struct doctor_backend {
    bool answers;   /* it was seen to answer */
    bool no_logins; /* it does not relay for logged-in users */
};

struct doctor {
    const char *path;            /* of the configuration */
    const struct config *config; /* NULL: it cannot be used */
    bool root;
    struct doctor_backend *backends; /* by index into config->backends */
    bool dns_silent;                 /* no name server has answered */
    enum doctor_severity fault;      /* what a fault in the check that runs counts as */
    struct doctor_report report;
};

/* What a check says, in a printf format: about what, a colon, how it is. */
#define doctor_good(doctor, ...) doctor_report_add(&(doctor)->report, DOCTOR_OK, __VA_ARGS__)
#define doctor_note(doctor, ...) doctor_report_add(&(doctor)->report, DOCTOR_NOTE, __VA_ARGS__)
#define doctor_skip(doctor, ...)                                                               \
    doctor_report_add(&(doctor)->report, DOCTOR_SKIPPED, __VA_ARGS__)
#define doctor_fault(doctor, ...)                                                              \
    doctor_report_add(&(doctor)->report, (doctor)->fault, __VA_ARGS__)
/* What to do about the finding before, as an imperative. */
#define doctor_advise(doctor, ...) doctor_report_advise(&(doctor)->report, __VA_ARGS__)

typedef void doctor_check(struct doctor *doctor);

/* The files of section tls (index 0), and of each section certificate. */
struct doctor_pair {
    const char *certificate, *key;
};
size_t doctor_pair_count(const struct doctor *doctor);
struct doctor_pair doctor_pair(const struct doctor *doctor, size_t index);

/* doctor_certificate.c */
/* Is it the first one in one of those files? */
bool doctor_has_certificate(const struct doctor *doctor, const X509 *certificate);
/* Is there a certificate in each of those files? */
bool doctor_reads_certificates(const struct doctor *doctor);
doctor_check doctor_check_certificates, doctor_check_validity, doctor_check_renewal;
doctor_check doctor_check_names, doctor_check_chains;
/* doctor_files.c */
doctor_check doctor_check_keys, doctor_check_directories, doctor_check_unit;
/* doctor_pam.c */
doctor_check doctor_check_pam_service, doctor_check_pam_modules, doctor_check_pam_refusals;
/* doctor_backend.c */
doctor_check doctor_check_backends, doctor_check_identities, doctor_check_strangers;
doctor_check doctor_check_local;
/* doctor_listen.c */
struct address doctor_listen_target(const struct config_listen *listen);

/* Does the listener want a PROXY header from this host, as it believes this end of a connection
 * to it? Writes the address of this end. */
MUST_USE bool doctor_listen_wants_header(const struct config_listen *listen, int fd,
                                         struct address *own);
doctor_check doctor_check_ports, doctor_check_listeners, doctor_check_served;
/* doctor_dns.c */
doctor_check doctor_check_dns, doctor_check_reverse, doctor_check_services;
/* doctor_shared.c */
doctor_check doctor_check_shared, doctor_check_secret, doctor_check_admin;
/* doctor_host.c */
doctor_check doctor_check_users, doctor_check_descriptors, doctor_check_clock;
doctor_check doctor_check_synchronisation, doctor_check_log, doctor_check_overlap;

#endif
