/*
 * The table of what is counted, and its names: "postern:failed-address:192.0.2.1". For abuse.c
 * and shared.c; looks nothing up and changes nothing.
 */
#include "proxy/abuse_level.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdio.h>
#include <string.h>

/* How long a success protects its address and user. */
#define TRUST_HOURS 336u
/* Of those who go on while they are put off: no more than twice the limit is held against them.
 */
#define OVERDRAW 2u

enum part { PART_ADDRESS = 1, PART_NETWORK = 2, PART_USER = 4 };
enum speed {
    SPEED_MINUTE,
    SPEED_HOUR,
    SPEED_FORGIVE,
    SPEED_UNDECIDED,
    SPEED_MISTAKE,
    SPEED_GUESS,
    SPEED_TRUST
};

static const struct {
    const char *name;
    unsigned parts;
    enum speed speed;
    size_t limit; /* where it stands in struct config_limits */
} kinds[ABUSE_KIND_COUNT] = {
#define LIMIT(member) offsetof(struct config_limits, member)
    [ABUSE_CONNECTIONS] = {"connections", PART_ADDRESS, SPEED_MINUTE,
                           LIMIT(connections_per_minute)},
    [ABUSE_FAILED_ADDRESS] = {"failed-address", PART_ADDRESS, SPEED_FORGIVE,
                              LIMIT(failed_logins)},
    [ABUSE_FAILED_NETWORK] = {"failed-network", PART_NETWORK, SPEED_FORGIVE,
                              LIMIT(failed_logins_network)},
    [ABUSE_FAILED_USER] = {"failed-user", PART_USER, SPEED_FORGIVE, LIMIT(failed_logins_user)},
    [ABUSE_TRUST] = {"trust", PART_ADDRESS | PART_USER, SPEED_TRUST, LIMIT(failed_logins)},
    [ABUSE_TRUSTED_FAILED] = {"trusted-failed", PART_ADDRESS | PART_USER, SPEED_MISTAKE,
                              LIMIT(failed_logins)},
    [ABUSE_TRUSTED_GUESSED] = {"trusted-guessed", PART_ADDRESS | PART_USER, SPEED_GUESS,
                               LIMIT(failed_logins)},
    [ABUSE_MESSAGES] = {"messages", PART_USER, SPEED_HOUR, LIMIT(messages_per_hour)},
    [ABUSE_RECIPIENTS] = {"recipients", PART_USER, SPEED_HOUR, LIMIT(recipients_per_hour)},
    [ABUSE_UNDECIDED_ADDRESS] = {"undecided-address", PART_ADDRESS, SPEED_UNDECIDED,
                                 LIMIT(failed_logins)},
    [ABUSE_UNDECIDED_USER] = {"undecided-user", PART_USER, SPEED_UNDECIDED,
                              LIMIT(failed_logins_user)},
#undef LIMIT
};

/* How fast a level is forgotten of which one event takes so long. */
static uint32_t leak_of(uint32_t event_ms)
{
    return (uint32_t)(UINT64_C(3600) * 1000 * TALLY_ONE / event_ms);
}

static void set_scale(struct abuse_level *level, const struct config_limits *limits,
                      enum abuse_kind kind)
{
    uint32_t forgive_ms = limits->forgive_ms;
    unsigned limit;
    memcpy(&limit, (const char *)limits + kinds[kind].limit, sizeof limit);
    level->limit = limit * TALLY_ONE;
    level->most = level->limit;
    switch (kinds[kind].speed) {
    case SPEED_MINUTE:
        level->leak_per_hour = limit * 60 * TALLY_ONE;
        break;
    case SPEED_HOUR:
        level->leak_per_hour = limit * TALLY_ONE;
        break;
    case SPEED_FORGIVE:
    case SPEED_UNDECIDED:
        if (kinds[kind].speed == SPEED_UNDECIDED && limit > 0)
            level->limit = ABUSE_UNDECIDED_LIMIT * TALLY_ONE;
        level->leak_per_hour = leak_of(forgive_ms);
        level->most = OVERDRAW * level->limit;
        break;
    case SPEED_MISTAKE: /* without an overdraw, as the user would wait longer */
        level->leak_per_hour =
            leak_of(forgive_ms < ABUSE_MISTAKE_MS ? forgive_ms : ABUSE_MISTAKE_MS);
        break;
    case SPEED_GUESS:
        level->limit = level->most = ABUSE_MISTAKES * level->limit;
        level->leak_per_hour = leak_of(forgive_ms);
        break;
    case SPEED_TRUST:
        level->leak_per_hour = TALLY_ONE;
        level->most = TRUST_HOURS * TALLY_ONE;
        break;
    }
}

static void add_text(struct abuse_level *level, const char *text)
{
    size_t room = sizeof level->name - 1 - level->length, length = strnlen(text, room);
    memcpy(level->name + level->length, text, length);
    level->length += length;
}

/* What limits take for one client, or for one network: /24, and /48 of IPv6. */
static void add_address(struct abuse_level *level, const struct address *client, bool network)
{
    char host[ADDRESS_HOST_SIZE];
    struct address base = *client;
    address_normalise(&base);
    bool v6 = base.any.sa_family == AF_INET6;
    if (v6)
        memset(base.v6.sin6_addr.s6_addr + (network ? 6 : 8), 0, network ? 10 : 8);
    else if (network && base.any.sa_family == AF_INET)
        base.v4.sin_addr.s_addr &= htonl(0xffffff00);
    address_host(&base, host);
    add_text(level, ":");
    add_text(level, host);
    if (v6)
        add_text(level, network ? "/48" : "/64");
    else if (network)
        add_text(level, "/24");
}

static void add_user(struct abuse_level *level, const char *user)
{
    size_t length = strnlen(user, ABUSE_USER_LIMIT);
    add_text(level, ":");
    level->user = level->length;
    for (size_t i = 0; i < length; i++)
        level->name[level->length++] = (char)tolower((unsigned char)user[i]);
}

struct abuse_level abuse_level(const struct config_limits *limits, const struct tally *tally,
                               enum abuse_kind kind, const struct address *client,
                               const char *user)
{
    struct abuse_level level;
    level.length = level.user = 0;
    set_scale(&level, limits, kind);
    add_text(&level, "postern:");
    add_text(&level, kinds[kind].name);
    if (client && kinds[kind].parts & (PART_ADDRESS | PART_NETWORK))
        add_address(&level, client, kinds[kind].parts & PART_NETWORK);
    if (user && kinds[kind].parts & PART_USER)
        add_user(&level, user);
    level.name[level.length] = '\0';
    level.key = tally_key(tally, kind, level.name, level.length);
    return level;
}
