/*
 * The limits as a table of what is counted: for each kind, whom it is about, where its limit
 * stands in the configuration, and how fast it is forgotten. Asked by the acceptor, login.c and
 * the relay; tells nobody itself.
 */
#include "proxy/abuse.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/base/clock.h"

enum kind {
    KIND_CONNECTIONS,    /* of an address */
    KIND_FAILED_ADDRESS, /* logins */
    KIND_FAILED_NETWORK,
    KIND_FAILED_USER,
    KIND_TRUST,        /* of an address in a user: both have just been right together */
    KIND_TRUST_FAILED, /* since then */
    KIND_MESSAGES,
    KIND_RECIPIENTS,
};

/* How long a success protects its address and user. */
#define TRUST_HOURS 336u
/* Of those who go on while they are put off: no more than twice the limit is held against them.
 */
#define OVERDRAW 2u

struct abuse {
    const struct config *config;
    struct tally *tally;
};

struct abuse *abuse_new(const struct config *config, struct tally *tally)
{
    struct abuse *abuse = malloc(sizeof *abuse);
    if (abuse)
        *abuse = (struct abuse){config, tally};
    return abuse;
}

void abuse_free(struct abuse *abuse)
{
    free(abuse);
}

static bool is_exempt(const struct abuse *abuse, const struct address *client)
{
    const struct config_networks *exempt = &abuse->config->exempt;
    for (size_t i = 0; i < exempt->count; i++)
        if (network_contains(&exempt->network[i], client))
            return true;
    return client->any.sa_family != AF_INET && client->any.sa_family != AF_INET6;
}

/* An address as limits see it, and the network that it is in: /24, and /48 of IPv6. */
static uint64_t address_level(const struct abuse *abuse, enum kind kind,
                              const struct address *client, bool network)
{
    struct address_key key = address_key(client);
    if (network && client->any.sa_family == AF_INET)
        key.low &= ~UINT64_C(0xff);
    else if (network)
        key.high &= ~UINT64_C(0xffff);
    return tally_key(abuse->tally, kind, &key, sizeof key);
}

/* Names that differ in case are one here: an attacker would have as many trials as letters. */
static size_t fold(const char *name, char *out, size_t size)
{
    size_t length = strnlen(name, size);
    for (size_t i = 0; i < length; i++)
        out[i] = (char)tolower((unsigned char)name[i]);
    return length;
}

static uint64_t name_level(const struct abuse *abuse, enum kind kind, const char *name)
{
    char folded[256];
    return tally_key(abuse->tally, kind, folded, fold(name, folded, sizeof folded));
}

static uint64_t trust_level(const struct abuse *abuse, enum kind kind,
                            const struct address *client, const char *user)
{
    struct {
        struct address_key address;
        char name[256];
    } both = {.address = address_key(client)};
    size_t length = fold(user, both.name, sizeof both.name);
    return tally_key(abuse->tally, kind, &both, sizeof both.address + length);
}

/* One failed login is forgotten in so many seconds. */
static uint32_t forgiveness(const struct abuse *abuse)
{
    return (uint32_t)(UINT64_C(3600) * 1000 * TALLY_ONE / abuse->config->limits.forgive_ms);
}

bool abuse_admit_connection(struct abuse *abuse, const struct address *client)
{
    unsigned limit = abuse->config->limits.connections_per_minute;
    if (limit == 0 || is_exempt(abuse, client))
        return true;
    uint64_t key = address_level(abuse, KIND_CONNECTIONS, client, false);
    uint32_t leak = limit * 60 * TALLY_ONE;
    uint64_t now_ms = clock_now_ms();
    if (tally_level(abuse->tally, key, leak, now_ms) + TALLY_ONE > limit * TALLY_ONE)
        return false;
    tally_add(abuse->tally, key, TALLY_ONE, leak, now_ms);
    return true;
}

static bool is_over(const struct abuse *abuse, uint64_t key, unsigned limit)
{
    return limit > 0 &&
           tally_level(abuse->tally, key, forgiveness(abuse), clock_now_ms()) + TALLY_ONE >
               limit * TALLY_ONE;
}

/* Somebody else behind the same address has as many trials as anybody, and no more. */
static bool is_trusted(const struct abuse *abuse, const struct address *client,
                       const char *user)
{
    uint64_t key = trust_level(abuse, KIND_TRUST, client, user);
    return tally_level(abuse->tally, key, TALLY_ONE, clock_now_ms()) > 0 &&
           !is_over(abuse, trust_level(abuse, KIND_TRUST_FAILED, client, user),
                    abuse->config->limits.failed_logins);
}

static enum abuse_judgement judge(const struct abuse *abuse, const struct address *client,
                                  const char *user)
{
    const struct config_limits *limits = &abuse->config->limits;
    if (is_over(abuse, address_level(abuse, KIND_FAILED_ADDRESS, client, false),
                limits->failed_logins))
        return ABUSE_ADDRESS;
    if (is_over(abuse, address_level(abuse, KIND_FAILED_NETWORK, client, true),
                limits->failed_logins_network))
        return ABUSE_NETWORK;
    if (is_over(abuse, name_level(abuse, KIND_FAILED_USER, user), limits->failed_logins_user))
        return ABUSE_USER;
    return ABUSE_NONE;
}

static void hold_against(struct abuse *abuse, uint64_t key, unsigned limit)
{
    uint64_t now_ms = clock_now_ms();
    uint32_t leak = forgiveness(abuse);
    if (limit > 0 &&
        tally_level(abuse->tally, key, leak, now_ms) < OVERDRAW * limit * TALLY_ONE)
        tally_add(abuse->tally, key, TALLY_ONE, leak, now_ms);
}

enum abuse_judgement abuse_judge_login(struct abuse *abuse, const struct address *client,
                                       const char *user)
{
    if (is_exempt(abuse, client) || is_trusted(abuse, client, user))
        return ABUSE_NONE;
    enum abuse_judgement judgement = judge(abuse, client, user);
    if (judgement != ABUSE_NONE)
        hold_against(abuse, address_level(abuse, KIND_FAILED_ADDRESS, client, false),
                     abuse->config->limits.failed_logins);
    return judgement;
}

void abuse_login_failed(struct abuse *abuse, const struct address *client, const char *user)
{
    const struct config_limits *limits = &abuse->config->limits;
    if (is_exempt(abuse, client))
        return;
    hold_against(abuse, address_level(abuse, KIND_FAILED_ADDRESS, client, false),
                 limits->failed_logins);
    hold_against(abuse, address_level(abuse, KIND_FAILED_NETWORK, client, true),
                 limits->failed_logins_network);
    hold_against(abuse, name_level(abuse, KIND_FAILED_USER, user), limits->failed_logins_user);
    hold_against(abuse, trust_level(abuse, KIND_TRUST_FAILED, client, user),
                 limits->failed_logins);
}

void abuse_login_succeeded(struct abuse *abuse, const struct address *client, const char *user)
{
    if (is_exempt(abuse, client))
        return;
    tally_clear(abuse->tally, trust_level(abuse, KIND_TRUST_FAILED, client, user));
    tally_raise(abuse->tally, trust_level(abuse, KIND_TRUST, client, user),
                TRUST_HOURS * TALLY_ONE, TALLY_ONE, clock_now_ms());
}

static bool admit_of_login(struct abuse *abuse, enum kind kind, const char *login,
                           unsigned limit)
{
    if (limit == 0)
        return true;
    uint64_t key = name_level(abuse, kind, login), now_ms = clock_now_ms();
    uint32_t leak = limit * TALLY_ONE;
    if (tally_level(abuse->tally, key, leak, now_ms) + TALLY_ONE > limit * TALLY_ONE)
        return false;
    tally_add(abuse->tally, key, TALLY_ONE, leak, now_ms);
    return true;
}

bool abuse_admit_message(struct abuse *abuse, const char *login)
{
    return admit_of_login(abuse, KIND_MESSAGES, login, abuse->config->limits.messages_per_hour);
}

bool abuse_admit_recipient(struct abuse *abuse, const char *login)
{
    return admit_of_login(abuse, KIND_RECIPIENTS, login,
                          abuse->config->limits.recipients_per_hour);
}

const char *abuse_reason(enum abuse_judgement judgement)
{
    static const char *const reasons[] = {
        [ABUSE_NONE] = "none",
        [ABUSE_ADDRESS] = "too many failed logins from this address",
        [ABUSE_NETWORK] = "too many failed logins from this network",
        [ABUSE_USER] = "too many failed logins of this user",
    };
    return reasons[judgement];
}
