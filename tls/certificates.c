/*
 * Certificates in groups: all of a group have the same names, and no two the same kind of key.
 * Made by the master, asked in handshakes. Each certificate is kept in a context of its own,
 * which knows its key and chain; only what a handshake has chosen is copied from there.
 */
#include "tls/certificates.h"

#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "proxy/base/log.h"
#include "tls/certificate.h"

struct entry {
    SSL_CTX *holder;
    char *file;
    char **names; /* of its subject, in lower case, sorted, without repetition */
    size_t name_count;
    size_t group; /* index of the first entry with the same names */
};

struct tls_certificates {
    size_t count;
    struct entry entries[];
};

static void lower(char *text)
{
    for (; *text; text++)
        if (*text >= 'A' && *text <= 'Z')
            *text = (char)(*text - 'A' + 'a');
}

static int compare(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* A name with a NUL in it is nobody's. */
static bool add_name(struct entry *entry, const ASN1_STRING *text)
{
    const char *bytes = (const char *)ASN1_STRING_get0_data(text);
    size_t length = (size_t)ASN1_STRING_length(text);
    if (length == 0 || memchr(bytes, '\0', length))
        return true;
    char **grown = reallocarray(entry->names, entry->name_count + 1, sizeof *grown);
    if (grown)
        entry->names = grown;
    char *name = grown ? strndup(bytes, length) : NULL;
    if (!name)
        return false;
    lower(name);
    entry->names[entry->name_count++] = name;
    return true;
}

/* The subject's common name counts only where there are no others (RFC 6125 section 6.4.4). */
static bool read_names(struct entry *entry)
{
    X509 *certificate = SSL_CTX_get0_certificate(entry->holder);
    GENERAL_NAMES *names = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
    bool good = true;
    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
        if (name->type == GEN_DNS)
            good = good && add_name(entry, name->d.dNSName);
    }
    GENERAL_NAMES_free(names);

    X509_NAME *subject = X509_get_subject_name(certificate);
    int place = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
    if (entry->name_count == 0 && place >= 0)
        good = good &&
               add_name(entry, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, place)));
    if (entry->name_count > 0)
        qsort(entry->names, entry->name_count, sizeof *entry->names, compare);
    return good;
}

static bool same_names(const struct entry *a, const struct entry *b)
{
    if (a->name_count != b->name_count)
        return false;
    for (size_t i = 0; i < a->name_count; i++)
        if (strcmp(a->names[i], b->names[i]) != 0)
            return false;
    return true;
}

static int key_type(const struct entry *entry)
{
    return EVP_PKEY_get_base_id(SSL_CTX_get0_privatekey(entry->holder));
}

/* The first entry of the same names, unless one of that group has the same kind of key. */
static size_t find_group(const struct tls_certificates *certificates, size_t index)
{
    const struct entry *entry = &certificates->entries[index];
    size_t group = index;
    for (size_t i = 0; i < index; i++) {
        const struct entry *other = &certificates->entries[i];
        if (!same_names(entry, other))
            continue;
        if (group == index)
            group = other->group;
        if (other->group == group && key_type(other) == key_type(entry))
            return index;
    }
    return group;
}

static bool load(struct entry *entry, const struct tls_certificate_files *files,
                 const char *hostname)
{
    entry->holder = SSL_CTX_new(TLS_server_method());
    entry->file = strdup(files->certificate);
    if (!entry->holder || !entry->file) {
        log_error("%s: out of memory", files->certificate);
        return false;
    }
    return tls_certificate_load(entry->holder, files->certificate, files->key, hostname) &&
           read_names(entry);
}

struct tls_certificates *tls_certificates_new(const struct tls_certificate_files *files,
                                              size_t count, const char *hostname)
{
    struct tls_certificates *certificates =
        calloc(1, sizeof *certificates + count * sizeof certificates->entries[0]);
    bool good = certificates;
    for (size_t i = 0; certificates && i < count; i++) {
        certificates->count++;
        if (load(&certificates->entries[i], &files[i], i == 0 ? hostname : NULL))
            certificates->entries[i].group = find_group(certificates, i);
        else
            good = false;
    }
    if (good)
        return certificates;
    tls_certificates_free(certificates);
    return NULL;
}

void tls_certificates_free(struct tls_certificates *certificates)
{
    if (!certificates)
        return;
    for (size_t i = 0; i < certificates->count; i++) {
        struct entry *entry = &certificates->entries[i];
        for (size_t j = 0; j < entry->name_count; j++)
            free(entry->names[j]);
        free(entry->names);
        free(entry->file);
        SSL_CTX_free(entry->holder);
    }
    free(certificates);
}

size_t tls_certificates_count(const struct tls_certificates *certificates)
{
    return certificates->count;
}

const char *tls_certificates_file(const struct tls_certificates *certificates, size_t index)
{
    return certificates->entries[index].file;
}

int64_t tls_certificates_not_after(const struct tls_certificates *certificates, size_t index)
{
    const X509 *certificate = SSL_CTX_get0_certificate(certificates->entries[index].holder);
    struct tm end = {0};
    if (ASN1_TIME_to_tm(X509_get0_notAfter(certificate), &end) != 1)
        return 0;
    return timegm(&end);
}

static bool has_name(const struct entry *entry, const char *name)
{
    return entry->name_count > 0 &&
           bsearch(&name, entry->names, entry->name_count, sizeof *entry->names, compare);
}

/* The group of the first entry that has exactly this name; count: there is none. */
static size_t find_name(const struct tls_certificates *certificates, const char *name)
{
    for (size_t i = 0; i < certificates->count; i++)
        if (has_name(&certificates->entries[i], name))
            return certificates->entries[i].group;
    return certificates->count;
}

/* A wildcard stands for the whole of the first label (RFC 6125 section 6.4.3). */
static size_t choose(const struct tls_certificates *certificates, const char *asked)
{
    char name[TLSEXT_MAXLEN_host_name + 2];
    size_t length = strlen(asked);
    if (length == 0 || length > TLSEXT_MAXLEN_host_name)
        return certificates->count;
    memcpy(name, asked, length + 1);
    if (name[length - 1] == '.')
        name[length - 1] = '\0';
    lower(name);
    size_t group = find_name(certificates, name);
    char *dot = strchr(name, '.');
    if (group < certificates->count || !dot || dot == name)
        return group;
    dot[-1] = '*';
    return find_name(certificates, dot - 1);
}

/* OpenSSL asks when it has read the name; what it was given before is taken away first. */
static int on_server_name(SSL *ssl, int *alert, void *argument)
{
    const struct tls_certificates *certificates = argument;
    const char *asked = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    size_t group = asked ? choose(certificates, asked) : certificates->count;
    if (group == certificates->count || group == 0)
        return SSL_TLSEXT_ERR_OK;

    SSL_certs_clear(ssl);
    for (size_t i = group; i < certificates->count; i++) {
        const struct entry *entry = &certificates->entries[i];
        STACK_OF(X509) *chain = NULL;
        if (entry->group != group)
            continue;
        SSL_CTX_get0_chain_certs(entry->holder, &chain);
        if (SSL_use_cert_and_key(ssl, SSL_CTX_get0_certificate(entry->holder),
                                 SSL_CTX_get0_privatekey(entry->holder), chain, 1) == 1)
            continue;
        *alert = SSL_AD_INTERNAL_ERROR;
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    }
    return SSL_TLSEXT_ERR_OK;
}

bool tls_certificates_use(const struct tls_certificates *certificates, SSL_CTX *context)
{
    for (size_t i = 0; i < certificates->count; i++) {
        const struct entry *entry = &certificates->entries[i];
        STACK_OF(X509) *chain = NULL;
        if (entry->group != 0)
            continue;
        SSL_CTX_get0_chain_certs(entry->holder, &chain);
        if (SSL_CTX_use_cert_and_key(context, SSL_CTX_get0_certificate(entry->holder),
                                     SSL_CTX_get0_privatekey(entry->holder), chain, 1) != 1)
            return false;
    }
    if (certificates->count > 1) {
        SSL_CTX_set_tlsext_servername_callback(context, on_server_name);
        SSL_CTX_set_tlsext_servername_arg(context, (void *)(uintptr_t)certificates);
    }
    return true;
}
