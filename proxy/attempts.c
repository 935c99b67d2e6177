/* The limits' part in a login: asked and told by the pool, on the reactor's loop. Owns nothing
 * and tells the client nothing. */
#include "proxy/attempts.h"

#include "proxy/abuse.h"
#include "proxy/service.h"

/* The pool asks nothing about a client that is exempt. */
static struct abuse_client limited(const struct address *client)
{
    return (struct abuse_client){.address = client};
}

/* Returns an enum abuse_judgement. */
static unsigned judge(void *context, const struct address *client, const char *user)
{
    const struct service *service = context;
    return abuse_judge_verdict(service->abuse, limited(client), user);
}

static bool count(void *context, const struct address *client, const char *user,
                  const struct auth_message_verdict *verdict)
{
    struct abuse *abuse = ((const struct service *)context)->abuse;
    switch (verdict->result) {
    case AUTH_ACCEPTED:
        abuse_login_succeeded(abuse, limited(client), user);
        return false;
    case AUTH_REJECTED:
        abuse_login_failed(abuse, limited(client), user);
        return true;
    default:
        return abuse_login_undecided(abuse, limited(client), user);
    }
}

struct auth_pool *attempts_new_pool(struct service *service, auth_pool_fault *fault,
                                    void *fault_context)
{
    const struct config_auth *auth = &service->config->auth;
    const struct auth_pool_options options = {
        .workers = auth->workers,
        .share = auth->share,
        .queue_limit = auth->queue,
        .logins_per_worker = auth->logins_per_worker,
        .timeout_ms = auth->timeout_ms,
        .failure_delay_ms = auth->failure_delay_ms,
        .fault = fault,
        .fault_context = fault_context,
        .judge = judge,
        .count = count,
        .limits = service,
    };
    return auth_pool_new(service->base, &options);
}
