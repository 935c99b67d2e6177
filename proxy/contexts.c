/* From a configuration to TLS contexts. Used by generations, and by `postern -n` to try them.
 */
#include "proxy/contexts.h"

#include <stdlib.h>

#include "proxy/base/log.h"
#include "tls/client_context.h"
#include "tls/context.h"

static SSL_CTX *make_context(const struct config *config, const struct config_listen *listen,
                             SSL_CTX *model)
{
    const struct config_tls *tls = &config->tls;
    struct tls_settings settings = {
        .certificate = tls->certificate,
        .key = tls->key,
        .minimum = tls->minimum,
        .ciphers = tls->ciphers,
        .ciphersuites = tls->ciphersuites,
        .groups = tls->groups,
        .tickets = tls->tickets,
        .hostname = config->hostname,
        .listener = listen->name,
    };
    return tls_context_new(&settings, model);
}

SSL_CTX **contexts_new(const struct config *config)
{
    SSL_CTX **contexts = calloc(config->listen_count, sizeof *contexts);
    for (size_t i = 0; contexts && i < config->listen_count; i++) {
        contexts[i] = make_context(config, &config->listens[i], contexts[0]);
        if (contexts[i])
            continue;
        contexts_free(contexts, config);
        return NULL;
    }
    return contexts;
}

void contexts_free(SSL_CTX **contexts, const struct config *config)
{
    for (size_t i = 0; contexts && i < config->listen_count; i++)
        SSL_CTX_free(contexts[i]);
    free(contexts);
}

SSL_CTX **backend_contexts_new(const struct config *config)
{
    SSL_CTX **contexts = calloc(config->backend_count, sizeof *contexts);
    for (size_t i = 0; contexts && i < config->backend_count; i++) {
        const struct config_backend *backend = &config->backends[i];
        if (backend->tls == CONFIG_BACKEND_TLS_OFF)
            continue;
        contexts[i] = tls_client_context_new(*backend->ca ? backend->ca : NULL);
        if (contexts[i])
            continue;
        log_error("%s:%u: backend \"%s\": tls: cannot be had", config->path, backend->line,
                  backend->name);
        backend_contexts_free(contexts, config);
        return NULL;
    }
    return contexts;
}

void backend_contexts_free(SSL_CTX **contexts, const struct config *config)
{
    for (size_t i = 0; contexts && i < config->backend_count; i++)
        SSL_CTX_free(contexts[i]);
    free(contexts);
}
