/* A trial login for `postern doctor --login`, and the question for its password. */
#ifndef POSTERN_DOCTOR_LOGIN_H
#define POSTERN_DOCTOR_LOGIN_H

#include "proxy/base/compiler.h"
#include "proxy/doctor_internal.h"

/* What Postern takes, each with a NUL. */
#define DOCTOR_LOGIN_NAME_SIZE     256
#define DOCTOR_LOGIN_PASSWORD_SIZE 1025

struct doctor_login {
    char user[DOCTOR_LOGIN_NAME_SIZE];     /* empty: none is tried */
    char from[2 * DOCTOR_LOGIN_NAME_SIZE]; /* the sender; empty until doctor_login_complete() */
    char password[DOCTOR_LOGIN_PASSWORD_SIZE];
};

/*
 * Finds a sender, if none was given: the user name itself where it is an address, else with
 * `hostname` behind its "@". Reads the password: asks on the terminal, without echo, or takes
 * the first line of standard input. False, having said why on standard error.
 */
MUST_USE bool doctor_login_complete(struct doctor_login *login, const char *hostname);

/* Logs in at each listener for people. */
void doctor_try_login(struct doctor *doctor, const struct doctor_login *login);

#endif
