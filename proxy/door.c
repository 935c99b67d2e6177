/*
 * EHLO replies before authentication, and the choice among a listener's backends. Made by the
 * reactor, read by sessions.
 */
#include "proxy/door.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "auth/sasl.h"
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
    struct {
        size_t length;
        char text[SMTP_EHLO_TEXT_SIZE];
    } ehlo[DOOR_STAGES];
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
static struct smtp_ehlo common_offer(const struct door *door)
{
    struct smtp_ehlo common = {0};
    bool any = false;
    for (size_t i = 0; i < door->listen->backend_count; i++) {
        const struct smtp_ehlo *offer = upstream_offer(upstream_at(door, i));
        if (offer && any)
            smtp_ehlo_restrict(&common, offer);
        else if (offer)
            common = *offer;
        any |= offer != NULL;
    }
    return common;
}

void door_learn(struct door *door)
{
    struct smtp_ehlo common = common_offer(door);
    bool submission = door->listen->role == CONFIG_ROLE_SUBMISSION;
    for (int stage = 0; stage < DOOR_STAGES; stage++) {
        char mechanisms[MECHANISMS_SIZE];
        struct smtp_ehlo_own own = {
            .hostname = door->config->hostname,
            .starttls = stage == DOOR_PLAINTEXT,
            .mechanisms = mechanisms,
            .legacy_auth = door->config->auth.legacy_ehlo,
            .withheld = submission ? 0 : SMTP_EXT_FOR_USERS,
        };
        name_mechanisms(door_mechanisms(door, (enum door_stage)stage), mechanisms);
        door->ehlo[stage].length = smtp_ehlo_format(&common, &own, door->ehlo[stage].text);
    }
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
    door_learn(door);
    return door;
}

void door_free(struct door *door)
{
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
    const struct config_networks *networks = &door->listen->proxy_protocol;
    for (size_t i = 0; i < networks->count; i++)
        if (network_contains(&networks->network[i], peer))
            return true;
    return false;
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

const char *door_ehlo(const struct door *door, enum door_stage stage, size_t *length)
{
    *length = door->ehlo[stage].length;
    return door->ehlo[stage].text;
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
