/* Reading a client's certificate once, at the end of its handshake. */
#include "tls/peer.h"

#include <openssl/x509v3.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* NULL for what could be read in two ways: somebody else may stop at a NUL. */
static char *text_of(const ASN1_STRING *value)
{
    unsigned char *utf8 = NULL;
    int length = value ? ASN1_STRING_to_UTF8(&utf8, value) : -1;
    char *text = NULL;
    bool plain = length > 0;
    for (int i = 0; i < length; i++)
        plain = plain && utf8[i] >= ' ' && utf8[i] != 0x7f;
    if (plain)
        text = strndup((const char *)utf8, (size_t)length);
    OPENSSL_free(utf8);
    return text;
}

static char *subject_text(X509 *certificate, int nid)
{
    X509_NAME *subject = X509_get_subject_name(certificate);
    int place = X509_NAME_get_index_by_NID(subject, nid, -1);
    /* Of two common names each reader would take another. */
    bool alone = place >= 0 && X509_NAME_get_index_by_NID(subject, nid, place) < 0;
    return alone ? text_of(X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, place)))
                 : NULL;
}

static void read_alternatives(struct tls_peer *peer, X509 *certificate)
{
    GENERAL_NAMES *names = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
    bool has_email = false, has_dns = false; /* one that is no text is the first all the same */
    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
        if (name->type == GEN_EMAIL && !has_email)
            peer->email = text_of(name->d.rfc822Name);
        else if (name->type == GEN_DNS && !has_dns)
            peer->dns = text_of(name->d.dNSName);
        has_email |= name->type == GEN_EMAIL;
        has_dns |= name->type == GEN_DNS;
    }
    GENERAL_NAMES_free(names);
}

static bool read_fingerprint(struct tls_peer *peer, const X509 *certificate)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned length = 0;
    if (X509_digest(certificate, EVP_sha256(), digest, &length) != 1)
        return false;
    for (unsigned i = 0; i < length; i++)
        snprintf(peer->fingerprint + 2 * i, 3, "%02x", digest[i]);
    return true;
}

struct tls_peer *tls_peer_new(X509 *certificate)
{
    struct tls_peer *peer = calloc(1, sizeof *peer);
    if (!peer || !read_fingerprint(peer, certificate)) {
        free(peer);
        return NULL;
    }
    read_alternatives(peer, certificate);
    peer->common_name = subject_text(certificate, NID_commonName);
    if (!peer->email)
        peer->email = subject_text(certificate, NID_pkcs9_emailAddress);
    return peer;
}

void tls_peer_free(struct tls_peer *peer)
{
    if (!peer)
        return;
    free(peer->common_name);
    free(peer->email);
    free(peer->dns);
    free(peer);
}
