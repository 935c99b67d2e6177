/* One login through Linux-PAM: authenticate, then account. Blocks as long as the modules do. */
#ifndef POSTERN_AUTH_PAM_H
#define POSTERN_AUTH_PAM_H

#include "auth/message.h"
#include "auth/worker.h"

/*
 * Loads the service's modules once and keeps them loaded, so that each login only finds them.
 * Returns false if the service cannot be used yet; a login will tell why.
 */
MUST_USE bool pam_login_prepare(const struct auth_worker_options *options);

/*
 * Is there a file for the service? Without one libpam silently uses "other", which refuses
 * everybody, and people would be told that their passwords are wrong. If not, `why` says so.
 */
MUST_USE bool pam_service_exists(const struct auth_worker_options *options,
                                 char why[static AUTH_REASON_LIMIT + 1]);

/*
 * What a return code of pam_authenticate() or pam_acct_mgmt() means: AUTH_REJECTED only where a
 * module has judged the person, AUTH_UNAVAILABLE for everything else that is not success.
 */
enum auth_result pam_login_result(int code);

/* How libpam itself got on, whatever the verdict is. */
enum pam_login_end {
    PAM_LOGIN_NOT_STARTED, /* pam_start() failed */
    PAM_LOGIN_BROKEN,      /* PAM_ABORT or PAM_BUF_ERR: nothing about the person */
    PAM_LOGIN_UNDECIDED,   /* any other outage */
    PAM_LOGIN_DECIDED,     /* accepted or rejected */
};

/*
 * Fills *verdict for *request, whose password stays for the caller to overwrite. PAM_RHOST is
 * the client's address, PAM_TTY "smtp". In the conversation, a prompt with echo off gets the
 * password, one with echo on the user name; information is passed over.
 */
enum pam_login_end pam_login(const struct auth_worker_options *options,
                             const struct auth_message_request *request,
                             struct auth_message_verdict *verdict);

#endif
