/* Certificates and keys of a test's own, made in memory and written where a test wants them. */
#ifndef POSTERN_TEST_CERTIFICATE_MAKER_H
#define POSTERN_TEST_CERTIFICATE_MAKER_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DAY_S 86400

struct made {
    EVP_PKEY *key;
    X509 *certificate;
};

struct wish {
    const char *common_name;   /* NULL: none */
    const char *alternatives;  /* as in openssl.cnf: "DNS:a.example,IP:127.0.0.1"; NULL: none */
    const struct made *issuer; /* NULL: itself, with the right to issue others */
    const EVP_PKEY *key;       /* NULL: a new one */
    bool rsa;                  /* that one: RSA, not ECDSA */
    long begins_s, ends_s;     /* from now; 0: a day */
};

static inline void add_extension(X509 *certificate, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX context;
    X509V3_set_ctx_nodb(&context);
    X509V3_set_ctx(&context, issuer, certificate, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
    assert_non_null(extension);
    assert_int_equal(X509_add_ext(certificate, extension, -1), 1);
    X509_EXTENSION_free(extension);
}

static inline void name_subject(X509 *certificate, int nid, int type, const char *text,
                                int length)
{
    assert_int_equal(X509_NAME_add_entry_by_NID(X509_get_subject_name(certificate), nid, type,
                                                (const unsigned char *)text, length, -1, 0),
                     1);
}

/* With a key of its own and dates, but no names and no signature yet. */
static inline struct made begin_certificate(const struct wish *wish)
{
    static long serial;
    struct made made = {NULL, X509_new()};
    if (wish->key)
        EVP_PKEY_up_ref(made.key = (EVP_PKEY *)(uintptr_t)wish->key);
    else
        made.key = wish->rsa ? EVP_RSA_gen(2048) : EVP_EC_gen("P-256");
    assert_non_null(made.key);
    assert_int_equal(X509_set_version(made.certificate, X509_VERSION_3), 1);
    assert_int_equal(ASN1_INTEGER_set(X509_get_serialNumber(made.certificate), ++serial), 1);
    assert_int_equal(X509_set_pubkey(made.certificate, made.key), 1);
    X509_gmtime_adj(X509_getm_notBefore(made.certificate),
                    wish->begins_s ? wish->begins_s : -DAY_S);
    X509_gmtime_adj(X509_getm_notAfter(made.certificate),
                    wish->ends_s ? wish->ends_s : 90 * DAY_S);
    return made;
}

static inline void sign_certificate(struct made *made, const struct made *issuer)
{
    const struct made *signer = issuer ? issuer : made;
    X509_set_issuer_name(made->certificate, X509_get_subject_name(signer->certificate));
    if (!issuer)
        add_extension(made->certificate, made->certificate, NID_basic_constraints,
                      "critical,CA:TRUE");
    assert_true(X509_sign(made->certificate, signer->key, EVP_sha256()) > 0);
}

static inline struct made make_certificate(struct wish wish)
{
    struct made made = begin_certificate(&wish);
    if (wish.common_name)
        name_subject(made.certificate, NID_commonName, MBSTRING_UTF8, wish.common_name, -1);
    if (wish.alternatives)
        add_extension(made.certificate,
                      wish.issuer ? wish.issuer->certificate : made.certificate,
                      NID_subject_alt_name, wish.alternatives);
    sign_certificate(&made, wish.issuer);
    return made;
}

static inline void free_certificate(struct made *made)
{
    EVP_PKEY_free(made->key);
    X509_free(made->certificate);
}

static inline void write_certificate(const struct made *made, const char *path)
{
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    assert_int_equal(PEM_write_X509(file, made->certificate), 1);
    assert_int_equal(fclose(file), 0);
}

static inline void write_key(const struct made *made, const char *path)
{
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    assert_int_equal(fchmod(fileno(file), 0600), 0);
    assert_int_equal(PEM_write_PrivateKey(file, made->key, NULL, NULL, 0, NULL, NULL), 1);
    assert_int_equal(fclose(file), 0);
}

#endif
