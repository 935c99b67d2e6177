/*
 * The steps of `postern setup`: what is there, what is to be, the files, and a check of them as
 * `postern -n` makes it. Called by main.c.
 */
#include "proxy/setup.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proxy/check.h"
#include "proxy/config.h"
#include "proxy/doctor_port.h"
#include "proxy/setup_answers.h"
#include "proxy/setup_certificate.h"
#include "proxy/setup_file.h"
#include "proxy/setup_server.h"
#include "tls/certificates.h"

struct setup {
    struct setup_answers answers;
    struct setup_server server;
    char certificate[PATH_MAX], key[PATH_MAX]; /* as the configuration has them */
    char request[PATH_MAX];                    /* to be made; empty: none */
    char hook[PATH_MAX];                       /* the same */
};

static bool complain(const char *path, const char *why)
{
    fprintf(stderr, "postern setup: %s: %s\n", path, why);
    return false;
}

/* DIR is certbot's, or the one in its "live" that has the files. */
static bool find_letsencrypt(struct setup *setup)
{
    const char *given = setup->answers.letsencrypt;
    char live[PATH_MAX + SETUP_TEXT_SIZE + 8], *real;
    char probe[sizeof live + 16];
    snprintf(probe, sizeof probe, "%s/fullchain.pem", given);
    if (access(probe, F_OK) == 0)
        snprintf(live, sizeof live, "%s", given);
    else
        snprintf(live, sizeof live, "%s/live/%s", given, setup->answers.hostname);
    snprintf(probe, sizeof probe, "%s/fullchain.pem", live);
    if (access(probe, F_OK) != 0)
        return complain(probe,
                        "there is no such file; first get one: certbot certonly -d NAME");
    real = realpath(live, NULL);
    if (!real)
        return complain(live, "cannot be read");
    snprintf(setup->certificate, sizeof setup->certificate, "%.*s/fullchain.pem", PATH_MAX - 32,
             real);
    snprintf(setup->key, sizeof setup->key, "%.*s/privkey.pem", PATH_MAX - 32, real);
    for (int levels = 2; levels > 0 && strrchr(real, '/'); levels--)
        *strrchr(real, '/') = '\0';
    snprintf(setup->hook, sizeof setup->hook, "%.*s/renewal-hooks/deploy/postern",
             PATH_MAX - 64, real);
    free(real);
    return true;
}

/* Where everything is, or is to be. */
static bool find_files(struct setup *setup)
{
    const struct setup_answers *answers = &setup->answers;
    switch (answers->way) {
    case SETUP_LETSENCRYPT:
        return find_letsencrypt(setup);
    case SETUP_OWN:
        strcpy(setup->certificate, answers->certificate);
        strcpy(setup->key, answers->key);
        return true;
    default:
        if (answers->way == SETUP_REQUEST &&
            !setup_file_beside(answers->output, "request.pem", setup->request))
            return complain(answers->output, "it is too long");
        return (setup_file_beside(answers->output, "fullchain.pem", setup->certificate) &&
                setup_file_beside(answers->output, "privkey.pem", setup->key)) ||
               complain(answers->output, "it is too long");
    }
}

/* The sample that was installed is nobody's work, as long as it was not edited. */
static bool may_replace(const struct setup_answers *answers)
{
    return answers->force || setup_file_is_sample(answers->output);
}

/* Before anything is written: is there room for all of it? */
static bool may_write(const struct setup *setup)
{
    const struct setup_answers *answers = &setup->answers;
    bool makes_key = answers->way == SETUP_SELF_SIGNED || answers->way == SETUP_REQUEST;
    return setup_file_allowed(answers->output, may_replace(answers)) &&
           (!makes_key || setup_file_allowed(setup->key, answers->force)) &&
           (answers->way != SETUP_SELF_SIGNED ||
            setup_file_allowed(setup->certificate, answers->force)) &&
           (!*setup->request || setup_file_allowed(setup->request, answers->force));
}

/* A pair that is there already is tried before anything is written. */
static bool files_are_good(const struct setup *setup)
{
    enum setup_way way = setup->answers.way;
    struct tls_certificate_files files = {setup->certificate, setup->key};
    if (way != SETUP_OWN && way != SETUP_LETSENCRYPT)
        return true;
    struct tls_certificates *certificates =
        tls_certificates_new(&files, 1, setup->answers.hostname);
    bool good = certificates;
    tls_certificates_free(certificates);
    if (!good)
        fputs("postern setup: nothing was written\n", stderr);
    return good;
}

/* certbot runs it after each renewal. One that is there already is somebody's, and stays. */
static bool write_hook(const struct setup *setup)
{
    static const char script[] = "#!/bin/sh\n"
                                 "systemctl reload postern\n";
    struct setup_file file;
    if (!*setup->hook)
        return true;
    if (access(setup->hook, F_OK) == 0) {
        printf("Left as it is: %s\n", setup->hook);
        return true;
    }
    if (!setup_file_make_parents(setup->hook, 2) ||
        !setup_file_begin(&file, setup->hook, 0755, false) ||
        !setup_file_finish(&file, fputs(script, file.stream) >= 0))
        return false;
    printf("Written: %s, which reloads Postern after each renewal\n", setup->hook);
    return true;
}

static bool write_certificate(const struct setup *setup)
{
    const struct setup_answers *answers = &setup->answers;
    if (answers->way == SETUP_SELF_SIGNED) {
        if (!setup_make_self_signed(answers->hostname, setup->certificate, setup->key,
                                    answers->force))
            return false;
        printf("Written: %s and %s, self-signed, for %d days\n", setup->certificate, setup->key,
               SETUP_CERTIFICATE_DAYS);
    }
    if (answers->way == SETUP_REQUEST) {
        if (!setup_make_request(answers->hostname, setup->request, setup->key, answers->force))
            return false;
        printf("Written: %s and %s\n", setup->request, setup->key);
    }
    return write_hook(setup);
}

static bool write_configuration(const struct setup *setup)
{
    const struct setup_answers *answers = &setup->answers;
    struct setup_file file;
    if (!setup_file_begin(&file, answers->output, 0644, may_replace(answers)))
        return false;
    fprintf(file.stream,
            "# Postern's configuration. What is not said here has its default, such as the\n"
            "# ports 465, 587 and 2525: see postern.conf(5).\n"
            "\n"
            "hostname = \"%s\"\n"
            "\n"
            "tls {\n"
            "  certificate = \"%s\"\n"
            "  key         = \"%s\"\n"
            "}\n"
            "\n",
            answers->hostname, setup->certificate, setup->key);
    setup_server_write(&setup->server, file.stream);
    if (!setup_file_finish(&file, !ferror(file.stream)))
        return false;
    printf("Written: %s\n\n", answers->output);
    return true;
}

/* `postern -n` leaves ports alone, as the Postern that runs has them. */
static bool check_ports(const struct config *config)
{
    bool good = true;
    for (size_t i = 0; i < config->listen_count; i++) {
        const struct config_listen *listen = &config->listens[i];
        struct doctor_port_owner owner;
        if (doctor_port_find(&listen->address, &owner) != DOCTOR_PORT_TAKEN)
            continue;
        config_error(config, "listen", listen->name, "address",
                     "%s is taken by %s (process %d): %s", listen->address_text,
                     owner.process.name, (int)owner.process.pid,
                     doctor_port_advice(owner.process.name));
        good = false;
    }
    return good;
}

/* As `postern -n`, and the ports. */
static bool check(const struct setup *setup)
{
    const char *remark;
    struct config *config = config_load(setup->answers.output);
    if (!config)
        return false;
    config_advise(config);
    bool good = check_host_for(config, false, &remark);
    good &= check_ports(config);
    config_free(config);
    return good;
}

static void say_next(const struct setup *setup, bool ready)
{
    const char *output = setup->answers.output;
    printf("Next\n\n");
    if (setup->answers.way == SETUP_REQUEST)
        printf("Send %s to an authority, and put what comes back, with its chain,\n"
               "into %s. Then:\n\n",
               setup->request, setup->certificate);
    else if (!ready)
        printf("Mend the errors above, without which there is no start. Then:\n\n");
    if (strcmp(output, setup_answers_default_output) == 0)
        printf("    postern -n\n"
               "    systemctl enable --now postern\n"
               "    postern doctor\n");
    else
        printf("    postern -n -c %s\n"
               "    postern -c %s\n"
               "    postern doctor -c %s\n"
               "\n"
               "The systemd unit reads %s and not this file.\n",
               output, output, output, setup_answers_default_output);
}

static void tell_found(const struct setup_server *server)
{
    const char *name = setup_server_name(server);
    if (server->answers)
        printf("%s answers at %s\n", name ? name : "A mail server", server->address);
    else if (name)
        printf("%s is installed, but does not answer at %s\n", name, server->address);
    else
        printf("No mail server answers at %s\n", server->address);
}

static void find_server(struct setup *setup)
{
    const char *backend = setup->answers.backend;
    setup_server_find(&setup->server, *backend ? backend : NULL);
    tell_found(&setup->server);
}

static bool choose_server(struct setup *setup)
{
    struct setup_answers *answers = &setup->answers;
    if (*answers->backend)
        return true;
    if (!setup_answers_backend(answers, setup_server_address(&setup->server)))
        return false;
    if (*answers->backend)
        find_server(setup);
    return true;
}

int setup_main(int argc, char **argv)
{
    static struct setup setup;
    int status;
    signal(SIGPIPE, SIG_IGN);
    if (!setup_answers_read(&setup.answers, argc, argv, &status))
        return status;
    if (!setup_file_allowed(setup.answers.output, may_replace(&setup.answers)))
        return EXIT_FAILURE;
    find_server(&setup);
    if (!setup_answers_complete(&setup.answers, setup_server_greeted(&setup.server)) ||
        !choose_server(&setup) || !find_files(&setup) || !files_are_good(&setup) ||
        !may_write(&setup) || !write_certificate(&setup) || !write_configuration(&setup))
        return EXIT_FAILURE;
    setup_server_explain(&setup.server, stdout);
    fflush(stdout);
    bool ready = check(&setup);
    say_next(&setup, ready);
    return ready ? EXIT_SUCCESS : SETUP_STATUS_INCOMPLETE;
}
