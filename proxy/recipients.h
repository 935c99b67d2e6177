/*
 * The recipients whose mail is taken from anybody: domains and addresses as
 * the configuration lists them. Built while the configuration is read, asked
 * by the relay for each RCPT of a client that has not logged in.
 */
#ifndef POSTERN_RECIPIENTS_H
#define POSTERN_RECIPIENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "proxy/base/compiler.h"
#include "proxy/smtp/forward_path.h"

struct recipients;

/* Room for what is wrong with an entry: "/etc/postern/recipients:12: …". */
#define RECIPIENTS_ERROR_SIZE 512

/* An empty set, which holds nobody but <postmaster>. NULL: no memory. */
MUST_USE struct recipients *recipients_new(void);
/* NULL is allowed. */
void recipients_free(struct recipients *recipients);

/*
 * Adds what one word of the configuration stands for:
 *     example.org        everybody there
 *     .example.org       everybody in all of its subdomains, not there itself
 *     user@example.org   one address
 *     /path              a file of the above, one on a line; '#' begins a comment
 * Returns false, with the reason in `error`, if it is none of these, or the file cannot be
 * read; some of it may have been added.
 */
MUST_USE bool recipients_add(struct recipients *recipients, const char *word,
                             char error[static RECIPIENTS_ERROR_SIZE]);

/* The same for the content of a file that is called `name` in errors. */
MUST_USE bool recipients_add_lines(struct recipients *recipients, FILE *file, const char *name,
                                   char error[static RECIPIENTS_ERROR_SIZE]);

/* Entries, each counted once. To be called when the last has been added: it puts them in order,
 * which the first look-up after it would have to do. */
size_t recipients_count(struct recipients *recipients);

/* Is it one of them? In any case of its letters; <postmaster> always is. */
bool recipients_include(struct recipients *recipients, const struct smtp_forward_path *path);

#endif
