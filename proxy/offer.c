/*
 * What sessions were shown, for a door: the common part, the row of sessions that may widen it,
 * and a table of bounded size of those clients who are shown less. In that a newcomer takes the
 * place of whoever was there, who is then learned anew with his next session.
 */
#include "proxy/offer.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "proxy/base/hash.h"

#define VISITORS 128u

struct visitor {
    uint64_t client; /* hash of the address */
    uint64_t shown;  /* hash of what he was shown */
    uint64_t size;   /* its SIZE */
    uint32_t lacks;  /* of what others are; 0: nobody is remembered here */
};

struct offer {
    uint8_t key[HASH_KEY_SIZE];
    bool known; /* there has been a session */
    struct smtp_ehlo common;
    struct smtp_ehlo row; /* what the last sessions were all shown … */
    unsigned row_length;  /* … and how many that are */
    bool doubted;         /* one client has just been shown less than is offered */
    struct visitor visitors[VISITORS];
};

struct offer *offer_new(void)
{
    struct offer *offer = calloc(1, sizeof *offer);
    if (offer && getrandom(offer->key, sizeof offer->key, 0) == sizeof offer->key)
        return offer;
    free(offer);
    return NULL;
}

void offer_free(struct offer *offer)
{
    free(offer);
}

/* Of IPv6, the network that one host has for itself. */
static uint64_t hash_client(const struct offer *offer, const struct address *client)
{
    if (client->any.sa_family == AF_INET)
        return hash_bytes(offer->key, &client->v4.sin_addr, sizeof client->v4.sin_addr);
    if (client->any.sa_family == AF_INET6)
        return hash_bytes(offer->key, &client->v6.sin6_addr, 8);
    return hash_bytes(offer->key, "", 0);
}

static uint64_t hash_shown(const struct offer *offer, const struct smtp_ehlo *shown)
{
    char text[SMTP_EHLO_TEXT_SIZE];
    struct smtp_ehlo_own own = {.hostname = ""};
    return hash_bytes(offer->key, text, smtp_ehlo_format(shown, &own, text));
}

void offer_restrict(const struct offer *offer, struct smtp_ehlo *probed)
{
    if (offer->known)
        smtp_ehlo_restrict(probed, &offer->common);
}

/* Less than the others. The first such client may be the only one, and another must confirm
 * that it holds for all; nobody loses mail by what he was told too much. */
static void take_less(struct offer *offer, const struct smtp_ehlo *shown)
{
    if (!offer->known)
        offer->common = *shown;
    else if (offer->doubted)
        smtp_ehlo_restrict(&offer->common, shown);
    offer->doubted = true;
    offer->row_length = 0;
}

static void continue_row(struct offer *offer, const struct smtp_ehlo *shown)
{
    if (offer->row_length++ == 0)
        offer->row = *shown;
    else
        smtp_ehlo_restrict(&offer->row, shown);
    if (offer->known && offer->row_length < OFFER_ROW)
        return;
    offer->common = offer->row;
    offer->row_length = 0;
}

bool offer_learn(struct offer *offer, const struct smtp_ehlo *probed,
                 const struct address *client, const struct smtp_ehlo *shown)
{
    uint64_t hash = hash_client(offer, client);
    struct visitor *visitor = &offer->visitors[hash % VISITORS];
    bool is_his = visitor->lacks && visitor->client == hash;
    if (is_his && visitor->shown == hash_shown(offer, shown))
        return false;
    if (is_his)
        visitor->lacks = 0;

    struct smtp_ehlo before = *probed, after = *probed;
    offer_restrict(offer, &before);
    uint32_t lacks = smtp_ehlo_lacks(shown, &before);
    if (lacks) {
        *visitor = (struct visitor){hash, hash_shown(offer, shown), smtp_ehlo_size_limit(shown),
                                    lacks};
        take_less(offer, shown);
    } else {
        offer->doubted = false;
        continue_row(offer, shown);
    }
    offer->known = true;
    offer_restrict(offer, &after);
    return !smtp_ehlo_equal(&before, &after);
}

uint32_t offer_kept_from(const struct offer *offer, const struct smtp_ehlo *offered,
                         const struct address *client)
{
    uint64_t hash = hash_client(offer, client), limit = smtp_ehlo_size_limit(offered);
    const struct visitor *visitor = &offer->visitors[hash % VISITORS];
    if (visitor->client != hash)
        return 0;
    bool is_his_size = limit > 0 && limit <= visitor->size;
    return is_his_size ? visitor->lacks & ~(1u << SMTP_EXT_SIZE) : visitor->lacks;
}
