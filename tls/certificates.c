/*
 * A handshake gets all certificates that have the name it asks for, but no two with the same
 * kind of key: the first in the order of the configuration, and exact names before wildcards.
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

/* RSA, RSA-PSS, ECDSA, Ed25519, Ed448 and DSA are all that OpenSSL knows. */
#define KINDS_LIMIT 8

struct entry {
    SSL_CTX *holder;
    char *file;
    char **names; /* of its subject, in lower case, sorted */
    size_t name_count;
    int kind;    /* of its key: an EVP_PKEY_ number */
    bool loaded; /* with its key; `names` and `kind` are set */
    struct tls_certificate_dates dates;
};

/* Certificates that stand side by side: the client takes the one that it can verify. */
struct choice {
    const struct entry *entries[KINDS_LIMIT];
    size_t count;
};

struct tls_certificates {
    struct choice first; /* the first one, and those that have just its names */
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

/* Unless one with such a key is there. */
static void add(struct choice *choice, const struct entry *entry)
{
    for (size_t i = 0; i < choice->count; i++)
        if (choice->entries[i]->kind == entry->kind)
            return;
    if (choice->count < KINDS_LIMIT)
        choice->entries[choice->count++] = entry;
}

static void choose_first(struct tls_certificates *certificates)
{
    for (size_t i = 0; i < certificates->count; i++)
        if (certificates->entries[i].loaded &&
            same_names(&certificates->entries[0], &certificates->entries[i]))
            add(&certificates->first, &certificates->entries[i]);
}

/* False: no memory. A certificate that cannot be used is not `loaded`, but has its file. */
static bool load(struct entry *entry, const struct tls_certificate_files *files,
                 const char *hostname)
{
    entry->holder = SSL_CTX_new(TLS_server_method());
    entry->file = strdup(files->certificate);
    if (!entry->holder || !entry->file)
        return false;
    entry->loaded = tls_certificate_load(entry->holder, files, hostname, &entry->dates);
    if (!entry->loaded)
        return true;
    entry->kind = EVP_PKEY_get_base_id(SSL_CTX_get0_privatekey(entry->holder));
    return read_names(entry);
}

/* What can be said of a date only when the first certificate is known. */
static void tell_dates(const struct tls_certificates *certificates,
                       const struct tls_certificate_files *files)
{
    int64_t now = time(NULL);
    for (size_t i = 0; i < certificates->count; i++) {
        const struct entry *entry = &certificates->entries[i];
        log_set_subject(files[i].certificate_place);
        if (entry->loaded)
            tls_certificate_tell_dates(entry->file, &entry->dates, now,
                                       !tls_certificates_usable(certificates, i, now));
    }
    log_set_subject(NULL);
}

struct tls_certificates *tls_certificates_new(const struct tls_certificate_files *files,
                                              size_t count, const char *hostname)
{
    struct tls_certificates *certificates =
        calloc(1, sizeof *certificates + count * sizeof certificates->entries[0]);
    bool good = certificates;
    for (size_t i = 0; good && i < count; i++) {
        certificates->count++;
        good = load(&certificates->entries[i], &files[i], i == 0 ? hostname : NULL);
        if (!good)
            log_error("%s: out of memory", files[i].certificate);
    }
    if (good && certificates->entries[0].loaded) {
        choose_first(certificates);
        tell_dates(certificates, files);
        return certificates;
    }
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
    return certificates->entries[index].dates.not_after;
}

bool tls_certificates_usable(const struct tls_certificates *certificates, size_t index,
                             int64_t now)
{
    const struct entry *first = certificates->entries, *entry = first + index;
    return entry == first || (entry->loaded && (tls_certificate_is_valid(&entry->dates, now) ||
                                                !tls_certificate_is_valid(&first->dates, now)));
}

static bool has_name(const struct entry *entry, const char *name)
{
    return entry->name_count > 0 &&
           bsearch(&name, entry->names, entry->name_count, sizeof *entry->names, compare);
}

static void add_those_named(const struct tls_certificates *certificates, const char *name,
                            int64_t now, struct choice *choice)
{
    for (size_t i = 0; i < certificates->count; i++)
        if (has_name(&certificates->entries[i], name) &&
            tls_certificates_usable(certificates, i, now))
            add(choice, &certificates->entries[i]);
}

/* A wildcard stands for the whole of the first label (RFC 6125 section 6.4.3). */
static void choose(const struct tls_certificates *certificates, const char *asked, int64_t now,
                   struct choice *choice)
{
    char name[TLSEXT_MAXLEN_host_name + 2];
    size_t length = strlen(asked);
    if (length == 0 || length > TLSEXT_MAXLEN_host_name)
        return;
    memcpy(name, asked, length + 1);
    if (name[length - 1] == '.')
        name[length - 1] = '\0';
    lower(name);
    add_those_named(certificates, name, now, choice);
    char *dot = strchr(name, '.');
    if (!dot || dot == name)
        return;
    dot[-1] = '*';
    add_those_named(certificates, dot - 1, now, choice);
}

/* The default: those of `first` that are usable now. */
static void choose_default(const struct tls_certificates *certificates, int64_t now,
                           struct choice *choice)
{
    const struct choice *first = &certificates->first;
    for (size_t i = 0; i < first->count; i++)
        if (tls_certificates_usable(certificates,
                                    (size_t)(first->entries[i] - certificates->entries), now))
            add(choice, first->entries[i]);
}

static bool is_same(const struct choice *a, const struct choice *b)
{
    return a->count == b->count &&
           memcmp(a->entries, b->entries, a->count * sizeof a->entries[0]) == 0;
}

static bool use_in_handshake(SSL *ssl, const struct choice *choice)
{
    bool good = true;
    SSL_certs_clear(ssl);
    for (size_t i = 0; i < choice->count; i++) {
        SSL_CTX *holder = choice->entries[i]->holder;
        STACK_OF(X509) *chain = NULL;
        SSL_CTX_get0_chain_certs(holder, &chain);
        good = good && SSL_use_cert_and_key(ssl, SSL_CTX_get0_certificate(holder),
                                            SSL_CTX_get0_privatekey(holder), chain, 1) == 1;
    }
    return good;
}

/* OpenSSL asks when it has read the name, or that there is none; what it was given before is
 * taken away first. */
static int on_server_name(SSL *ssl, int *alert, void *argument)
{
    const struct tls_certificates *certificates = argument;
    const char *asked = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    int64_t now = time(NULL);
    struct choice choice = {0};
    if (asked)
        choose(certificates, asked, now, &choice);
    if (choice.count == 0)
        choose_default(certificates, now, &choice);
    if (is_same(&choice, &certificates->first) || use_in_handshake(ssl, &choice))
        return SSL_TLSEXT_ERR_OK;
    *alert = SSL_AD_INTERNAL_ERROR;
    return SSL_TLSEXT_ERR_ALERT_FATAL;
}

bool tls_certificates_use(const struct tls_certificates *certificates, SSL_CTX *context)
{
    for (size_t i = 0; i < certificates->first.count; i++) {
        SSL_CTX *holder = certificates->first.entries[i]->holder;
        STACK_OF(X509) *chain = NULL;
        SSL_CTX_get0_chain_certs(holder, &chain);
        if (SSL_CTX_use_cert_and_key(context, SSL_CTX_get0_certificate(holder),
                                     SSL_CTX_get0_privatekey(holder), chain, 1) != 1)
            return false;
    }
    if (certificates->count > 1) {
        SSL_CTX_set_tlsext_servername_callback(context, on_server_name);
        SSL_CTX_set_tlsext_servername_arg(context, (void *)(uintptr_t)certificates);
    }
    return true;
}
