/*
 * What the checks of `postern doctor` have found, as lines for people or as a JSON array. Each
 * finding is written when the next one begins, so that advice can still be added to it. Every
 * text may have any bytes in it: they are escaped (threat 17).
 */
#ifndef POSTERN_DOCTOR_REPORT_H
#define POSTERN_DOCTOR_REPORT_H

#include <stdbool.h>
#include <stdio.h>

#include "proxy/base/compiler.h"

enum doctor_severity {
    DOCTOR_OK,
    DOCTOR_NOTE,    /* for information */
    DOCTOR_SKIPPED, /* could not be looked at, and why */
    DOCTOR_WARNING,
    DOCTOR_ERROR,
    DOCTOR_SEVERITIES,
};

#define DOCTOR_TEXT_SIZE 1024

struct doctor_report {
    FILE *out;
    bool json;
    const char *check; /* name of the one that runs; set by the caller */
    unsigned count[DOCTOR_SEVERITIES];
    bool pending; /* the finding below is not written yet */
    const char *pending_check;
    enum doctor_severity severity;
    char message[DOCTOR_TEXT_SIZE];
    char advice[DOCTOR_TEXT_SIZE]; /* empty: none */
};

/* Begins a report; zero-initialise it, and set `out` and `json`. */
void doctor_report_begin(struct doctor_report *report);

PRINTF_LIKE(3, 4)
void doctor_report_add(struct doctor_report *report, enum doctor_severity severity,
                       const char *format, ...);

/* Adds what to do to the finding before. */
PRINTF_LIKE(2, 3)
void doctor_report_advise(struct doctor_report *report, const char *format, ...);

/* Writes what is left; returns one of DOCTOR_STATUS_… */
MUST_USE int doctor_report_end(struct doctor_report *report);

#endif
