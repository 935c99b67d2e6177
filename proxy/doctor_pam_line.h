/* A line of a PAM service file (pam.d(5)), as far as the doctor needs it. Pure. */
#ifndef POSTERN_DOCTOR_PAM_LINE_H
#define POSTERN_DOCTOR_PAM_LINE_H

#include <stdbool.h>
#include <stddef.h>

enum doctor_pam_kind {
    DOCTOR_PAM_EMPTY,   /* or a comment */
    DOCTOR_PAM_MODULE,  /* `path` is a module */
    DOCTOR_PAM_INCLUDE, /* `path` is another service file: include, substack, @include */
    DOCTOR_PAM_BROKEN,
};

enum doctor_pam_type {
    DOCTOR_PAM_AUTH,
    DOCTOR_PAM_ACCOUNT,
    DOCTOR_PAM_OTHER, /* password and session, which Postern never calls */
    DOCTOR_PAM_EVERY, /* @include: all types of the other file */
};

#define DOCTOR_PAM_PATH_SIZE 512

struct doctor_pam_line {
    enum doctor_pam_kind kind;
    enum doctor_pam_type type;
    bool silent;  /* "-auth": that the module is missing is no fault */
    bool decides; /* if the module says PAM_SYSTEM_ERR, so may the whole service */
    char path[DOCTOR_PAM_PATH_SIZE];
};

/* Reads one line, without its line end and with continuations already joined. */
void doctor_pam_line_parse(const char *line, size_t length, struct doctor_pam_line *out);

#endif
