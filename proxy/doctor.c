/*
 * The doctor's command line and the table of its checks. Called by main.c; each check is in a
 * file of its topic, doctor_*.c. Blocks, with deadlines; changes nothing.
 */
#include "proxy/doctor.h"

#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proxy/doctor_internal.h"

static const char default_path[] = POSTERN_SYSCONFDIR "/postern/postern.conf";

/* In the order in which they are made: what others need comes first. */
static const struct {
    const char *name;
    doctor_check *run;
    enum doctor_severity fault;
    bool of_configuration; /* nothing can be said without one */
} checks[] = {
    {"user", doctor_check_users, DOCTOR_ERROR, true},
    {"certificate", doctor_check_certificates, DOCTOR_ERROR, true},
    {"certificate-validity", doctor_check_validity, DOCTOR_ERROR, true},
    {"certificate-renewal", doctor_check_renewal, DOCTOR_WARNING, true},
    {"certificate-name", doctor_check_names, DOCTOR_ERROR, true},
    {"certificate-chain", doctor_check_chains, DOCTOR_WARNING, true},
    {"key", doctor_check_keys, DOCTOR_ERROR, true},
    {"directories", doctor_check_directories, DOCTOR_ERROR, true},
    {"configuration-secret", doctor_check_secret, DOCTOR_ERROR, true},
    {"log", doctor_check_log, DOCTOR_ERROR, true},
    {"pam-service", doctor_check_pam_service, DOCTOR_ERROR, true},
    {"pam-modules", doctor_check_pam_modules, DOCTOR_ERROR, true},
    {"pam-refusals", doctor_check_pam_refusals, DOCTOR_WARNING, true},
    {"backend", doctor_check_backends, DOCTOR_ERROR, true},
    {"backend-identity", doctor_check_identities, DOCTOR_ERROR, true},
    {"backend-open-relay", doctor_check_strangers, DOCTOR_ERROR, true},
    {"backend-local-relay", doctor_check_local, DOCTOR_WARNING, true},
    {"port", doctor_check_ports, DOCTOR_ERROR, true},
    {"certificate-served", doctor_check_served, DOCTOR_WARNING, true},
    {"listener-open-relay", doctor_check_listeners, DOCTOR_ERROR, true},
    {"shared", doctor_check_shared, DOCTOR_WARNING, true},
    {"admin", doctor_check_admin, DOCTOR_WARNING, true},
    {"dns", doctor_check_dns, DOCTOR_WARNING, true},
    {"dns-reverse", doctor_check_reverse, DOCTOR_WARNING, true},
    {"dns-services", doctor_check_services, DOCTOR_NOTE, true},
    {"descriptors", doctor_check_descriptors, DOCTOR_WARNING, true},
    {"clock", doctor_check_clock, DOCTOR_ERROR, false},
    {"clock-synchronised", doctor_check_synchronisation, DOCTOR_NOTE, false},
};

static const struct option long_options[] = {
    {"config", required_argument, NULL, 'c'},
    {"json", no_argument, NULL, 'j'},
    {"help", no_argument, NULL, 'h'},
    {0},
};

static int print_usage(FILE *out, int status)
{
    fprintf(out,
            "usage: postern doctor [-c FILE] [--json]\n"
            "\n"
            "  -c, --config FILE  look at what FILE describes (default: %s)\n"
            "      --json         write a JSON array\n"
            "  -h, --help         print this and exit\n"
            "\n"
            "Exit status: 0 all is well, 1 there are warnings, 2 there are errors\n",
            default_path);
    return status;
}

static void load(struct doctor *doctor, struct config **config)
{
    doctor->report.check = "configuration";
    doctor->config = *config = config_load(doctor->path);
    if (*config)
        doctor->answers = calloc((*config)->backend_count, sizeof *doctor->answers);
    if (doctor->answers) {
        doctor_good(doctor, "%s: good", doctor->path);
        return;
    }
    doctor->config = NULL;
    doctor_report_add(&doctor->report, DOCTOR_ERROR, "%s: cannot be used", doctor->path);
    doctor_advise(doctor, "mend what standard error tells; most checks need the file");
}

static int examine(struct doctor *doctor)
{
    struct config *config = NULL;
    doctor_report_begin(&doctor->report);
    load(doctor, &config);
    for (size_t i = 0; i < sizeof checks / sizeof checks[0]; i++) {
        doctor->report.check = checks[i].name;
        doctor->fault = checks[i].fault;
        if (doctor->config || !checks[i].of_configuration)
            checks[i].run(doctor);
    }
    int status = doctor_report_end(&doctor->report);
    free(doctor->answers);
    config_free(config);
    return status;
}

int doctor_main(int argc, char **argv)
{
    struct doctor doctor = {.path = default_path, .root = geteuid() == 0};
    int option;

    doctor.report.out = stdout;
    signal(SIGPIPE, SIG_IGN); /* OpenSSL writes without MSG_NOSIGNAL */
    optind = 2;
    while ((option = getopt_long(argc, argv, "c:h", long_options, NULL)) != -1) {
        switch (option) {
        case 'c':
            doctor.path = optarg;
            break;
        case 'j':
            doctor.report.json = true;
            break;
        case 'h':
            return print_usage(stdout, DOCTOR_STATUS_GOOD);
        default:
            return print_usage(stderr, DOCTOR_STATUS_ERROR);
        }
    }
    if (optind < argc)
        return print_usage(stderr, DOCTOR_STATUS_ERROR);
    return examine(&doctor);
}
