/* What people see of each answer, and what it comes to. */
#ifndef POSTERN_CTL_SHOW_H
#define POSTERN_CTL_SHOW_H

#include "proxy/ctl/json.h"

/* Exit status. */
enum ctl_exit {
    CTL_DONE,
    CTL_REFUSED,     /* Postern answered, and it was not done */
    CTL_USAGE,       /* not understood, and nothing was asked */
    CTL_UNREACHABLE, /* nobody answered */
    CTL_UNWRITTEN,   /* Postern answered, and nobody could be told */
};

/* Of an answer that is no error. */
enum ctl_exit ctl_outcome(struct ctl_value answer);

typedef void ctl_show(struct ctl_value answer);

ctl_show ctl_show_status, ctl_show_sessions, ctl_show_ended, ctl_show_state, ctl_show_reload,
    ctl_show_level, ctl_show_reopened, ctl_show_permits, ctl_show_failures;

#endif
