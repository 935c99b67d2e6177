/*
 * The flags of `postern setup`, and its questions on the terminal. Called by setup.c. A flag
 * that is no good ends it; an answer that is none is asked for again.
 */
#include "proxy/setup_answers.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proxy/base/address.h"
#include "proxy/config_internal.h"
#include "proxy/setup_file.h"
#include "proxy/setup_hostname.h"

const char setup_answers_default_output[] = POSTERN_SYSCONFDIR "/postern/postern.conf";
static const char live_directory[] = "/etc/letsencrypt/live";

enum {
    OPTION_HOSTNAME = 256,
    OPTION_CERTIFICATE,
    OPTION_KEY,
    OPTION_SELF_SIGNED,
    OPTION_CSR,
    OPTION_LETSENCRYPT,
    OPTION_BACKEND,
    OPTION_FORCE,
};

static const struct option long_options[] = {
    {"hostname", required_argument, NULL, OPTION_HOSTNAME},
    {"certificate", required_argument, NULL, OPTION_CERTIFICATE},
    {"key", required_argument, NULL, OPTION_KEY},
    {"self-signed", no_argument, NULL, OPTION_SELF_SIGNED},
    {"csr", no_argument, NULL, OPTION_CSR},
    {"letsencrypt", required_argument, NULL, OPTION_LETSENCRYPT},
    {"backend", required_argument, NULL, OPTION_BACKEND},
    {"output", required_argument, NULL, 'o'},
    {"yes", no_argument, NULL, 'y'},
    {"force", no_argument, NULL, OPTION_FORCE},
    {"help", no_argument, NULL, 'h'},
    {0},
};

static bool print_usage(FILE *out, int *status, int value)
{
    fprintf(
        out,
        "usage: postern setup [OPTION ...]\n"
        "\n"
        "      --hostname NAME      the name that clients connect to\n"
        "      --certificate FILE   a certificate with its chain, and\n"
        "      --key FILE           its key; or\n"
        "      --self-signed        make both, for a first try; or\n"
        "      --csr                make a key and a request to an authority; or\n"
        "      --letsencrypt DIR    take certbot's: /etc/letsencrypt, or a directory in live\n"
        "      --backend HOST:PORT  the mail server (default: what is found on this host)\n"
        "  -o, --output FILE        write FILE (default: %s)\n"
        "  -y, --yes                ask nothing\n"
        "      --force              replace files that exist\n"
        "  -h, --help               print this and exit\n"
        "\n"
        "Exit status: 0 it can be started, 1 it failed, 2 all is written, but a start needs\n"
        "more, which was said\n",
        setup_answers_default_output);
    *status = value;
    return false;
}

static bool refuse(const char *what, const char *value, const char *why)
{
    fprintf(stderr, "postern setup: %s: \"%s\": %s\n", what, value, why);
    return false;
}

/* What the configuration would take, and can be written without quoting. */
static const char *fault_of_hostname(const char *name)
{
    const struct config_row *row = config_row_find("", "hostname");
    if (*name == '\0')
        return "a full name such as mail.example.org is wanted";
    if (*name == '-' || *name == '.' ||
        strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-") !=
            strlen(name))
        return "that is not a host's name";
    return row->check(name);
}

/* Postern listens there itself, as long as no section says otherwise. */
static bool is_own_port(const struct address *address)
{
    static const unsigned own[] = {465, 587, 2525};
    char host[ADDRESS_HOST_SIZE];
    address_host(address, host);
    bool local = strcmp(host, "::1") == 0 || strncmp(host, "127.", 4) == 0;
    for (size_t i = 0; local && i < sizeof own / sizeof own[0]; i++)
        if (address_port(address) == own[i])
            return true;
    return false;
}

static const char *fault_of_backend(const char *text)
{
    struct address address;
    const char *why = NULL;
    if (strpbrk(text, "\"\\\n"))
        return "that is not an address";
    if (!address_parse(text, &address, &why))
        return why;
    return is_own_port(&address) ? "that is a port of Postern's own" : NULL;
}

static const char *fault_of_path(const char *path)
{
    if (strpbrk(path, "\"\\\n\r$"))
        return "such a path cannot be written into the configuration";
    return strlen(path) < PATH_MAX - 64 ? NULL : "it is too long";
}

static const char *fault_of_full_path(const char *path)
{
    return *path == '/' ? fault_of_path(path) : "a path from the root on is wanted";
}

static const char *fault_of_file(const char *path)
{
    const char *fault = fault_of_full_path(path);
    return fault || access(path, R_OK) == 0 ? fault : strerrordesc_np(errno);
}

/* A flag's value. */
static bool take(const char *flag, const char *value, const char *(*fault)(const char *),
                 char *out, size_t size)
{
    const char *why = fault(value);
    if (!why && strlen(value) >= size)
        why = "it is too long";
    if (why)
        return refuse(flag, value, why);
    strcpy(out, value);
    return true;
}

/* A file's name counts from the root: Postern is started elsewhere. */
static bool take_path(const char *flag, const char *value, char *out)
{
    char directory[PATH_MAX / 2], path[PATH_MAX];
    if (*value == '/' || !getcwd(directory, sizeof directory))
        return take(flag, value, fault_of_path, out, PATH_MAX);
    snprintf(path, sizeof path, "%s/%.*s", directory, PATH_MAX / 2 - 1, value);
    return take(flag, path, fault_of_path, out, PATH_MAX);
}

static bool choose(struct setup_answers *answers, enum setup_way way)
{
    if (answers->way == SETUP_NOT_CHOSEN || answers->way == way) {
        answers->way = way;
        return true;
    }
    fputs("postern setup: of --certificate, --self-signed, --csr and --letsencrypt one is "
          "possible\n",
          stderr);
    return false;
}

static bool take_option(struct setup_answers *answers, int option, const char *value)
{
    switch (option) {
    case OPTION_HOSTNAME:
        return take("--hostname", value, fault_of_hostname, answers->hostname,
                    sizeof answers->hostname);
    case OPTION_CERTIFICATE:
        return choose(answers, SETUP_OWN) &&
               take("--certificate", value, fault_of_path, answers->certificate, PATH_MAX);
    case OPTION_KEY:
        return choose(answers, SETUP_OWN) && take_path("--key", value, answers->key);
    case OPTION_SELF_SIGNED:
        return choose(answers, SETUP_SELF_SIGNED);
    case OPTION_CSR:
        return choose(answers, SETUP_REQUEST);
    case OPTION_LETSENCRYPT:
        return choose(answers, SETUP_LETSENCRYPT) &&
               take("--letsencrypt", value, fault_of_path, answers->letsencrypt, PATH_MAX);
    case OPTION_BACKEND:
        return take("--backend", value, fault_of_backend, answers->backend,
                    sizeof answers->backend);
    default:
        return take_path("--output", value, answers->output);
    }
}

bool setup_answers_read(struct setup_answers *answers, int argc, char **argv, int *status)
{
    int option;
    memset(answers, 0, sizeof *answers);
    strcpy(answers->output, setup_answers_default_output);
    *status = EXIT_FAILURE;
    optind = 2;
    while ((option = getopt_long(argc, argv, "o:yh", long_options, NULL)) != -1) {
        if (option == 'h')
            return print_usage(stdout, status, EXIT_SUCCESS);
        if (option == '?')
            return print_usage(stderr, status, EXIT_FAILURE);
        if (option == 'y')
            answers->yes = true;
        else if (option == OPTION_FORCE)
            answers->force = true;
        else if (!take_option(answers, option, optarg))
            return false;
    }
    if (optind < argc)
        return print_usage(stderr, status, EXIT_FAILURE);
    if (answers->way == SETUP_OWN && (!*answers->certificate || !*answers->key)) {
        fputs("postern setup: --certificate and --key belong together\n", stderr);
        return false;
    }
    return true;
}

/* Asks until the answer is good; an empty one is `usual`. With --yes that is taken at once. */
static bool ask(const struct setup_answers *answers, const char *question, const char *usual,
                const char *(*fault)(const char *), char *out, size_t size)
{
    char line[PATH_MAX];
    while (!answers->yes) {
        printf("%s%s%s%s: ", question, *usual ? " [" : "", usual, *usual ? "]" : "");
        fflush(stdout);
        if (!fgets(line, sizeof line, stdin)) {
            fputs("\npostern setup: the answers end here; nothing was written\n", stderr);
            return false;
        }
        line[strcspn(line, "\r\n")] = '\0';
        const char *answer = *line ? line : usual;
        const char *why = fault(answer);
        if (!why && strlen(answer) < size) {
            strcpy(out, answer);
            return true;
        }
        why = why ? why : "it is too long";
        if (*answer)
            printf("\"%s\": %s\n", answer, why);
        else
            printf("%s\n", why);
    }
    return take(question, usual, fault, out, size);
}

/* Where setup itself would put them, and the package leaves them. */
static bool find_pair(const struct setup_answers *answers, char certificate[static PATH_MAX],
                      char key[static PATH_MAX])
{
    return setup_file_beside(answers->output, "fullchain.pem", certificate) &&
           setup_file_beside(answers->output, "privkey.pem", key) &&
           access(certificate, F_OK) == 0 && access(key, F_OK) == 0;
}

static const char *fault_of_choice(const char *text)
{
    return strlen(text) == 1 && *text >= '1' && *text <= '4' ? NULL : "1, 2, 3 or 4";
}

static bool ask_way(struct setup_answers *answers)
{
    static const enum setup_way ways[] = {SETUP_OWN, SETUP_LETSENCRYPT, SETUP_SELF_SIGNED,
                                          SETUP_REQUEST};
    char path[PATH_MAX], certificate[PATH_MAX], key[PATH_MAX], choice[2];
    snprintf(path, sizeof path, "%s/%s/fullchain.pem", live_directory, answers->hostname);
    const char *usual = access(path, F_OK) == 0                ? "2"
                        : find_pair(answers, certificate, key) ? "1"
                                                               : "3";
    if (!answers->yes)
        puts("The certificate\n"
             "  1  is there already\n"
             "  2  is Let's Encrypt's, by certbot\n"
             "  3  is to be made, self-signed, for a first try\n"
             "  4  is to be had from an authority: make a key and a request");
    if (!ask(answers, "Which", usual, fault_of_choice, choice, sizeof choice))
        return false;
    answers->way = ways[*choice - '1'];
    return true;
}

static bool ask_files(struct setup_answers *answers)
{
    char certificate[PATH_MAX], key[PATH_MAX];
    if (answers->way == SETUP_OWN && !*answers->certificate) {
        bool found = find_pair(answers, certificate, key);
        return ask(answers, "File of the certificate and its chain", found ? certificate : "",
                   fault_of_file, answers->certificate, PATH_MAX) &&
               ask(answers, "File of its key", found ? key : "", fault_of_file, answers->key,
                   PATH_MAX);
    }
    if (answers->way == SETUP_LETSENCRYPT && !*answers->letsencrypt)
        return ask(answers, "Directory of certbot", "/etc/letsencrypt", fault_of_full_path,
                   answers->letsencrypt, PATH_MAX);
    return true;
}

static bool ask_hostname(struct setup_answers *answers, const char *greeted)
{
    char name[SETUP_HOSTNAME_SIZE];
    setup_hostname_find(greeted, name);
    if (answers->yes && !strchr(name, '.'))
        return refuse("--hostname", name, "this host's own name is short: say the whole one");
    if (!strchr(name, '.'))
        *name = '\0'; /* a short one is not what clients connect to, and is not offered */
    return ask(answers, "Name that clients connect to", name, fault_of_hostname,
               answers->hostname, sizeof answers->hostname);
}

bool setup_answers_complete(struct setup_answers *answers, const char *greeted)
{
    if (!*answers->hostname && !ask_hostname(answers, greeted))
        return false;
    if (answers->way == SETUP_NOT_CHOSEN && !ask_way(answers))
        return false;
    return ask_files(answers);
}

bool setup_answers_backend(struct setup_answers *answers, const char *found)
{
    char chosen[SETUP_TEXT_SIZE];
    if (*answers->backend)
        return true;
    if (!ask(answers, "Address of the mail server", found, fault_of_backend, chosen,
             sizeof chosen))
        return false;
    if (strcmp(chosen, found) != 0)
        strcpy(answers->backend, chosen);
    return true;
}
