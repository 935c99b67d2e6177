/* Read by the master for contexts of both kinds: of clients that show certificates, and towards
 * backends. */
#include "tls/authorities.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proxy/base/log.h"

static bool is_directory(const char *path)
{
    struct stat status;
    return stat(path, &status) == 0 && S_ISDIR(status.st_mode);
}

static bool is_file(const char *path)
{
    struct stat status;
    return stat(path, &status) == 0 && S_ISREG(status.st_mode);
}

/* Other files may lie there too; a certificate that stands in several counts once. */
static unsigned load_directory(SSL_CTX *context, const char *path)
{
    DIR *directory = opendir(path);
    const struct dirent *entry;
    unsigned loaded = 0;
    if (!directory)
        return 0;
    while ((entry = readdir(directory))) {
        char file[PATH_MAX];
        int length = snprintf(file, sizeof file, "%s/%s", path, entry->d_name);
        if (length > 0 && (size_t)length < sizeof file && is_file(file))
            loaded += SSL_CTX_load_verify_file(context, file) == 1;
    }
    closedir(directory);
    ERR_clear_error();
    return loaded;
}

static bool load(SSL_CTX *context, const char *path)
{
    if (is_directory(path))
        return load_directory(context, path) > 0;
    return SSL_CTX_load_verify_file(context, path) == 1;
}

static const char *or_default(const char *variable, const char *fallback)
{
    const char *value = secure_getenv(variable);
    return value ? value : fallback;
}

/* Where OpenSSL would look. */
static const char *systems_own(void)
{
    const char *file =
        or_default(X509_get_default_cert_file_env(), X509_get_default_cert_file());
    return is_file(file)
               ? file
               : or_default(X509_get_default_cert_dir_env(), X509_get_default_cert_dir());
}

/* OpenSSL says of a file that cannot be read hardly more than that. */
static const char *last_reason(const char *path)
{
    const char *reason = ERR_reason_error_string(ERR_peek_last_error());
    if (access(path, R_OK) < 0)
        return strerrordesc_np(errno);
    return reason ? reason : "there is none";
}

bool tls_authorities_load(SSL_CTX *context, const char *path)
{
    ERR_clear_error();
    if (!path)
        path = systems_own();
    if (load(context, path))
        return true;
    log_error("%s: no usable certificate authorities in it: %s", path, last_reason(path));
    return false;
}

static void tell_if_expired(X509_CRL *list, const char *path)
{
    const ASN1_TIME *next = X509_CRL_get0_nextUpdate(list);
    if (next && X509_cmp_current_time(next) < 0)
        log_warning("%s: a revocation list in it has expired: no certificate of its issuer is "
                    "believed until there is a new one",
                    path);
}

/* How many there are. */
static unsigned load_lists(X509_STORE *store, FILE *file, const char *path)
{
    X509_CRL *list;
    unsigned loaded = 0;
    while ((list = PEM_read_X509_CRL(file, NULL, NULL, NULL))) {
        loaded += X509_STORE_add_crl(store, list) == 1;
        tell_if_expired(list, path);
        X509_CRL_free(list);
    }
    return loaded;
}

/* What stands behind the last list, as after the end of a file, is no fault of those before. */
bool tls_revoked_load(SSL_CTX *context, const char *path)
{
    X509_STORE *store = SSL_CTX_get_cert_store(context);
    ERR_clear_error();
    FILE *file = fopen(path, "re");
    bool good =
        file && load_lists(store, file, path) > 0 &&
        X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL) == 1;
    if (!good)
        log_error("%s: no usable revocation list in it: %s", path, last_reason(path));
    if (file)
        fclose(file);
    ERR_clear_error();
    return good;
}
