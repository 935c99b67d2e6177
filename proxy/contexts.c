/* From a configuration to TLS contexts. Used by generations, and by `postern -n` to try them.
 */
#include "proxy/contexts.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "proxy/base/log.h"
#include "tls/client_context.h"
#include "tls/context.h"
#include "tls/stream.h"
#include "tls/ticket_secret.h"

struct pair_places {
    char certificate[CONFIG_WHERE_SIZE], key[CONFIG_WHERE_SIZE];
};

/* `title` NULL: the pair of section tls. */
static void locate(const struct config *config, const char *title, struct pair_places *places,
                   struct tls_certificate_files *files)
{
    const char *section = title ? "certificate" : "tls";
    files->certificate_place =
        config_where(config, section, title, "certificate", places->certificate);
    files->key_place = config_where(config, section, title, "key", places->key);
}

static struct tls_certificates *read_certificates(const struct config *config)
{
    size_t count = config->certificate_count + 1;
    struct tls_certificates *certificates = NULL;
    struct tls_certificate_files *files = calloc(count, sizeof *files);
    struct pair_places *places = calloc(count, sizeof *places);
    if (files && places) {
        files[0] = (struct tls_certificate_files){config->tls.certificate, config->tls.key,
                                                  NULL, NULL};
        locate(config, NULL, &places[0], &files[0]);
        for (size_t i = 0; i + 1 < count; i++) {
            const struct config_certificate *pair = &config->certificates[i];
            files[i + 1] =
                (struct tls_certificate_files){pair->certificate, pair->key, NULL, NULL};
            locate(config, pair->name, &places[i + 1], &files[i + 1]);
        }
        certificates = tls_certificates_new(files, count, config->hostname);
    }
    free(files);
    free(places);
    return certificates;
}

static void tell_unused(const struct contexts *contexts)
{
    const struct config *config = contexts->config;
    int64_t now = time(NULL);
    for (size_t i = 0; i < config->certificate_count; i++)
        if (!tls_certificates_usable(contexts->certificates, i + 1, now))
            config_error(config, "certificate", config->certificates[i].name, NULL,
                         "is not used: clients that ask for its names get another one that has "
                         "them, or that of section tls");
}

/* The places of the settings, in room for them. */
static struct tls_settings_places places_of(const struct config *config, const char *listen,
                                            char room[static 5][CONFIG_WHERE_SIZE])
{
    return (struct tls_settings_places){
        .ciphers = config_where(config, "tls", NULL, "ciphers", room[0]),
        .ciphersuites = config_where(config, "tls", NULL, "ciphersuites", room[1]),
        .groups = config_where(config, "tls", NULL, "groups", room[2]),
        .client_ca = config_where(config, "listen", listen, "client_ca", room[3]),
        .client_crl = config_where(config, "listen", listen, "client_crl", room[4]),
    };
}

static SSL_CTX *listen_context(const struct contexts *contexts,
                               const struct config_listen *listen)
{
    char room[5][CONFIG_WHERE_SIZE];
    const struct config_tls *tls = &contexts->config->tls;
    struct tls_settings settings = {
        .minimum = *listen->tls_minimum ? listen->tls_minimum : tls->minimum,
        .ciphers = tls->ciphers,
        .ciphersuites = tls->ciphersuites,
        .groups = tls->groups,
        .tickets = tls->tickets,
        .listener = listen->name,
        .client_certificates = listen->client_certificates,
        .client_ca = listen->client_ca,
        .client_crl = listen->client_crl,
        .places = places_of(contexts->config, listen->name, room),
    };
    return tls_context_new(&settings, contexts->certificates);
}

static bool make_listens(struct contexts *contexts)
{
    const struct config *config = contexts->config;
    contexts->listens = calloc(config->listen_count, sizeof *contexts->listens);
    for (size_t i = 0; contexts->listens && i < config->listen_count; i++) {
        contexts->listens[i] = listen_context(contexts, &config->listens[i]);
        if (!contexts->listens[i]) {
            config_error(config, "listen", config->listens[i].name, NULL,
                         "its TLS settings cannot be used");
            return false;
        }
    }
    return contexts->listens;
}

static bool make_backends(struct contexts *contexts)
{
    char where[CONFIG_WHERE_SIZE];
    const struct config *config = contexts->config;
    contexts->backends = calloc(config->backend_count, sizeof *contexts->backends);
    for (size_t i = 0; contexts->backends && i < config->backend_count; i++) {
        const struct config_backend *backend = &config->backends[i];
        if (backend->tls == CONFIG_BACKEND_TLS_OFF)
            continue;
        log_set_subject(config_where(config, "backend", backend->name, "ca", where));
        contexts->backends[i] =
            tls_client_context_new(*backend->ca ? backend->ca : NULL, backend->tls_common_name);
        log_set_subject(NULL);
        if (!contexts->backends[i]) {
            config_error(config, "backend", backend->name, NULL,
                         "its TLS settings cannot be used");
            return false;
        }
    }
    return contexts->backends;
}

static bool read_ticket_secret(struct contexts *contexts)
{
    char where[CONFIG_WHERE_SIZE];
    const char *path = contexts->config->tls.ticket_secret;
    log_set_subject(config_where(contexts->config, "tls", NULL, "ticket_secret", where));
    bool good = !*path || tls_ticket_secret_read(path, contexts->ticket_secret);
    log_set_subject(NULL);
    return good;
}

/* Nothing is lost without it. */
static void look_for_kernel(const struct config *config)
{
    if (config->tls.kernel && !stream_kernel_available())
        config_warn(config, "tls", NULL, "kernel",
                    "this kernel, or OpenSSL with it, does no TLS (is the module \"tls\" "
                    "loaded?): OpenSSL does it alone");
}

struct contexts *contexts_new(const struct config *config)
{
    struct contexts *contexts = calloc(1, sizeof *contexts);
    if (!contexts)
        return NULL;
    look_for_kernel(config);
    contexts->config = config;
    contexts->certificates = read_certificates(config);
    if (contexts->certificates)
        tell_unused(contexts);
    if (contexts->certificates && read_ticket_secret(contexts) && make_listens(contexts) &&
        make_backends(contexts))
        return contexts;
    contexts_free(contexts);
    return NULL;
}

bool contexts_whole(const struct contexts *contexts)
{
    int64_t now = time(NULL);
    bool whole = true;
    for (size_t i = 0; i < tls_certificates_count(contexts->certificates); i++)
        whole = whole && tls_certificates_usable(contexts->certificates, i, now);
    return whole;
}

void contexts_free(struct contexts *contexts)
{
    if (!contexts)
        return;
    for (size_t i = 0; contexts->listens && i < contexts->config->listen_count; i++)
        SSL_CTX_free(contexts->listens[i]);
    for (size_t i = 0; contexts->backends && i < contexts->config->backend_count; i++)
        SSL_CTX_free(contexts->backends[i]);
    tls_certificates_free(contexts->certificates);
    explicit_bzero(contexts->ticket_secret, sizeof contexts->ticket_secret);
    free(contexts->listens);
    free(contexts->backends);
    free(contexts);
}
