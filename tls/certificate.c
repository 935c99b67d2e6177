/*
 * Certificates and keys for the contexts in context.c. Everything that can be wrong with them
 * is found here, before a socket is opened, and told with the file that it is in. Never asks
 * for a passphrase: a daemon has nobody to ask.
 */
#include "tls/certificate.h"

#include <errno.h>
#include <inttypes.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "proxy/base/log.h"

#define DAY_S 86400

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

static const struct {
    const char *block, *swapped;
} parts[] = {
    [TLS_CERTIFICATE_CHAIN] = {"CERTIFICATE", "no usable certificate in it, but a private key: "
                                              "are the two files swapped?"},
    [TLS_CERTIFICATE_KEY] = {"PRIVATE KEY", "no usable private key in it, but a certificate: "
                                            "are the two files swapped?"},
};

const char *tls_certificate_swapped(const char *path, enum tls_certificate_part wanted)
{
    enum tls_certificate_part other =
        wanted == TLS_CERTIFICATE_KEY ? TLS_CERTIFICATE_CHAIN : TLS_CERTIFICATE_KEY;
    FILE *file = fopen(path, "re");
    bool swapped =
        file && !has_block(file, parts[wanted].block) && has_block(file, parts[other].block);
    if (file)
        fclose(file);
    return swapped ? parts[wanted].swapped : NULL;
}

/* True: that has been logged. */
static bool is_swapped(const char *path, enum tls_certificate_part wanted)
{
    const char *why = tls_certificate_swapped(path, wanted);
    if (why)
        log_error("%s: %s", path, why);
    return why;
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
    if (!is_swapped(path, TLS_CERTIFICATE_KEY) && key_is_private(path, file)) {
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
    fclose(file);
    if (is_swapped(path, TLS_CERTIFICATE_CHAIN))
        return false;

    ERR_clear_error();
    if (SSL_CTX_use_certificate_chain_file(context, path) != 1) {
        log_error("%s: no usable certificate in it (PEM): %s", path, last_reason());
        return false;
    }
    return true;
}

static bool read_time(const ASN1_TIME *time, int64_t *out)
{
    struct tm broken_down = {0};
    if (ASN1_TIME_to_tm(time, &broken_down) != 1)
        return false;
    *out = timegm(&broken_down);
    return true;
}

static bool read_dates(const char *path, const X509 *certificate,
                       struct tls_certificate_dates *dates)
{
    if (read_time(X509_get0_notBefore(certificate), &dates->not_before) &&
        read_time(X509_get0_notAfter(certificate), &dates->not_after))
        return true;
    *dates = (struct tls_certificate_dates){0};
    log_error("%s: the certificate's first or last day cannot be read", path);
    return false;
}

bool tls_certificate_is_valid(const struct tls_certificate_dates *dates, int64_t now)
{
    return now >= dates->not_before && now <= dates->not_after;
}

void tls_certificate_tell_dates(const char *path, const struct tls_certificate_dates *dates,
                                int64_t now, bool is_error)
{
    void (*tell)(const char *format, ...) = is_error ? log_error : log_warning;
    int64_t days = (dates->not_after - now) / DAY_S;
    if (now < dates->not_before)
        tell("%s: the certificate is not valid yet (or this machine's clock is wrong)", path);
    else if (now > dates->not_after)
        tell("%s: the certificate expired %" PRId64
             " %s ago (or this machine's clock is wrong)",
             path, -days, days == -1 ? "day" : "days");
    else if (days < TLS_CERTIFICATE_WARN_DAYS)
        log_warning("%s: the certificate expires in %" PRId64 " %s", path, days,
                    days == 1 ? "day" : "days");
}

static void warn_other_name(const char *path, X509 *certificate, const char *hostname)
{
    if (X509_check_host(certificate, hostname, 0, X509_CHECK_FLAG_NEVER_CHECK_SUBJECT, NULL) !=
        1)
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
                          const char *hostname, struct tls_certificate_dates *dates)
{
    *dates = (struct tls_certificate_dates){0};
    log_set_subject(files->certificate_place);
    X509 *certificate =
        use_chain(context, files->certificate) ? SSL_CTX_get0_certificate(context) : NULL;
    bool dated = certificate && read_dates(files->certificate, certificate, dates);
    log_set_subject(files->key_place);
    bool usable = certificate && use_key(context, files->certificate, files->key);
    log_set_subject(files->certificate_place);
    if (dated && usable && hostname)
        warn_other_name(files->certificate, certificate, hostname);
    log_set_subject(NULL);
    return dated && usable;
}
