/*
 * The doctor's checks of certificates: what their clients will think of them. Reads each pair
 * of files anew for each check; of a key only whether it belongs to its certificate, and who
 * else could read it (doctor_files.c).
 */
#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>
#include <string.h>

#include "proxy/doctor_internal.h"
#include "tls/certificate.h"

size_t doctor_pair_count(const struct doctor *doctor)
{
    return doctor->config->certificate_count + 1;
}

struct doctor_pair doctor_pair(const struct doctor *doctor, size_t index)
{
    const struct config *config = doctor->config;
    if (index == 0)
        return (struct doctor_pair){config->tls.certificate, config->tls.key};
    return (struct doctor_pair){config->certificates[index - 1].certificate,
                                config->certificates[index - 1].key};
}

/* The certificates of a file, in their order; NULL: none. */
static STACK_OF(X509) * read_chain(const char *path)
{
    FILE *file = fopen(path, "re");
    STACK_OF(X509) *chain = file ? sk_X509_new_null() : NULL;
    X509 *each = NULL;
    while (chain && (each = PEM_read_X509(file, NULL, NULL, NULL)))
        if (sk_X509_push(chain, each) <= 0)
            X509_free(each);
    ERR_clear_error();
    if (file)
        fclose(file);
    if (chain && sk_X509_num(chain) > 0)
        return chain;
    sk_X509_free(chain);
    return NULL;
}

static void free_chain(STACK_OF(X509) * chain)
{
    sk_X509_pop_free(chain, X509_free);
}

bool doctor_has_certificate(const struct doctor *doctor, const X509 *certificate)
{
    bool found = false;
    for (size_t i = 0; i < doctor_pair_count(doctor) && !found; i++) {
        STACK_OF(X509) *chain = read_chain(doctor_pair(doctor, i).certificate);
        found = chain && X509_cmp(sk_X509_value(chain, 0), certificate) == 0;
        free_chain(chain);
    }
    return found;
}

bool doctor_reads_certificates(const struct doctor *doctor)
{
    bool all = true;
    for (size_t i = 0; i < doctor_pair_count(doctor); i++) {
        STACK_OF(X509) *chain = read_chain(doctor_pair(doctor, i).certificate);
        all &= chain != NULL;
        free_chain(chain);
    }
    return all;
}

/* What a check asks of the first certificate of a file, with the others behind it. */
typedef void look(struct doctor *doctor, const struct doctor_pair *pair, X509 *certificate,
                  STACK_OF(X509) * chain);

/* Files that cannot be read are the matter of one check only. */
static void for_each(struct doctor *doctor, look *at)
{
    for (size_t i = 0; i < doctor_pair_count(doctor); i++) {
        struct doctor_pair pair = doctor_pair(doctor, i);
        STACK_OF(X509) *chain = read_chain(pair.certificate);
        if (chain)
            at(doctor, &pair, sk_X509_value(chain, 0), chain);
        free_chain(chain);
    }
}

static int no_passphrase(char *out, int size, int writing, void *context)
{
    (void)out, (void)size, (void)writing, (void)context;
    return -1;
}

static void check_key_of(struct doctor *doctor, const struct doctor_pair *pair,
                         X509 *certificate)
{
    FILE *file = fopen(pair->key, "re");
    if (!file && errno == EACCES && !doctor->root) {
        doctor_skip(doctor, "%s: only root can read this key, as it should be", pair->key);
        return;
    }
    EVP_PKEY *key = file ? PEM_read_PrivateKey(file, NULL, no_passphrase, NULL) : NULL;
    const char *swapped = file ? tls_certificate_swapped(pair->key, TLS_CERTIFICATE_KEY) : NULL;
    if (!file) {
        doctor_fault(doctor, "%s: the key cannot be read: %s", pair->key,
                     strerrordesc_np(errno));
        doctor_advise(doctor, "put the private key there, or change \"key\"");
    } else if (!key && swapped) {
        doctor_fault(doctor, "%s: %s", pair->key, swapped);
        doctor_advise(doctor, "put the private key there, or change \"key\"");
    } else if (!key) {
        doctor_fault(doctor, "%s: no private key is in it", pair->key);
        doctor_advise(doctor, "it must be PEM, without a passphrase: openssl pkey -in FILE");
    } else if (X509_check_private_key(certificate, key) != 1) {
        doctor_fault(doctor, "%s: this key does not belong to %s", pair->key,
                     pair->certificate);
        doctor_advise(doctor, "use the certificate and the key of the same renewal");
    } else {
        doctor_good(doctor, "%s: a certificate, with its key in %s", pair->certificate,
                    pair->key);
    }
    EVP_PKEY_free(key);
    if (file)
        fclose(file);
    ERR_clear_error();
}

/* `error`: of opening the file; 0: it could be read. */
static void tell_no_certificate(struct doctor *doctor, const struct doctor_pair *pair,
                                int error)
{
    const char *swapped = tls_certificate_swapped(pair->certificate, TLS_CERTIFICATE_CHAIN);
    if (swapped) {
        doctor_fault(doctor, "%s: %s", pair->certificate, swapped);
        doctor_advise(doctor, tls_certificate_swapped(pair->key, TLS_CERTIFICATE_KEY)
                                  ? "exchange the values of \"certificate\" and \"key\""
                                  : "put the certificate and its chain there (PEM), or change "
                                    "\"certificate\"");
        return;
    }
    doctor_fault(doctor, "%s: no certificate can be read from it: %s", pair->certificate,
                 error ? strerrordesc_np(error) : "it is not PEM");
    doctor_advise(doctor, "put the certificate and its chain there (PEM), or let "
                          "`postern setup` make a first one");
}

void doctor_check_certificates(struct doctor *doctor)
{
    for (size_t i = 0; i < doctor_pair_count(doctor); i++) {
        struct doctor_pair pair = doctor_pair(doctor, i);
        errno = 0;
        STACK_OF(X509) *chain = read_chain(pair.certificate);
        int error = errno;
        if (chain)
            check_key_of(doctor, &pair, sk_X509_value(chain, 0));
        else
            tell_no_certificate(doctor, &pair, error);
        free_chain(chain);
    }
}

static void look_at_days(struct doctor *doctor, const struct doctor_pair *pair,
                         X509 *certificate, STACK_OF(X509) * chain)
{
    int days = 0, seconds = 0;
    (void)chain;
    if (!ASN1_TIME_diff(&days, &seconds, NULL, X509_get0_notAfter(certificate))) {
        doctor_fault(doctor, "%s: its last day cannot be read", pair->certificate);
        doctor_advise(doctor, "have it issued again");
    } else if (X509_cmp_current_time(X509_get0_notBefore(certificate)) > 0) {
        doctor_fault(doctor, "%s: not valid yet", pair->certificate);
        doctor_advise(doctor,
                      "look at this host's clock; most clients refuse such a certificate");
    } else if (days < 0 || seconds < 0) {
        doctor_fault(doctor, "%s: expired %d days ago", pair->certificate, -days);
        doctor_advise(doctor,
                      "renew it, then reload Postern; most clients refuse such a certificate");
    } else if (days >= TLS_CERTIFICATE_WARN_DAYS) {
        doctor_good(doctor, "%s: valid for another %d days", pair->certificate, days);
    }
}

void doctor_check_validity(struct doctor *doctor)
{
    for_each(doctor, look_at_days);
}

static void look_at_renewal(struct doctor *doctor, const struct doctor_pair *pair,
                            X509 *certificate, STACK_OF(X509) * chain)
{
    int days = 0, seconds = 0;
    (void)chain;
    if (!ASN1_TIME_diff(&days, &seconds, NULL, X509_get0_notAfter(certificate)) || days < 0 ||
        seconds < 0 || days >= TLS_CERTIFICATE_WARN_DAYS)
        return;
    doctor_fault(doctor, "%s: expires in %d days", pair->certificate, days);
    doctor_advise(doctor, "renew it now, and find out why that did not happen by itself");
}

void doctor_check_renewal(struct doctor *doctor)
{
    for_each(doctor, look_at_renewal);
}

/* "a.example, b.example": of a certificate without such names its subject's. */
static void write_names(X509 *certificate, char *out, size_t size)
{
    GENERAL_NAMES *names = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
    size_t length = 0;
    out[0] = '\0';
    for (int i = 0; i < sk_GENERAL_NAME_num(names) && length < size; i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
        if (name->type == GEN_DNS)
            length +=
                (size_t)snprintf(out + length, size - length, "%s%.*s", length > 0 ? ", " : "",
                                 ASN1_STRING_length(name->d.dNSName),
                                 (const char *)ASN1_STRING_get0_data(name->d.dNSName));
    }
    GENERAL_NAMES_free(names);
    if (length == 0)
        X509_NAME_oneline(X509_get_subject_name(certificate), out, (int)size);
}

/* Clients that were given the hostname must find it in one of them; the others are for other
 * names. */
void doctor_check_names(struct doctor *doctor)
{
    const char *hostname = doctor->config->hostname;
    bool named = false, any = false;
    char names[512];
    for (size_t i = 0; i < doctor_pair_count(doctor); i++) {
        struct doctor_pair pair = doctor_pair(doctor, i);
        STACK_OF(X509) *chain = read_chain(pair.certificate);
        if (!chain)
            continue;
        X509 *certificate = sk_X509_value(chain, 0);
        any = true;
        write_names(certificate, names, sizeof names);
        if (X509_check_host(certificate, hostname, 0, X509_CHECK_FLAG_NEVER_CHECK_SUBJECT,
                            NULL) == 1) {
            named = true;
            doctor_good(doctor, "%s: names %s", pair.certificate, hostname);
        } else {
            doctor_note(doctor, "%s: for %s", pair.certificate, names);
        }
        free_chain(chain);
    }
    if (named || !any)
        return;
    doctor_fault(doctor,
                 "no certificate names %s: mail programs that were given that name "
                 "refuse it",
                 hostname);
    doctor_advise(doctor, "get one for %s, or set \"hostname\" to the name that people use",
                  hostname);
}

/* That the server's own has expired is told elsewhere, and is not all that can be wrong. */
static int pass_over_expiry(int good, X509_STORE_CTX *context)
{
    return good || (X509_STORE_CTX_get_error(context) == X509_V_ERR_CERT_HAS_EXPIRED &&
                    X509_STORE_CTX_get_error_depth(context) == 0);
}

/* X509_V_OK or why the system does not believe it. */
static int verify(X509 *certificate, STACK_OF(X509) * chain)
{
    X509_STORE *store = X509_STORE_new();
    X509_STORE_CTX *context = X509_STORE_CTX_new();
    int error = X509_V_ERR_OUT_OF_MEM;
    if (store && context && X509_STORE_set_default_paths(store) == 1 &&
        X509_STORE_CTX_init(context, store, certificate, chain) == 1) {
        X509_STORE_CTX_set_default(context, "ssl_server");
        X509_STORE_CTX_set_verify_cb(context, pass_over_expiry);
        error = X509_verify_cert(context) == 1 ? X509_V_OK : X509_STORE_CTX_get_error(context);
    }
    X509_STORE_CTX_free(context);
    X509_STORE_free(store);
    ERR_clear_error();
    return error;
}

static const struct {
    int error;
    const char *what, *advice;
} chain_faults[] = {
    {X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT,
     "self-signed: mail programs warn of it or refuse it",
     "for others than yourself get one from an authority, such as Let's Encrypt"},
    {X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN,
     "issued by an authority that this system does not know",
     "see that all clients know it, or take one that everybody knows"},
    {X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY,
     "its chain is not complete, or its authority is unknown to this system",
     "append the intermediate certificates to the file (of Let's Encrypt take fullchain.pem)"},
    {X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT,
     "its chain is not complete, or its authority is unknown to this system",
     "append the intermediate certificates to the file (of Let's Encrypt take fullchain.pem)"},
    {X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE,
     "its chain is not complete, or its authority is unknown to this system",
     "append the intermediate certificates to the file (of Let's Encrypt take fullchain.pem)"},
    {X509_V_ERR_CERT_HAS_EXPIRED, "a certificate of its chain has expired",
     "replace the intermediate certificates in the file"},
    {X509_V_ERR_INVALID_PURPOSE, "it is not for servers",
     "have it issued with the extended key usage serverAuth"},
};

static void look_at_chain(struct doctor *doctor, const struct doctor_pair *pair,
                          X509 *certificate, STACK_OF(X509) * chain)
{
    int error = verify(certificate, chain);
    if (error == X509_V_OK) {
        doctor_good(doctor, "%s: its chain is complete, and this system believes it",
                    pair->certificate);
        return;
    }
    for (size_t i = 0; i < sizeof chain_faults / sizeof chain_faults[0]; i++) {
        if (chain_faults[i].error != error)
            continue;
        doctor_fault(doctor, "%s: %s", pair->certificate, chain_faults[i].what);
        doctor_advise(doctor, "%s", chain_faults[i].advice);
        return;
    }
    doctor_fault(doctor, "%s: %s", pair->certificate, X509_verify_cert_error_string(error));
    doctor_advise(doctor, "have it issued again, and append its chain");
}

void doctor_check_chains(struct doctor *doctor)
{
    for_each(doctor, look_at_chain);
}
