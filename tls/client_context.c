/*
 * SSL_CTX for stream_secure_client(), made by the master, which can read the files, and
 * inherited by the reactors.
 */
#include "tls/client_context.h"

#include <openssl/err.h>
#include <sys/stat.h>

#include "proxy/base/log.h"

static bool load_authorities(SSL_CTX *context, const char *ca)
{
    struct stat file;
    if (!ca)
        return SSL_CTX_set_default_verify_paths(context) == 1;
    if (stat(ca, &file) == 0 && S_ISDIR(file.st_mode))
        return SSL_CTX_load_verify_dir(context, ca) == 1;
    return SSL_CTX_load_verify_file(context, ca) == 1;
}

/* A certificate in the file is believed as it is, with its issuer or without. */
static void set_options(SSL_CTX *context)
{
    SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                     SSL_OP_IGNORE_UNEXPECTED_EOF | SSL_OP_NO_TICKET);
    SSL_CTX_set_mode(context, SSL_MODE_AUTO_RETRY);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(context), X509_V_FLAG_PARTIAL_CHAIN);
}

SSL_CTX *tls_client_context_new(const char *ca)
{
    ERR_clear_error();
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    if (context && SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) == 1 &&
        load_authorities(context, ca)) {
        set_options(context);
        return context;
    }
    const char *reason = ERR_reason_error_string(ERR_peek_last_error());
    log_error("tls: %s: %s", ca ? ca : "the system's certificates",
              reason ? reason : "cannot be read");
    SSL_CTX_free(context);
    return NULL;
}
