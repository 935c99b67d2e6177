/*
 * The modules of a PAM service: what its files name, and whether it can be loaded. Used by
 * host.c at a start, which has another process try it, and by the doctor.
 */
#ifndef POSTERN_PAM_MODULES_H
#define POSTERN_PAM_MODULES_H

#include <stdbool.h>
#include <stddef.h>

#include "proxy/base/compiler.h"
#include "proxy/doctor_pam_line.h"

#define PAM_MODULES_LIMIT     64
#define PAM_MODULES_PATH_SIZE (DOCTOR_PAM_PATH_SIZE * 2)

struct pam_module {
    char path[DOCTOR_PAM_PATH_SIZE];
    bool silent; /* may be missing */
};

/* What a service comes to. */
struct pam_modules {
    const char *directory; /* of the configuration; NULL: the system's */
    bool has[2];           /* by DOCTOR_PAM_AUTH and _ACCOUNT: a line of that type */
    bool cannot_refuse[2]; /* by the same: one whose module calls a refusal a system error */
    struct pam_module list[PAM_MODULES_LIMIT];
    size_t count;
    char fault[PAM_MODULES_PATH_SIZE + 128]; /* empty: none */
};

/* Reads the files of a service; `directory` is auth.pam_confdir, which must stay. To be freed.
 * NULL: no memory. */
MUST_USE struct pam_modules *pam_modules_read(const char *service, const char *directory);

/* Loads it into this process and lets it go. Returns why that cannot be done (static, until the
 * next call), or NULL. */
const char *pam_module_load(const struct pam_module *module);

typedef void pam_modules_fault(void *context, const char *text);

/* Has another process load each module of a service. Calls `fault` with "pam_x.so: reason" for
 * each that cannot be loaded. Waits for it, five seconds at the most. */
void pam_modules_try(const char *service, const char *directory, pam_modules_fault *fault,
                     void *context);

/* main() of that process: argv[1] is "--pam-modules". Returns the exit status. */
int pam_modules_main(int argc, char **argv);

#endif
