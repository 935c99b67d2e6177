/* What shared.h does in a build without hiredis: nothing. The configuration refuses the option
 * there, so that nobody takes it for more. */
#include "proxy/shared.h"

bool shared_supported(void)
{
    return false;
}

struct shared *shared_new(struct event_base *base, const struct shared_place *place,
                          const struct config_limits *limits, struct tally *tally)
{
    (void)base, (void)place, (void)limits, (void)tally;
    return NULL;
}

void shared_free(struct shared *shared)
{
    (void)shared;
}

void shared_add(struct shared *shared, const struct abuse_level *level)
{
    (void)shared, (void)level;
}

void shared_ask(struct shared *shared, const struct abuse_level *level)
{
    (void)shared, (void)level;
}

void shared_forget(struct shared *shared, const struct abuse_level *level)
{
    (void)shared, (void)level;
}

void shared_trust(struct shared *shared, const struct abuse_level *level)
{
    (void)shared, (void)level;
}

void shared_ask_trusted(struct shared *shared, const struct address *client)
{
    (void)shared, (void)client;
}
