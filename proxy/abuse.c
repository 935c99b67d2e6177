/*
 * What is asked and counted at each step of a session: a level in the shared table
 * (abuse_level.h says which), and the same at the other machines (shared.h). Asked by the
 * acceptor, login.c and the relay; tells nobody itself, and waits for nobody.
 */
#include "proxy/abuse.h"

#include <stdlib.h>
#include <string.h>

#include "proxy/abuse_level.h"
#include "proxy/base/clock.h"
#include "proxy/shared.h"

struct abuse {
    const struct config *config;
    struct tally *tally;
    struct shared *shared; /* NULL: this machine is alone */
};

static bool join_others(struct abuse *abuse, struct event_base *base)
{
    struct shared_place place;
    const char *why;
    if (!*abuse->config->shared)
        return true;
    if (!shared_place_parse(abuse->config->shared, &place, &why))
        return false;
    abuse->shared = shared_new(base, &place, &abuse->config->limits, abuse->tally);
    explicit_bzero(&place, sizeof place);
    return abuse->shared != NULL;
}

struct abuse *abuse_new(struct event_base *base, const struct config *config,
                        struct tally *tally)
{
    struct abuse *abuse = malloc(sizeof *abuse);
    if (!abuse)
        return NULL;
    *abuse = (struct abuse){config, tally, NULL};
    if (join_others(abuse, base))
        return abuse;
    free(abuse);
    return NULL;
}

void abuse_free(struct abuse *abuse)
{
    if (!abuse)
        return;
    shared_free(abuse->shared);
    free(abuse);
}

struct abuse_client abuse_peer(const struct abuse *abuse, const struct address *peer)
{
    bool is_local = peer->any.sa_family != AF_INET && peer->any.sa_family != AF_INET6;
    return (struct abuse_client){peer, is_local ||
                                           networks_contain(abuse->config->exempt.network,
                                                            abuse->config->exempt.count, peer)};
}

static struct abuse_level level_of(const struct abuse *abuse, enum abuse_kind kind,
                                   const struct address *client, const char *user)
{
    return abuse_level(&abuse->config->limits, abuse->tally, kind, client, user);
}

static uint32_t height(const struct abuse *abuse, const struct abuse_level *level)
{
    return tally_level(abuse->tally, level->key, level->leak_per_hour, clock_now_ms());
}

static bool is_over(const struct abuse *abuse, const struct abuse_level *level)
{
    return level->limit > 0 && height(abuse, level) + TALLY_ONE > level->limit;
}

/* One more, at this machine. False: the level is as high as it gets, or there is no limit. */
static bool count_here(struct abuse *abuse, const struct abuse_level *level)
{
    if (level->limit == 0 || height(abuse, level) >= level->most)
        return false;
    tally_add(abuse->tally, level->key, TALLY_ONE, level->leak_per_hour, clock_now_ms());
    return true;
}

/* One more, here and everywhere. */
static void count(struct abuse *abuse, const struct abuse_level *level)
{
    if (count_here(abuse, level))
        shared_add(abuse->shared, level);
}

static bool admit(struct abuse *abuse, const struct abuse_level *level)
{
    if (is_over(abuse, level))
        return false;
    count(abuse, level);
    return true;
}

/* What the others know of it comes in behind, and is there when it is needed. */
static void ask(const struct abuse *abuse, enum abuse_kind kind, const struct address *client,
                const char *user)
{
    if (!abuse->shared)
        return;
    struct abuse_level level = level_of(abuse, kind, client, user);
    if (level.limit > 0)
        shared_ask(abuse->shared, &level);
}

bool abuse_admit_connection(struct abuse *abuse, struct abuse_client client)
{
    if (client.is_exempt)
        return true;
    ask(abuse, ABUSE_FAILED_ADDRESS, client.address, NULL);
    ask(abuse, ABUSE_FAILED_NETWORK, client.address, NULL);
    shared_ask_trusted(abuse->shared, client.address);
    struct abuse_level level = level_of(abuse, ABUSE_CONNECTIONS, client.address, NULL);
    return admit(abuse, &level);
}

/*
 * A user who mistypes waits for a minute at most. But the failed login may also be a guess of
 * somebody else at the same address. So these have limits of their own: the first is forgotten
 * soon, and the second, which is higher, no sooner than the failed logins of anybody.
 */
static const enum abuse_kind trusted_kinds[] = {ABUSE_TRUSTED_FAILED, ABUSE_TRUSTED_GUESSED};
enum { TRUSTED_KINDS = sizeof trusted_kinds / sizeof trusted_kinds[0] };

static bool is_trusted(const struct abuse *abuse, const struct address *client,
                       const char *user)
{
    struct abuse_level trust = level_of(abuse, ABUSE_TRUST, client, user);
    bool trusted = height(abuse, &trust) > 0;
    for (size_t i = 0; trusted && i < TRUSTED_KINDS; i++) {
        struct abuse_level failed = level_of(abuse, trusted_kinds[i], client, user);
        trusted = !is_over(abuse, &failed);
    }
    return trusted;
}

static enum abuse_judgement judge(const struct abuse *abuse, const struct address *client,
                                  const char *user)
{
    static const struct {
        enum abuse_kind kind;
        enum abuse_judgement judgement;
    } judged[] = {{ABUSE_FAILED_ADDRESS, ABUSE_ADDRESS},
                  {ABUSE_FAILED_NETWORK, ABUSE_NETWORK},
                  {ABUSE_FAILED_USER, ABUSE_USER}};
    for (size_t i = 0; i < sizeof judged / sizeof judged[0]; i++) {
        struct abuse_level level = level_of(abuse, judged[i].kind, client, user);
        if (is_over(abuse, &level))
            return judged[i].judgement;
    }
    return ABUSE_NONE;
}

static void hold_against(struct abuse *abuse, enum abuse_kind kind,
                         const struct address *client, const char *user)
{
    struct abuse_level level = level_of(abuse, kind, client, user);
    count(abuse, &level);
}

enum abuse_judgement abuse_judge_login(struct abuse *abuse, struct abuse_client client,
                                       const char *user)
{
    if (!client.is_exempt) {
        ask(abuse, ABUSE_FAILED_USER, client.address, user);
        for (size_t i = 0; i < TRUSTED_KINDS; i++)
            ask(abuse, trusted_kinds[i], client.address, user);
    }
    return abuse_judge_verdict(abuse, client, user);
}

/* Has one of them had several logins in a row that PAM could not decide? */
static bool is_undecided(const struct abuse *abuse, const struct address *client,
                         const char *user)
{
    struct abuse_level address = level_of(abuse, ABUSE_UNDECIDED_ADDRESS, client, user);
    struct abuse_level name = level_of(abuse, ABUSE_UNDECIDED_USER, client, user);
    return is_over(abuse, &address) || is_over(abuse, &name);
}

enum abuse_judgement abuse_judge_verdict(struct abuse *abuse, struct abuse_client client,
                                         const char *user)
{
    if (client.is_exempt)
        return ABUSE_NONE;
    if (is_trusted(abuse, client.address, user))
        return ABUSE_NONE;
    enum abuse_judgement judgement = judge(abuse, client.address, user);
    if (judgement != ABUSE_NONE && !is_undecided(abuse, client.address, user))
        hold_against(abuse, ABUSE_FAILED_ADDRESS, client.address, user);
    return judgement;
}

/* What a failed login raises. */
static const enum abuse_kind failed_kinds[] = {ABUSE_FAILED_ADDRESS, ABUSE_FAILED_NETWORK,
                                               ABUSE_FAILED_USER, ABUSE_TRUSTED_FAILED,
                                               ABUSE_TRUSTED_GUESSED};
enum { FAILED_KINDS = sizeof failed_kinds / sizeof failed_kinds[0] };

void abuse_login_failed(struct abuse *abuse, struct abuse_client client, const char *user)
{
    if (client.is_exempt)
        return;
    for (size_t i = 0; i < FAILED_KINDS; i++)
        hold_against(abuse, failed_kinds[i], client.address, user);
}

bool abuse_login_undecided(struct abuse *abuse, struct abuse_client client, const char *user)
{
    if (client.is_exempt)
        return false;
    struct abuse_level address = level_of(abuse, ABUSE_UNDECIDED_ADDRESS, client.address, user);
    struct abuse_level name = level_of(abuse, ABUSE_UNDECIDED_USER, client.address, user);
    bool counts = is_over(abuse, &address) || is_over(abuse, &name);
    (void)count_here(abuse, &address);
    (void)count_here(abuse, &name);
    for (size_t i = 0; counts && i < FAILED_KINDS; i++) {
        struct abuse_level level = level_of(abuse, failed_kinds[i], client.address, user);
        (void)admit(abuse, &level);
    }
    return counts;
}

/*
 * All mistakes of before, but of the guesses no more than there may be mistakes: a user who
 * logs in every few minutes would otherwise give a guesser at the same address new ones each
 * time.
 */
static void forget_mistakes(struct abuse *abuse, const struct address *client, const char *user)
{
    struct abuse_level failed = level_of(abuse, ABUSE_TRUSTED_FAILED, client, user);
    struct abuse_level guessed = level_of(abuse, ABUSE_TRUSTED_GUESSED, client, user);
    uint32_t guesses = height(abuse, &guessed);
    tally_clear(abuse->tally, failed.key);
    tally_clear(abuse->tally, guessed.key);
    if (guesses > failed.limit)
        tally_raise(abuse->tally, guessed.key, guesses - failed.limit, guessed.leak_per_hour,
                    clock_now_ms());
    shared_forget(abuse->shared, &failed);
    shared_forget(abuse->shared, &guessed);
}

void abuse_login_succeeded(struct abuse *abuse, struct abuse_client client, const char *user)
{
    if (client.is_exempt)
        return;
    struct abuse_level trust = level_of(abuse, ABUSE_TRUST, client.address, user);
    /* That of the address stays: a guesser may have an account too. */
    struct abuse_level undecided = level_of(abuse, ABUSE_UNDECIDED_USER, client.address, user);
    tally_clear(abuse->tally, undecided.key);
    forget_mistakes(abuse, client.address, user);
    tally_raise(abuse->tally, trust.key, trust.most, trust.leak_per_hour, clock_now_ms());
    shared_trust(abuse->shared, &trust);
}

void abuse_expect_mail(const struct abuse *abuse, const char *login)
{
    ask(abuse, ABUSE_MESSAGES, NULL, login);
    ask(abuse, ABUSE_RECIPIENTS, NULL, login);
}

bool abuse_admit_message(struct abuse *abuse, const char *login)
{
    struct abuse_level level = level_of(abuse, ABUSE_MESSAGES, NULL, login);
    return admit(abuse, &level);
}

bool abuse_admit_recipient(struct abuse *abuse, const char *login)
{
    struct abuse_level level = level_of(abuse, ABUSE_RECIPIENTS, NULL, login);
    return admit(abuse, &level);
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
