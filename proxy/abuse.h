/*
 * Those who try too often: failed logins by address, network and user name,
 * connections a minute by address, messages and recipients an hour by login.
 * Each is a level in the table that all reactors share (tally.h): it rises
 * with what happens and is forgotten with time, and other machines may know of
 * it too (shared.h). A user name that has logged in from an address in the last
 * two weeks is not put off there because of what others tried, and because of
 * its own mistakes for a minute at most. Exempt networks are not counted.
 */
#ifndef POSTERN_ABUSE_H
#define POSTERN_ABUSE_H

#include <stdbool.h>

#include "proxy/base/address.h"
#include "proxy/base/compiler.h"
#include "proxy/config.h"
#include "proxy/tally.h"

struct abuse;
struct event_base;

/* All must outlive it. NULL: no memory. */
MUST_USE struct abuse *abuse_new(struct event_base *base, const struct config *config,
                                 struct tally *tally);
/* NULL is allowed. */
void abuse_free(struct abuse *abuse);

/* A client as limits see it. `is_exempt`: no limit of an address is kept on it. */
struct abuse_client {
    const struct address *address;
    bool is_exempt;
};

/*
 * The client at the other end of a connection, by limits.exempt. Only for a peer that has
 * connected by itself: who was announced by a load balancer may be anybody, and is exempt where
 * the listener says so (door_exempts()). `peer` must outlive the result.
 */
MUST_USE struct abuse_client abuse_peer(const struct abuse *abuse, const struct address *peer);

/* Counts a connection. False: there were too many in the last minute. */
MUST_USE bool abuse_admit_connection(struct abuse *abuse, struct abuse_client client);

/* Which level is over its limit. */
enum abuse_judgement { ABUSE_NONE, ABUSE_ADDRESS, ABUSE_NETWORK, ABUSE_USER };
/* For the log. */
const char *abuse_reason(enum abuse_judgement judgement);

/* May this user name be tried from there now? Before PAM is asked; a trial that may not counts
 * as a failed one of its address, so that who goes on waits longer. */
MUST_USE enum abuse_judgement abuse_judge_login(struct abuse *abuse, struct abuse_client client,
                                                const char *user);
/* The same once more when PAM has answered, before the answer is counted. */
MUST_USE enum abuse_judgement abuse_judge_verdict(struct abuse *abuse,
                                                  struct abuse_client client, const char *user);
void abuse_login_failed(struct abuse *abuse, struct abuse_client client, const char *user);
/*
 * PAM could not decide: there is an outage, or a module says so of a wrong password. Returns
 * whether it counts as a failed login, which it does once the user or the address has had
 * ABUSE_UNDECIDED_LIMIT of these. An outage may last for hours while devices go on trying. So
 * these raise a level no higher than its limit: after the outage a client waits until one
 * failed login is forgotten, and no longer.
 */
MUST_USE bool abuse_login_undecided(struct abuse *abuse, struct abuse_client client,
                                    const char *user);
void abuse_login_succeeded(struct abuse *abuse, struct abuse_client client, const char *user);

/* This login is about to send: what the others know of its messages and recipients comes in
 * while its session is opened at the backend. */
void abuse_expect_mail(const struct abuse *abuse, const char *login);
/* May this login begin another message, or name another recipient, which is then counted? */
MUST_USE bool abuse_admit_message(struct abuse *abuse, const char *login);
MUST_USE bool abuse_admit_recipient(struct abuse *abuse, const char *login);

#endif
