/*
 * EHLO replies before authentication, and the choice among a listener's backends. Made by the
 * reactor, asked by sessions, which also tell what they were offered.
 */
#include "proxy/door.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "auth/sasl.h"
#include "proxy/offer.h"
#include "proxy/smtp/command.h"
#include "proxy/statistics.h"

/* All of the names with blanks between them. */
#define MECHANISMS_SIZE 64

/* "220 host ESMTP" */
#define GREETING_SIZE (SMTP_DOMAIN_LIMIT + 16)

struct door {
    const struct config *config;
    const struct config_listen *listen;
    SSL_CTX *tls;
    unsigned statistics;
    struct upstream *const *upstreams; /* the reactor's */
    unsigned turn;                     /* of "balance" */
    size_t greeting_length;
    char greeting[GREETING_SIZE];
    struct offer **offers;   /* by place in listen->backends */
    struct smtp_ehlo common; /* what all of those offer here */
    struct hello {
        size_t length; /* 0: not made yet */
        uint32_t withheld, offered;
        char text[SMTP_EHLO_TEXT_SIZE];
    } replies[DOOR_STAGES]; /* to the last EHLO; hardly anybody is offered less than others */
};

static struct upstream *upstream_at(const struct door *door, size_t place)
{
    return door->upstreams[door->listen->backends[place]];
}

uint32_t door_mechanisms(const struct door *door, enum door_stage stage)
{
    uint32_t mechanisms = door->config->auth.mechanisms & door->listen->mechanisms;
    if (stage == DOOR_PLAINTEXT || door->listen->role != CONFIG_ROLE_SUBMISSION)
        return 0;
    return stage == DOOR_CERTIFIED ? mechanisms : mechanisms & ~(1u << SASL_EXTERNAL);
}

/* "PLAIN LOGIN" */
static void name_mechanisms(uint32_t mechanisms, char out[static MECHANISMS_SIZE])
{
    out[0] = '\0';
    for (int i = 0; i < SASL_MECHANISM_COUNT; i++) {
        if (!(mechanisms & (1u << i)))
            continue;
        if (out[0])
            strcat(out, " ");
        strcat(out, sasl_mechanism_name((enum sasl_mechanism)i));
    }
}

/* What all of those that are known offer; nothing, if none is. */
void door_learn(struct door *door)
{
    bool any = false;
    for (int stage = 0; stage < DOOR_STAGES; stage++)
        door->replies[stage].length = 0;
    door->common = (struct smtp_ehlo){0};
    for (size_t i = 0; i < door->listen->backend_count; i++) {
        const struct smtp_ehlo *probed = upstream_offer(upstream_at(door, i));
        if (!probed)
            continue;
        struct smtp_ehlo offer = *probed;
        offer_restrict(door->offers[i], &offer);
        if (any)
            smtp_ehlo_restrict(&door->common, &offer);
        else
            door->common = offer;
        any = true;
    }
}

static size_t place_of(const struct door *door, const struct upstream *upstream)
{
    size_t place = 0;
    while (upstream_at(door, place) != upstream)
        place++;
    return place;
}

/* What seems to have changed at the backend is asked about: others may not have seen it yet. */
void door_learn_session(struct door *door, struct upstream *upstream,
                        const struct address *client, const struct smtp_ehlo *shown)
{
    struct offer *offer = door->offers[place_of(door, upstream)];
    const struct smtp_ehlo *probed = upstream_offer(upstream);
    if (!probed)
        return;
    bool changed = offer_learn(offer, probed, client, shown);
    if (changed || smtp_ehlo_lacks(probed, shown))
        upstream_ask(upstream);
    if (changed)
        door_learn(door);
}

static bool make_offers(struct door *door)
{
    size_t count = door->listen->backend_count;
    door->offers = calloc(count, sizeof(struct offer *));
    for (size_t i = 0; door->offers && i < count; i++)
        if (!(door->offers[i] = offer_new()))
            return false;
    return door->offers;
}

struct door *door_new(const struct config *config, const struct config_listen *listen,
                      SSL_CTX *tls, struct upstream *const *upstreams)
{
    struct door *door = calloc(1, sizeof *door);
    if (!door)
        return NULL;
    door->config = config;
    door->listen = listen;
    door->tls = tls;
    door->statistics = statistics_listener(listen->name);
    door->upstreams = upstreams;
    door->greeting_length =
        (size_t)snprintf(door->greeting, GREETING_SIZE, "220 %.*s ESMTP\r\n", SMTP_DOMAIN_LIMIT,
                         config->hostname);
    if (make_offers(door))
        return door;
    door_free(door);
    return NULL;
}

void door_free(struct door *door)
{
    if (!door)
        return;
    for (size_t i = 0; door->offers && i < door->listen->backend_count; i++)
        offer_free(door->offers[i]);
    free(door->offers);
    free(door);
}

const struct config_listen *door_listen(const struct door *door)
{
    return door->listen;
}

SSL_CTX *door_tls(const struct door *door)
{
    return door->tls;
}

unsigned door_statistics(const struct door *door)
{
    return door->statistics;
}

bool door_wants_names(const struct door *door)
{
    for (size_t i = 0; i < door->listen->backend_count; i++)
        if (upstream_config(upstream_at(door, i))->resolve)
            return true;
    return false;
}

bool door_is_balanced(const struct door *door, const struct address *peer)
{
    const struct config_networks *balancers = &door->listen->proxy_protocol;
    return networks_contain(balancers->network, balancers->count, peer);
}

bool door_exempts(const struct door *door, const struct address *announced)
{
    const struct config_networks *exempt = &door->listen->proxy_exempt;
    return networks_contain(exempt->network, exempt->count, announced);
}

bool door_is_checked_from(const struct door *door, const struct address *client)
{
    const struct config_networks *checks = &door->listen->health_checks;
    return networks_contain(checks->network, checks->count, client);
}

const char *door_greeting(const struct door *door, size_t *length)
{
    *length = door->greeting_length;
    return door->greeting;
}

bool door_greets_early(const struct door *door)
{
    return door->config->tls.tickets &&
           door->listen->client_certificates == TLS_CLIENT_CERTIFICATES_OFF;
}

static uint32_t withheld_from(const struct door *door, const struct address *client)
{
    uint32_t withheld = door->listen->withhold;
    if (door->listen->role != CONFIG_ROLE_SUBMISSION)
        withheld |= SMTP_EXT_FOR_USERS;
    for (size_t i = 0; i < door->listen->backend_count; i++)
        withheld |= offer_kept_from(door->offers[i], &door->common, client);
    return withheld;
}

static void make_reply(struct door *door, enum door_stage stage, uint32_t withheld)
{
    struct hello *reply = &door->replies[stage];
    char mechanisms[MECHANISMS_SIZE];
    struct smtp_ehlo_own own = {
        .hostname = door->config->hostname,
        .starttls = stage == DOOR_PLAINTEXT,
        .mechanisms = mechanisms,
        .legacy_auth = door->config->auth.legacy_ehlo,
        .withheld = withheld,
    };
    name_mechanisms(door_mechanisms(door, stage), mechanisms);
    reply->withheld = withheld;
    reply->offered = smtp_ehlo_carried(&door->common, withheld);
    reply->length = smtp_ehlo_format(&door->common, &own, reply->text);
}

const char *door_ehlo(struct door *door, enum door_stage stage, const struct address *client,
                      size_t *length, uint32_t *offered)
{
    struct hello *reply = &door->replies[stage];
    uint32_t withheld = withheld_from(door, client);
    if (reply->length == 0 || reply->withheld != withheld)
        make_reply(door, stage, withheld);
    *length = reply->length;
    *offered = reply->offered;
    return reply->text;
}

static void begin_choice(struct door *door, struct door_choice *choice)
{
    choice->begun = true;
    if (door->listen->backend_order == CONFIG_ORDER_BALANCE)
        choice->first = door->turn++ % (unsigned)door->listen->backend_count;
}

static struct upstream *choose_among(const struct door *door, struct door_choice *choice,
                                     bool up)
{
    size_t count = door->listen->backend_count;
    for (size_t i = 0; i < count; i++) {
        size_t place = (choice->first + i) % count;
        if (choice->tried >> place & 1u || upstream_is_up(upstream_at(door, place)) != up)
            continue;
        choice->tried |= 1u << place;
        return upstream_at(door, place);
    }
    return NULL;
}

struct upstream *door_choose(struct door *door, struct door_choice *choice)
{
    if (!choice->begun)
        begin_choice(door, choice);
    struct upstream *chosen = choose_among(door, choice, true);
    return chosen ? chosen : choose_among(door, choice, false);
}
