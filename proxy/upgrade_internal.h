/* Shared by upgrade.c and upgrade_program.c only. */
#ifndef POSTERN_UPGRADE_INTERNAL_H
#define POSTERN_UPGRADE_INTERNAL_H

#include "proxy/upgrade.h"

/* What a program that can adopt a generation writes when it is asked. */
#define UPGRADE_ANSWER "ready to take over"

/* The program's file, for messages. */
const char *upgrade_path(void);

/* Becomes it, if it can be executed. */
void upgrade_execute(void);

/* Describes the estate in the environment, and lets what is executed next inherit it. False: no
 * memory, or it is too much. */
MUST_USE bool upgrade_leave(const struct upgrade_estate *estate);

#endif
