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

#include "proxy/base/log.h"
#include "proxy/doctor_internal.h"
#include "proxy/doctor_login.h"
#include "proxy/privileges.h"

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
    {"unit", doctor_check_unit, DOCTOR_WARNING, true},
    {"configuration-secret", doctor_check_secret, DOCTOR_ERROR, true},
    {"log", doctor_check_log, DOCTOR_ERROR, true},
    {"pam-service", doctor_check_pam_service, DOCTOR_ERROR, true},
    {"pam-modules", doctor_check_pam_modules, DOCTOR_ERROR, true},
    {"pam-refusals", doctor_check_pam_refusals, DOCTOR_WARNING, true},
    {"backend", doctor_check_backends, DOCTOR_ERROR, true},
    {"backend-identity", doctor_check_identities, DOCTOR_ERROR, true},
    {"backend-open-relay", doctor_check_strangers, DOCTOR_ERROR, true},
    {"backend-local-relay", doctor_check_local, DOCTOR_WARNING, true},
    {"port-overlap", doctor_check_overlap, DOCTOR_ERROR, true},
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
    {"config", required_argument, NULL, 'c'}, {"json", no_argument, NULL, 'j'},
    {"login", required_argument, NULL, 'l'},  {"from", required_argument, NULL, 'f'},
    {"help", no_argument, NULL, 'h'},         {0},
};

static int print_usage(FILE *out, int status)
{
    fprintf(out,
            "usage: postern doctor [-c FILE] [--json] [--login USER [--from ADDRESS]]\n"
            "\n"
            "  -c, --config FILE  check what FILE describes (default: %s)\n"
            "      --json         write a JSON array\n"
            "      --login USER   try a login, and nothing else; the password is asked for,\n"
            "                     or the first line of standard input\n"
            "      --from ADDRESS the sender of that trial\n"
            "  -h, --help         print this and exit\n"
            "\n"
            "Exit status: 0 all is well, 1 there are warnings, 2 there are errors\n",
            default_path);
    return status;
}

static const char after_errors[] =
    "fix the errors of the file, then run the doctor again: most checks need the file";

/* What the configuration's reader logs. Standard error has it in any case, for people. */
static void on_message(void *context, enum log_level level, const char *text)
{
    struct doctor *doctor = context;
    if (!doctor->report.json || level > LOG_LEVEL_WARNING)
        return;
    doctor_report_add(&doctor->report, level == LOG_LEVEL_ERROR ? DOCTOR_ERROR : DOCTOR_WARNING,
                      "%s", text);
    if (level == LOG_LEVEL_ERROR)
        doctor_advise(doctor, "%s", after_errors);
}

static void load(struct doctor *doctor, struct config **config)
{
    doctor->report.check = "configuration";
    log_set_tap(on_message, doctor);
    doctor->config = *config = config_load(doctor->path);
    if (*config)
        config_advise(*config);
    log_set_tap(NULL, NULL);
    if (*config)
        doctor->backends = calloc((*config)->backend_count, sizeof *doctor->backends);
    if (doctor->backends) {
        doctor_good(doctor, "%s: good", doctor->path);
        return;
    }
    doctor->config = NULL;
    doctor_report_add(&doctor->report, DOCTOR_ERROR, "%s: cannot be used", doctor->path);
    doctor_advise(doctor, "%s", after_errors);
}

static void make_checks(struct doctor *doctor)
{
    for (size_t i = 0; i < sizeof checks / sizeof checks[0]; i++) {
        doctor->report.check = checks[i].name;
        doctor->fault = checks[i].fault;
        if (doctor->config || !checks[i].of_configuration)
            checks[i].run(doctor);
    }
}

/* False: there is no password. */
static bool try_login(struct doctor *doctor, struct doctor_login *login)
{
    doctor->report.check = "login";
    doctor->fault = DOCTOR_ERROR;
    if (!doctor->config)
        return true;
    if (!privileges_hide_memory() || !doctor_login_complete(login, doctor->config->hostname))
        return false;
    doctor_try_login(doctor, login);
    explicit_bzero(login->password, sizeof login->password);
    return true;
}

static int examine(struct doctor *doctor, struct doctor_login *login)
{
    struct config *config = NULL;
    bool good = true;
    doctor_report_begin(&doctor->report);
    load(doctor, &config);
    if (*login->user)
        good = try_login(doctor, login);
    else
        make_checks(doctor);
    int status = doctor_report_end(&doctor->report);
    free(doctor->backends);
    config_free(config);
    return good ? status : DOCTOR_STATUS_ERROR;
}

/* False: it is empty, or has no room, or what cannot stand in a command. */
static bool take_text(const char *text, char *out, size_t size)
{
    if (!*text || strlen(text) >= size || strpbrk(text, "\r\n"))
        return false;
    strcpy(out, text);
    return true;
}

int doctor_main(int argc, char **argv)
{
    struct doctor doctor = {.path = default_path, .root = geteuid() == 0};
    static struct doctor_login login;
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
        case 'l':
            if (!take_text(optarg, login.user, sizeof login.user))
                return print_usage(stderr, DOCTOR_STATUS_ERROR);
            break;
        case 'f':
            if (!take_text(optarg, login.from, sizeof login.from))
                return print_usage(stderr, DOCTOR_STATUS_ERROR);
            break;
        case 'h':
            return print_usage(stdout, DOCTOR_STATUS_GOOD);
        default:
            return print_usage(stderr, DOCTOR_STATUS_ERROR);
        }
    }
    if (optind < argc)
        return print_usage(stderr, DOCTOR_STATUS_ERROR);
    return examine(&doctor, &login);
}
