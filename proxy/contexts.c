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

static struct tls_certificates *read_certificates(const struct config *config)
{
    struct tls_certificate_files *files = calloc(config->certificate_count + 1, sizeof *files);
    if (!files)
        return NULL;
    files[0] = (struct tls_certificate_files){config->tls.certificate, config->tls.key};
    for (size_t i = 0; i < config->certificate_count; i++)
        files[i + 1] = (struct tls_certificate_files){config->certificates[i].certificate,
                                                      config->certificates[i].key};
    struct tls_certificates *certificates =
        tls_certificates_new(files, config->certificate_count + 1, config->hostname);
    free(files);
    return certificates;
}

static void tell_unused(const struct contexts *contexts)
{
    const struct config *config = contexts->config;
    int64_t now = time(NULL);
    for (size_t i = 0; i < config->certificate_count; i++)
        if (!tls_certificates_usable(contexts->certificates, i + 1, now))
            log_error("%s:%u: certificate \"%s\" is not used: clients that ask for its names "
                      "get another one that has them, or that of section tls",
                      config->path, config->certificates[i].line, config->certificates[i].name);
}

static SSL_CTX *listen_context(const struct contexts *contexts,
                               const struct config_listen *listen)
{
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
            log_error("%s:%u: listen \"%s\": its TLS settings cannot be used", config->path,
                      config->listens[i].line, config->listens[i].name);
            return false;
        }
    }
    return contexts->listens;
}

static bool make_backends(struct contexts *contexts)
{
    const struct config *config = contexts->config;
    contexts->backends = calloc(config->backend_count, sizeof *contexts->backends);
    for (size_t i = 0; contexts->backends && i < config->backend_count; i++) {
        const struct config_backend *backend = &config->backends[i];
        if (backend->tls == CONFIG_BACKEND_TLS_OFF)
            continue;
        contexts->backends[i] =
            tls_client_context_new(*backend->ca ? backend->ca : NULL, backend->tls_common_name);
        if (!contexts->backends[i]) {
            log_error("%s:%u: backend \"%s\": its TLS settings cannot be used", config->path,
                      backend->line, backend->name);
            return false;
        }
    }
    return contexts->backends;
}

static bool read_ticket_secret(struct contexts *contexts)
{
    const char *path = contexts->config->tls.ticket_secret;
    return !*path || tls_ticket_secret_read(path, contexts->ticket_secret);
}

/* Nothing is lost without it. */
static void look_for_kernel(const struct config *config)
{
    if (config->tls.kernel && !stream_kernel_available())
        log_warning(
            "%s: tls: kernel: this kernel, or OpenSSL with it, does no TLS (is the module "
            "\"tls\" loaded?): OpenSSL does it alone",
            config->path);
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
