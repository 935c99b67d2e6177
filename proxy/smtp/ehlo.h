/*
 * What a server offers in its reply to EHLO (RFC 5321 section 4.1.1.1):
 * learning it from a backend's reply, and writing what Postern offers itself.
 *
 * One table of keywords says which of a backend's offers the relay carries;
 * whatever is not in it is not passed on. Pure, no allocation.
 */
#ifndef POSTERN_SMTP_EHLO_H
#define POSTERN_SMTP_EHLO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Keywords that are carried; the table in ehlo.c has the same order. */
enum smtp_extension {
    SMTP_EXT_PIPELINING,
    SMTP_EXT_SIZE,
    SMTP_EXT_8BITMIME,
    SMTP_EXT_ENHANCEDSTATUSCODES,
    SMTP_EXT_DSN,
    SMTP_EXT_SMTPUTF8,
    SMTP_EXT_CHUNKING,
    SMTP_EXT_BINARYMIME,
    SMTP_EXT_DELIVERBY,
    SMTP_EXT_FUTURERELEASE,
    SMTP_EXT_MT_PRIORITY,
    SMTP_EXT_NO_SOLICITING,
    SMTP_EXT_LIMITS,
    SMTP_EXT_ETRN,
    SMTP_EXT_VRFY,
    SMTP_EXT_EXPN,
    SMTP_EXT_COUNT,
};

/* Room for the parameters of all keywords together ("10240000", "RCPTMAX=100"). */
#define SMTP_EHLO_PARAMETERS_SIZE 512
/* Of one keyword: a line of a reply is at most 512 bytes (RFC 5321 section 4.5.3.1.5). */
#define SMTP_EHLO_PARAMETER_LIMIT 480

struct smtp_ehlo {
    uint32_t offered; /* bit 1u << enum smtp_extension */
    uint32_t xclient; /* attributes offered for XCLIENT: bits of enum smtp_xclient_attribute; 0:
                         none */
    bool starttls;    /* offered by the backend; never passed on */
    uint16_t parameters_length;
    struct {
        uint16_t offset, length;
    } parameter[SMTP_EXT_COUNT];
    char parameters[SMTP_EHLO_PARAMETERS_SIZE];
};

static inline bool smtp_ehlo_offers(const struct smtp_ehlo *ehlo, enum smtp_extension extension)
{
    return (ehlo->offered >> extension) & 1u;
}

/* An extension's keyword: "8BITMIME". */
const char *smtp_ehlo_keyword(enum smtp_extension extension);

/* The largest message in bytes, as SIZE says it; 0: no limit (RFC 1870 section 4). */
uint64_t smtp_ehlo_size_limit(const struct smtp_ehlo *ehlo);

/*
 * Takes the text of one line behind the first of an EHLO reply ("SIZE 10240000"). Start from a
 * zeroed struct. Unknown keywords are passed over; of lines with the same keyword the
 * last counts; a parameter that is not printable ASCII or has no room drops its keyword.
 * BINARYMIME counts only with CHUNKING (smtp_ehlo_format sees to it).
 */
void smtp_ehlo_learn(struct smtp_ehlo *ehlo, const char *text, size_t length);

/*
 * Takes away what `other` does not offer as well, as for one of two servers whose choice is not
 * made yet. Of two limits of SIZE the smaller stays; any other keyword stays only if its
 * parameters are the same.
 */
void smtp_ehlo_restrict(struct smtp_ehlo *ehlo, const struct smtp_ehlo *other);

/*
 * What of `offer` `checked` has not, or not as much of: bits 1u << enum smtp_extension. A
 * smaller limit of SIZE, and other parameters of another keyword, are such.
 */
uint32_t smtp_ehlo_lacks(const struct smtp_ehlo *checked, const struct smtp_ehlo *offer);

/* The same offers, byte for byte? */
bool smtp_ehlo_equal(const struct smtp_ehlo *a, const struct smtp_ehlo *b);

/* What Postern adds of its own. */
struct smtp_ehlo_own {
    const char *hostname;
    bool starttls;          /* never the last line: some clients miss it there */
    const char *mechanisms; /* "PLAIN LOGIN"; NULL or empty: no AUTH */
    bool legacy_auth;       /* also "AUTH=PLAIN LOGIN" */
    uint32_t withheld;      /* not passed on: bits 1u << enum smtp_extension */
};

/* What smtp_ehlo_format() writes of it: bits 1u << enum smtp_extension. */
uint32_t smtp_ehlo_carried(const struct smtp_ehlo *ehlo, uint32_t withheld);

/* What only those who are authenticated are offered. */
#define SMTP_EXT_FOR_USERS (1u << SMTP_EXT_ETRN | 1u << SMTP_EXT_VRFY | 1u << SMTP_EXT_EXPN)

/* Names of mechanisms beyond this are left out. */
#define SMTP_EHLO_MECHANISMS_LIMIT 255
/* Room for every reply that smtp_ehlo_format() can write, NUL included; ehlo.c adds it up. */
#define SMTP_EHLO_TEXT_SIZE 2048

/*
 * Writes the whole reply ("250-host\r\n250-SIZE 1000\r\n … 250 DSN\r\n") and returns its
 * length. With nothing to offer it is the one line "250 host\r\n". A hostname over SMTP's limit
 * is cut.
 */
size_t smtp_ehlo_format(const struct smtp_ehlo *ehlo, const struct smtp_ehlo_own *own,
                        char out[static SMTP_EHLO_TEXT_SIZE]);

#endif
