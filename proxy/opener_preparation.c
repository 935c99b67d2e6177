/* Called by opener_program.c for each session. */
#include "proxy/opener_preparation.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proxy/base/log.h"
#include "proxy/opener_ends.h"

static int open_descriptors(struct opener_preparation *out)
{
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, out->ends) < 0)
        return errno;
    out->watch = opener_ends_watch(out->ends);
    if (out->watch >= 0 && fcntl(out->ends[0], F_SETFL, O_NONBLOCK) == 0 &&
        pipe2(out->status, O_CLOEXEC) == 0)
        return 0;
    int error = errno;
    if (out->watch >= 0)
        close(out->watch);
    close(out->ends[0]);
    close(out->ends[1]);
    return error;
}

int opener_prepare(struct opener_preparation *out, const char *hostname,
                   const struct opener_backend *backend, const struct opener_order *order)
{
    char why[PROGRAM_WHY_SIZE];
    opener_values_set(&out->values, order);
    if (!program_line_expand(&backend->program, out->values.value, &out->arguments, why)) {
        log_warning("backend \"%s\": program: %s", backend->name, why);
        return EINVAL;
    }
    if (!opener_environment_set(&out->environment, &out->values, order, backend, hostname))
        return EINVAL;
    return open_descriptors(out);
}
