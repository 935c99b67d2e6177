/* The order of the checks, so that all of them are made. Owns nothing; opens no socket. */
#include "proxy/check.h"

#include "proxy/contexts.h"
#include "proxy/host.h"
#include "proxy/opener.h"
#include "proxy/overlap.h"
#include "proxy/rights.h"

bool check_host_for(const struct config *config, bool now, const char **remark)
{
    struct contexts *contexts = contexts_new(config);
    bool good = host_check(config, now);
    good &= opener_check(config);
    good &= overlap_check(config);
    bool allowed = rights_check(config);
    *remark = "";
    if (contexts && !contexts_whole(contexts))
        *remark = ", but for a certificate that is not used";
    else if (!allowed)
        *remark = ", but the systemd unit keeps something from it";
    good &= contexts != NULL;
    contexts_free(contexts);
    return good;
}
