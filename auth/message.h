/*
 * What the reactor and an auth worker say to each other, as datagrams on a
 * SOCK_SEQPACKET pair: one request, one verdict. Pure encoders and decoders;
 * both sides treat the other as hostile, so every length is checked and a
 * string that holds a NUL or a control character is refused.
 */
#ifndef POSTERN_AUTH_MESSAGE_H
#define POSTERN_AUTH_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "auth/sasl.h"
#include "proxy/base/address.h"
#include "proxy/base/compiler.h"

#define AUTH_LOGIN_LIMIT  255 /* bytes of the final PAM_USER */
#define AUTH_REASON_LIMIT 127 /* bytes of a cause for the log */

/* The longest delay that a worker may ask for; what a module wishes beyond it is cut. */
#define AUTH_DELAY_LIMIT_MS 60000

struct auth_message_request {
    uint64_t id; /* the verdict repeats it */
    char user[SASL_USER_LIMIT + 1];
    char password[SASL_PASSWORD_LIMIT + 1];
    char client_host[ADDRESS_HOST_SIZE];
};

enum auth_result {
    AUTH_ACCEPTED,
    AUTH_REJECTED,    /* whoever this is, may not log in: 535 */
    AUTH_UNAVAILABLE, /* nobody could say: 454 */
    AUTH_RESULT_COUNT,
};

struct auth_message_verdict {
    uint64_t id;
    enum auth_result result;
    /* The worker is spoiled and takes no more requests. With AUTH_UNAVAILABLE it could not
     * decide this one either: another worker may. */
    bool is_last;
    uint32_t delay_ms;                /* what the modules asked for with pam_fail_delay() */
    char login[AUTH_LOGIN_LIMIT + 1]; /* when accepted: who PAM says it is; otherwise empty */
    /* "pam_authenticate: Authentication failure"; for the log only */
    char reason[AUTH_REASON_LIMIT + 1];
};

#define AUTH_MESSAGE_LIMIT 2048 /* bytes; larger than every message */

/*
 * All return the length written; 0 if the message is not one that may be sent: a user,
 * password or host that is empty, over-long or holds bytes it must not, a login without
 * acceptance.
 */
size_t auth_message_write_request(const struct auth_message_request *request,
                                  char out[static AUTH_MESSAGE_LIMIT]);
size_t auth_message_write_verdict(const struct auth_message_verdict *verdict,
                                  char out[static AUTH_MESSAGE_LIMIT]);

/* All return false, with *out zeroed, for anything that the writers above do not write. */
MUST_USE bool auth_message_read_request(const char *bytes, size_t length,
                                        struct auth_message_request *out);
MUST_USE bool auth_message_read_verdict(const char *bytes, size_t length,
                                        struct auth_message_verdict *out);

#endif
