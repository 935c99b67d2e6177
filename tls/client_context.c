/*
 * SSL_CTX for stream_secure_client(), made by the master, which can read the files, and
 * inherited by the reactors.
 */
#include "tls/client_context.h"

#include <openssl/x509v3.h>

#include "tls/authorities.h"

/* A certificate in the file is believed as it is, with its issuer or without. */
static void set_options(SSL_CTX *context, bool common_name)
{
    SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                     SSL_OP_IGNORE_UNEXPECTED_EOF | SSL_OP_NO_TICKET);
    SSL_CTX_set_mode(context, SSL_MODE_AUTO_RETRY);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    X509_VERIFY_PARAM *param = SSL_CTX_get0_param(context);
    X509_VERIFY_PARAM_set_flags(param, X509_V_FLAG_PARTIAL_CHAIN);
    X509_VERIFY_PARAM_set_hostflags(
        param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS |
                   (common_name ? 0 : X509_CHECK_FLAG_NEVER_CHECK_SUBJECT));
}

SSL_CTX *tls_client_context_new(const char *ca, bool common_name)
{
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    if (context && SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) == 1 &&
        tls_authorities_load(context, ca)) {
        set_options(context, common_name);
        return context;
    }
    SSL_CTX_free(context);
    return NULL;
}
