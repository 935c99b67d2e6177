/*
 * SMTP command lines (RFC 5321 section 4.1), as pure functions over bytes.
 *
 * A line comes without its line end. Nothing is allocated or changed;
 * results point into the line.
 */
#ifndef POSTERN_SMTP_COMMAND_H
#define POSTERN_SMTP_COMMAND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* RFC 5321 section 4.5.3.1.4 with room for the parameters of extensions. */
#define SMTP_COMMAND_LIMIT 2048
/* RFC 4954 section 4: a line of an authentication exchange. Both with their CRLF. */
#define SMTP_AUTH_LINE_LIMIT 12288
/* RFC 5321 section 4.5.3.1.2 */
#define SMTP_DOMAIN_LIMIT 255

enum smtp_verb {
    SMTP_VERB_UNKNOWN,
    SMTP_VERB_EHLO,
    SMTP_VERB_HELO,
    SMTP_VERB_MAIL,
    SMTP_VERB_RCPT,
    SMTP_VERB_DATA,
    SMTP_VERB_BDAT, /* RFC 3030 */
    SMTP_VERB_RSET,
    SMTP_VERB_NOOP,
    SMTP_VERB_QUIT,
    SMTP_VERB_VRFY,
    SMTP_VERB_EXPN,
    SMTP_VERB_HELP,
    SMTP_VERB_ETRN,     /* RFC 1985 */
    SMTP_VERB_STARTTLS, /* RFC 3207 */
    SMTP_VERB_AUTH,     /* RFC 4954 */
    SMTP_VERB_IDENTITY, /* XCLIENT, XFORWARD, XCONNECT, PROXY: only Postern may say these */
    SMTP_VERB_FOREIGN,  /* GET, POST, CONNECT …: the client speaks another protocol */
    SMTP_VERB_COUNT,
};

enum smtp_command_status {
    SMTP_COMMAND_OK,
    SMTP_COMMAND_BAD_BYTE, /* NUL, a bare CR, or a control character other than tab */
};

struct smtp_command {
    enum smtp_verb verb;
    size_t verb_length;      /* bytes, at the beginning of the line */
    const char *arguments;   /* after the verb and its spaces; may be empty, never NULL */
    size_t arguments_length; /* without trailing spaces and tabs */
};

/*
 * Finds the verb (any case) and its arguments. A verb begins at the first byte and ends at a
 * space or the end of the line: " XCLIENT" and "MAIL\tFROM" are unknown verbs. Always fills
 * *out.
 */
__attribute__((warn_unused_result)) enum smtp_command_status
smtp_command_parse(const char *line, size_t length, struct smtp_command *out);

/*
 * Writes the line in its one form: the verb as it was written, and one space before the
 * arguments, if there are any. `out` has room for `length` bytes. Returns how many it wrote.
 */
size_t smtp_command_canonical(const struct smtp_command *command, const char *line, char *out);

/* The verb's own name ("MAIL"); "unknown" for those that are not SMTP's. For logs and tests. */
const char *smtp_verb_name(enum smtp_verb verb);

/*
 * Is this a domain or address literal that may follow EHLO or HELO? Printable ASCII without
 * space, at most SMTP_DOMAIN_LIMIT bytes, not empty: what is in real use, not the grammar.
 */
bool smtp_helo_name_valid(const char *name, size_t length);

#define SMTP_HELO_NAME_SIZE (SMTP_DOMAIN_LIMIT + 1)

/*
 * Writes a valid name of the same length in place of what followed EHLO or HELO: each
 * byte that may not stand in one (computers are called "büro" and "my pc") becomes '?'. Returns
 * false if there is none: empty, or longer than SMTP_DOMAIN_LIMIT.
 */
__attribute__((warn_unused_result)) bool
smtp_helo_name_make_safe(const char *name, size_t length, char out[static SMTP_HELO_NAME_SIZE]);

/* The same where names are taken as they come; `is_strict`: false for all but valid ones, too.
 */
__attribute__((warn_unused_result)) bool
smtp_helo_name_take(const char *name, size_t length, bool is_strict,
                    char out[static SMTP_HELO_NAME_SIZE]);

/* The length of the keyword that a parameter of MAIL or RCPT begins with (RFC 5321 section
 * 4.1.2, esmtp-keyword); 0: there is none. */
size_t smtp_keyword_length(const char *parameter, size_t length);

/*
 * The length of `word` ("FROM:", "TO:", in any case) and the path after it, in brackets or
 * without, at the beginning of a command's arguments; 0: syntax error. Quoted local parts are
 * respected. Spaces may stand before the path, and inside of its brackets next to them.
 */
size_t smtp_path_end(const char *arguments, size_t length, const char *word);

/*
 * Writes arguments of MAIL or RCPT in their one form: `word`, the path without the spaces that
 * smtp_path_end() allows, and each parameter after one space. `out` has room for `length`
 * bytes. Returns how many it wrote; 0: syntax error, a control character, or no space after the
 * path.
 */
size_t smtp_envelope_canonical(const char *arguments, size_t length, const char *word,
                               char *out);

/*
 * The address in arguments of MAIL or RCPT in that form, without its brackets: points into
 * them. Where they are not in that form, it is all of them. Sets *address_length (0: the empty
 * path, or no arguments).
 */
const char *smtp_envelope_address(const char *arguments, size_t length, const char *word,
                                  size_t *address_length);

enum smtp_mail_status {
    SMTP_MAIL_OK,
    SMTP_MAIL_SYNTAX, /* not FROM:<path> or FROM:path and parameters: 501 */
    SMTP_MAIL_LONG,   /* no room for the login in a command */
    SMTP_MAIL_LOGIN,  /* the login is empty, or "<>", which stands for nobody */
};

/*
 * Writes MAIL's arguments without any AUTH parameter (RFC 4954 section 5) to `out`, which has
 * room for `length` bytes, and sets *out_length (0 unless SMTP_MAIL_OK). The rest is kept in
 * the form of smtp_envelope_canonical(). Quoted local parts are respected; whatever could be
 * read in two ways is SMTP_MAIL_SYNTAX.
 */
__attribute__((warn_unused_result)) enum smtp_mail_status
smtp_mail_strip_auth(const char *arguments, size_t length, char *out, size_t *out_length);

/* MAIL's arguments at their longest: a command without its verb and CRLF. */
#define SMTP_MAIL_ARGUMENTS_LIMIT (SMTP_COMMAND_LIMIT - (sizeof "MAIL \r\n" - 1))

/*
 * The same with " AUTH=" and the login in xtext behind (RFC 4954 section 5), in place of what
 * the client wrote. `out` has room for SMTP_MAIL_ARGUMENTS_LIMIT bytes.
 */
__attribute__((warn_unused_result)) enum smtp_mail_status
smtp_mail_set_auth(const char *arguments, size_t length, const char *login, char *out,
                   size_t *out_length);

/* Some backends count a chunk in 32 bits: beyond this they would take message for commands. */
#define SMTP_BDAT_SIZE_LIMIT INT32_MAX

/*
 * BDAT's arguments (RFC 3030 section 2): a size in decimal, at most SMTP_BDAT_SIZE_LIMIT and
 * without leading zeros (some backends would read an octal number), and perhaps spaces and
 * LAST. Returns false if they are anything else.
 */
__attribute__((warn_unused_result)) bool smtp_bdat_parse(const char *arguments, size_t length,
                                                         uint64_t *size, bool *last);

#endif
