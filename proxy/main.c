/* The command line. Everything else is the master's, an auth worker's or an opener's. */
#include <getopt.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proxy/base/log.h"
#include "proxy/children.h"
#include "proxy/config.h"
#include "proxy/contexts.h"
#include "proxy/doctor.h"
#include "proxy/host.h"
#include "proxy/master.h"
#include "proxy/opener.h"
#include "proxy/process_title.h"
#include "proxy/setup.h"
#include "proxy/shared.h"
#include "proxy/supervisor.h"
#include "proxy/system_calls.h"
#include "proxy/upgrade.h"
#include "tls/memory.h"

static const char default_path[] = POSTERN_SYSCONFDIR "/postern/postern.conf";

static const struct option long_options[] = {
    {"config", required_argument, NULL, 'c'},
    {"check", no_argument, NULL, 'n'},
    {"version", no_argument, NULL, 'V'},
    {"help", no_argument, NULL, 'h'},
    {0},
};

/* What the binary is besides a server: the first argument says it. */
static const struct {
    const char *word;
    int (*run)(int argc, char **argv);
} commands[] = {
    {"--auth-worker", child_worker_main},
    {"--opener", opener_main},
    {"doctor", doctor_main},
    {"setup", setup_main},
};

static int print_usage(FILE *out, int status)
{
    fprintf(out,
            "usage: postern [-c FILE] [-n]\n"
            "       postern setup [OPTION ...]\n"
            "       postern doctor [-c FILE] [--json]\n"
            "\n"
            "  -c, --config FILE  read FILE (default: %s)\n"
            "  -n, --check        check the configuration, and what it needs here, and exit\n"
            "  -V, --version      print the version and exit\n"
            "  -h, --help         print this and exit\n",
            default_path);
    return status;
}

static int print_version(void)
{
    printf("postern %s (%s, libsystemd: %s, hiredis: %s, libseccomp: %s)\n", POSTERN_VERSION,
           OpenSSL_version(OPENSSL_VERSION), supervisor_supported() ? "yes" : "no",
           shared_supported() ? "yes" : "no", system_calls_known() ? "yes" : "no");
    return EXIT_SUCCESS;
}

static int check(struct config *config)
{
    struct contexts *contexts = contexts_new(config);
    bool next = upgrade_is_next();
    bool good = host_check(config, next);
    good = opener_check(config) && contexts && good;
    if (next)
        good = upgrade_rehearse(config) && good;
    if (good)
        printf("%s: good%s\n", config->path,
               contexts_whole(contexts) ? "" : ", but for a certificate that is not used");
    contexts_free(contexts);
    config_free(config);
    return good ? EXIT_SUCCESS : EXIT_FAILURE;
}

static int start(const char *path, bool only_check)
{
    if (!only_check && upgrade_is_next())
        return master_run(NULL, path);
    struct config *config = config_load(path);
    if (!config && path == default_path && access(path, F_OK) < 0)
        log_error("a first configuration is written by: postern setup");
    if (!config)
        return EXIT_FAILURE;
    return only_check ? check(config) : master_run(config, path);
}

int main(int argc, char **argv)
{
    const char *path = default_path;
    bool only_check = false;
    int option;

    for (size_t i = 0; argc > 1 && i < sizeof commands / sizeof commands[0]; i++)
        if (strcmp(argv[1], commands[i].word) == 0)
            return commands[i].run(argc, argv);

    while ((option = getopt_long(argc, argv, "c:nVh", long_options, NULL)) != -1) {
        switch (option) {
        case 'c':
            path = optarg;
            break;
        case 'n':
            only_check = true;
            break;
        case 'V':
            return print_version();
        case 'h':
            return print_usage(stdout, EXIT_SUCCESS);
        default:
            return print_usage(stderr, EXIT_FAILURE);
        }
    }
    if (optind < argc) {
        fprintf(stderr, "postern: there is no command \"%s\"\n", argv[optind]);
        return print_usage(stderr, EXIT_FAILURE);
    }
    tls_memory_serve_openssl();
    upgrade_remember(argc, argv);
    process_title_init(argc, argv);
    return start(path, only_check);
}
