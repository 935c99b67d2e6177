/*
 * RCPT's forward-path (RFC 5321 section 4.1.2), read for the question whether
 * a recipient is ours. Pure, no allocation.
 *
 * What passes means the same to every server: whatever could be routed on
 * from our domain to another by some of them (source routes, '%', '!', what
 * is quoted, comments, pipes) has a status of its own.
 */
#ifndef POSTERN_SMTP_FORWARD_PATH_H
#define POSTERN_SMTP_FORWARD_PATH_H

#include <stdbool.h>
#include <stddef.h>

enum smtp_forward_path_status {
    SMTP_FORWARD_PATH_OK,
    SMTP_FORWARD_PATH_SYNTAX,    /* not TO:<path> and parameters */
    SMTP_FORWARD_PATH_BYTE,      /* NUL, tab or another control character */
    SMTP_FORWARD_PATH_EIGHT_BIT, /* a byte above 126: an internationalised address */
    SMTP_FORWARD_PATH_ROUTE,     /* <@a,@b:user@c> */
    SMTP_FORWARD_PATH_PERCENT,   /* <user%other@ours> */
    SMTP_FORWARD_PATH_BANG,      /* <other!user@ours> */
    SMTP_FORWARD_PATH_QUOTED,    /* a quoted local part with more in it than a plain one has */
    SMTP_FORWARD_PATH_TWO_AT,    /* <user@other@ours> */
    SMTP_FORWARD_PATH_PIPE,      /* a local part that begins with '|' or '/', or has "../" */
    SMTP_FORWARD_PATH_LITERAL,   /* <user@[192.0.2.1]> */
    SMTP_FORWARD_PATH_NO_DOMAIN, /* <user>, other than <postmaster> */
    SMTP_FORWARD_PATH_COUNT,
};

/* Both point into the arguments and are as they were written there: in any case. */
struct smtp_forward_path {
    const char *local_part; /* without the quotes that it may have had */
    size_t local_part_length;
    const char *domain; /* NULL: <postmaster>, which is always ours (section 4.5.1) */
    size_t domain_length;
};

/*
 * Reads what follows "RCPT ". Fills *out only if the status is SMTP_FORWARD_PATH_OK. A local
 * part is then made of what is plain in all of them: letters, digits, and !#$&'*+-/=?^_`{|}~.
 * less what the statuses name; the domain is one that DNS could have.
 */
__attribute__((warn_unused_result)) enum smtp_forward_path_status
smtp_forward_path_parse(const char *arguments, size_t length, struct smtp_forward_path *out);

/* The same of a bare address, "user@example.org", as a postmaster writes it. */
__attribute__((warn_unused_result)) enum smtp_forward_path_status
smtp_forward_path_parse_address(const char *address, size_t length,
                                struct smtp_forward_path *out);

/* May this be a domain? Labels of letters, digits, '-' and '_', with dots between them. */
bool smtp_domain_valid(const char *domain, size_t length);

/* What is wrong, in words for a log: static text. */
const char *smtp_forward_path_reason(enum smtp_forward_path_status status);

#endif
