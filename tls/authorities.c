/* Read by the master for contexts of both kinds: of clients that show certificates, and towards
 * backends. */
#include "tls/authorities.h"

#include <dirent.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

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

bool tls_authorities_load(SSL_CTX *context, const char *path)
{
    ERR_clear_error();
    if (!path)
        path = systems_own();
    if (load(context, path))
        return true;
    const char *reason = ERR_reason_error_string(ERR_peek_last_error());
    log_error("%s: no usable certificate authorities in it: %s", path,
              reason ? reason : "there is none");
    return false;
}
