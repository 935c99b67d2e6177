/*
 * Certificates and keys for the contexts in context.c. Everything that can be wrong with them
 * is found here, before a socket is opened, and told with the file that it is in. Never asks
 * for a passphrase: a daemon has nobody to ask.
 */
#include "tls/certificate.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <string.h>
#include <sys/stat.h>

#include "proxy/base/log.h"

static const char *last_reason(void)
{
    const char *reason = ERR_reason_error_string(ERR_peek_last_error());
    return reason ? reason : "unknown error";
}

static int no_passphrase(char *out, int size, int writing, void *context)
{
    (void)out, (void)size, (void)writing, (void)context;
    return -1;
}

static FILE *open_pem(const char *what, const char *path)
{
    FILE *file = fopen(path, "re");
    if (!file)
        log_error("%s: cannot read the %s: %s", path, what, strerrordesc_np(errno));
    return file;
}

/* Is there a block of that kind in the file, as "CERTIFICATE"? Leaves the file at its start. */
static bool has_block(FILE *file, const char *kind)
{
    char line[128];
    bool found = false;
    while (!found && fgets(line, sizeof line, file))
        found = strncmp(line, "-----BEGIN ", 11) == 0 && strstr(line, kind);
    rewind(file);
    return found;
}

/* Both keys are in the configuration, and one of them has the other's file. */
static bool is_swapped(FILE *file, const char *path, const char *wanted, const char *other)
{
    bool swapped = !has_block(file, wanted) && has_block(file, other);
    if (swapped)
        log_error("%s: no usable %s in it, but a %s: are the two files swapped?", path,
                  strcmp(wanted, "CERTIFICATE") == 0 ? "certificate" : "private key",
                  strcmp(other, "CERTIFICATE") == 0 ? "certificate" : "private key");
    return swapped;
}

static bool key_is_private(const char *path, FILE *file)
{
    struct stat status;
    if (fstat(fileno(file), &status) < 0 || !S_ISREG(status.st_mode)) {
        log_error("%s: the key is not a regular file", path);
        return false;
    }
    if (status.st_mode & (S_IROTH | S_IWOTH)) {
        log_error("%s: the key can be read by others (mode %04o): chmod o-rw it", path,
                  (unsigned)(status.st_mode & 07777));
        return false;
    }
    return true;
}

static EVP_PKEY *read_key(const char *path)
{
    FILE *file = open_pem("key", path);
    if (!file)
        return NULL;

    EVP_PKEY *key = NULL;
    if (!is_swapped(file, path, "PRIVATE KEY", "CERTIFICATE") && key_is_private(path, file)) {
        ERR_clear_error();
        key = PEM_read_PrivateKey(file, NULL, no_passphrase, NULL);
        if (!key)
            log_error("%s: no usable private key in it (PEM, without a passphrase): %s", path,
                      last_reason());
    }
    fclose(file);
    return key;
}

static bool use_chain(SSL_CTX *context, const char *path)
{
    FILE *file = open_pem("certificate", path);
    if (!file)
        return false;
    bool swapped = is_swapped(file, path, "CERTIFICATE", "PRIVATE KEY");
    fclose(file);
    if (swapped)
        return false;

    ERR_clear_error();
    if (SSL_CTX_use_certificate_chain_file(context, path) != 1) {
        log_error("%s: no usable certificate in it (PEM): %s", path, last_reason());
        return false;
    }
    return true;
}

static bool valid_today(const char *path, const X509 *certificate)
{
    if (X509_cmp_current_time(X509_get0_notBefore(certificate)) > 0) {
        log_error("%s: the certificate is not valid yet (or this machine's clock is wrong)",
                  path);
        return false;
    }
    int days = 0, seconds = 0;
    if (!ASN1_TIME_diff(&days, &seconds, NULL, X509_get0_notAfter(certificate))) {
        log_error("%s: the certificate's last day cannot be read", path);
        return false;
    }
    if (days < 0 || seconds < 0) {
        log_error("%s: the certificate expired %d %s ago", path, -days,
                  days == -1 ? "day" : "days");
        return false;
    }
    if (days < TLS_CERTIFICATE_WARN_DAYS)
        log_warning("%s: the certificate expires in %d %s", path, days,
                    days == 1 ? "day" : "days");
    return true;
}

static void warn_other_name(const char *path, X509 *certificate, const char *hostname)
{
    if (X509_check_host(certificate, hostname, 0, 0, NULL) != 1)
        log_warning(
            "%s: the certificate does not name %s: clients that were told to connect to "
            "that name will refuse it",
            path, hostname);
}

static bool use_key(SSL_CTX *context, const char *certificate_path, const char *key_path)
{
    EVP_PKEY *key = read_key(key_path);
    if (!key)
        return false;

    bool same = X509_check_private_key(SSL_CTX_get0_certificate(context), key) == 1;
    if (!same)
        log_error("%s: this key does not belong to the certificate in %s", key_path,
                  certificate_path);
    bool used = same && SSL_CTX_use_PrivateKey(context, key) == 1;
    if (same && !used)
        log_error("%s: the key cannot be used: %s", key_path, last_reason());
    EVP_PKEY_free(key);
    return used;
}

bool tls_certificate_load(SSL_CTX *context, const struct tls_certificate_files *files,
                          const char *hostname)
{
    log_set_subject(files->certificate_place);
    X509 *certificate =
        use_chain(context, files->certificate) ? SSL_CTX_get0_certificate(context) : NULL;
    bool valid = certificate && valid_today(files->certificate, certificate);
    log_set_subject(files->key_place);
    bool usable = certificate && use_key(context, files->certificate, files->key);
    log_set_subject(files->certificate_place);
    if (valid && usable && hostname)
        warn_other_name(files->certificate, certificate, hostname);
    log_set_subject(NULL);
    return valid && usable;
}
