/* By OpenSSL's API: no program is run, and the key is in no file but its own. Called by
 * setup.c. */
#include "proxy/setup_certificate.h"

#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>

#include "proxy/setup_file.h"

static bool fail(const char *what)
{
    const char *reason = ERR_reason_error_string(ERR_peek_last_error());
    fprintf(stderr, "postern setup: %s: %s\n", what, reason ? reason : "out of memory");
    ERR_clear_error();
    return false;
}

static bool write_key(EVP_PKEY *key, const char *path, bool force)
{
    struct setup_file file;
    if (!setup_file_begin(&file, path, 0600, force))
        return false;
    bool good = PEM_write_PrivateKey(file.stream, key, NULL, NULL, 0, NULL, NULL) == 1;
    return setup_file_finish(&file, good || fail(path));
}

/* What a request and a certificate alike are to say. */
static STACK_OF(X509_EXTENSION) * make_extensions(const char *hostname)
{
    char names[300];
    snprintf(names, sizeof names, "DNS:%s", hostname);
    const struct {
        int nid;
        const char *value;
    } wanted[] = {{NID_subject_alt_name, names},
                  {NID_basic_constraints, "critical,CA:FALSE"},
                  {NID_key_usage, "critical,digitalSignature"},
                  {NID_ext_key_usage, "serverAuth"}};
    STACK_OF(X509_EXTENSION) *extensions = sk_X509_EXTENSION_new_null();
    for (size_t i = 0; extensions && i < sizeof wanted / sizeof wanted[0]; i++) {
        X509_EXTENSION *each = X509V3_EXT_conf_nid(NULL, NULL, wanted[i].nid, wanted[i].value);
        if (each && sk_X509_EXTENSION_push(extensions, each) > 0)
            continue;
        X509_EXTENSION_free(each);
        sk_X509_EXTENSION_pop_free(extensions, X509_EXTENSION_free);
        extensions = NULL;
    }
    return extensions;
}

/* A common name has 64 bytes at the most; the alternative name is what counts. */
static bool set_name(X509_NAME *name, const char *hostname)
{
    char text[65];
    snprintf(text, sizeof text, "%s", hostname);
    return X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)text, -1,
                                      -1, 0) == 1;
}

static bool set_serial(X509 *certificate)
{
    BIGNUM *number = BN_new();
    bool good = number && BN_rand(number, 127, BN_RAND_TOP_ANY, BN_RAND_BOTTOM_ANY) == 1 &&
                BN_to_ASN1_INTEGER(number, X509_get_serialNumber(certificate));
    BN_free(number);
    return good;
}

static bool fill_certificate(X509 *certificate, const char *hostname, EVP_PKEY *key)
{
    const long seconds = SETUP_CERTIFICATE_DAYS * 86400L;
    STACK_OF(X509_EXTENSION) *extensions = make_extensions(hostname);
    bool good = extensions && X509_set_version(certificate, X509_VERSION_3) == 1 &&
                set_serial(certificate) &&
                X509_gmtime_adj(X509_getm_notBefore(certificate), 0) &&
                X509_gmtime_adj(X509_getm_notAfter(certificate), seconds) &&
                set_name(X509_get_subject_name(certificate), hostname) &&
                set_name(X509_get_issuer_name(certificate), hostname) &&
                X509_set_pubkey(certificate, key) == 1;
    for (int i = 0; good && i < sk_X509_EXTENSION_num(extensions); i++)
        good = X509_add_ext(certificate, sk_X509_EXTENSION_value(extensions, i), -1) == 1;
    sk_X509_EXTENSION_pop_free(extensions, X509_EXTENSION_free);
    return good && X509_sign(certificate, key, EVP_sha256()) > 0;
}

static bool write_certificate(const char *hostname, EVP_PKEY *key, const char *path, bool force)
{
    struct setup_file file;
    X509 *certificate = X509_new();
    bool good = certificate && fill_certificate(certificate, hostname, key);
    if (!good)
        fail(path);
    if (good && (good = setup_file_begin(&file, path, 0644, force)))
        good = setup_file_finish(&file, PEM_write_X509(file.stream, certificate) == 1);
    X509_free(certificate);
    return good;
}

static bool fill_request(X509_REQ *request, const char *hostname, EVP_PKEY *key)
{
    STACK_OF(X509_EXTENSION) *extensions = make_extensions(hostname);
    bool good = extensions && X509_REQ_set_version(request, X509_REQ_VERSION_1) == 1 &&
                set_name(X509_REQ_get_subject_name(request), hostname) &&
                X509_REQ_set_pubkey(request, key) == 1 &&
                X509_REQ_add_extensions(request, extensions) == 1;
    sk_X509_EXTENSION_pop_free(extensions, X509_EXTENSION_free);
    return good && X509_REQ_sign(request, key, EVP_sha256()) > 0;
}

static bool write_request(const char *hostname, EVP_PKEY *key, const char *path, bool force)
{
    struct setup_file file;
    X509_REQ *request = X509_REQ_new();
    bool good = request && fill_request(request, hostname, key);
    if (!good)
        fail(path);
    if (good && (good = setup_file_begin(&file, path, 0644, force)))
        good = setup_file_finish(&file, PEM_write_X509_REQ(file.stream, request) == 1);
    X509_REQ_free(request);
    return good;
}

typedef bool write_public(const char *hostname, EVP_PKEY *key, const char *path, bool force);

static bool make(const char *hostname, const char *path, const char *key_path, bool force,
                 write_public *write)
{
    ERR_clear_error();
    EVP_PKEY *key = EVP_EC_gen("P-256");
    bool good = key ? write_key(key, key_path, force) && write(hostname, key, path, force)
                    : fail("a key cannot be made");
    EVP_PKEY_free(key);
    return good;
}

bool setup_make_self_signed(const char *hostname, const char *certificate, const char *key,
                            bool force)
{
    return make(hostname, certificate, key, force, write_certificate);
}

bool setup_make_request(const char *hostname, const char *request, const char *key, bool force)
{
    return make(hostname, request, key, force, write_request);
}
