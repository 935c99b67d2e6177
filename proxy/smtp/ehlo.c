/*
 * The one table of what the relay carries of a backend's offers (threats 9 and 26), and both
 * ways through it: learning a backend's reply, writing our own. An offer that is added to the
 * table is learned and passed on without another line of code.
 */
#include "proxy/smtp/ehlo.h"

#include <string.h>
#include <strings.h>

#include "proxy/smtp/xclient.h"

#define HOSTNAME_LIMIT 255

/* Each in as much room as the longest: the reply's greatest size can be added up below. */
static const char keywords[SMTP_EXT_COUNT][sizeof "ENHANCEDSTATUSCODES"] = {
    [SMTP_EXT_PIPELINING] = "PIPELINING",
    [SMTP_EXT_SIZE] = "SIZE",
    [SMTP_EXT_8BITMIME] = "8BITMIME",
    [SMTP_EXT_ENHANCEDSTATUSCODES] = "ENHANCEDSTATUSCODES",
    [SMTP_EXT_DSN] = "DSN",
    [SMTP_EXT_SMTPUTF8] = "SMTPUTF8",
    [SMTP_EXT_CHUNKING] = "CHUNKING",
    [SMTP_EXT_BINARYMIME] = "BINARYMIME",
    [SMTP_EXT_DELIVERBY] = "DELIVERBY",
    [SMTP_EXT_FUTURERELEASE] = "FUTURERELEASE",
    [SMTP_EXT_MT_PRIORITY] = "MT-PRIORITY",
    [SMTP_EXT_NO_SOLICITING] = "NO-SOLICITING",
    [SMTP_EXT_LIMITS] = "LIMITS",
    [SMTP_EXT_ETRN] = "ETRN",
    [SMTP_EXT_VRFY] = "VRFY",
    [SMTP_EXT_EXPN] = "EXPN",
};

const char *smtp_ehlo_keyword(enum smtp_extension extension)
{
    return keywords[extension];
}

static bool is_word(const char *text, size_t length, const char *word)
{
    return strlen(word) == length && strncasecmp(text, word, length) == 0;
}

static bool is_printable(const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (text[i] < ' ' || text[i] > '~')
            return false;
    return true;
}

static int find_keyword(const char *text, size_t length)
{
    for (int i = 0; i < SMTP_EXT_COUNT; i++)
        if (is_word(text, length, keywords[i]))
            return i;
    return -1;
}

/* The last line of a keyword counts, as it does for a client that reads them in order. */
static void learn_extension(struct smtp_ehlo *ehlo, int extension, const char *parameters,
                            size_t length)
{
    size_t free_bytes = SMTP_EHLO_PARAMETERS_SIZE - ehlo->parameters_length;
    ehlo->offered &= ~(1u << extension);
    if (length > free_bytes || length > SMTP_EHLO_PARAMETER_LIMIT ||
        !is_printable(parameters, length))
        return;
    ehlo->parameter[extension].offset = ehlo->parameters_length;
    ehlo->parameter[extension].length = (uint16_t)length;
    memcpy(ehlo->parameters + ehlo->parameters_length, parameters, length);
    ehlo->parameters_length = (uint16_t)(ehlo->parameters_length + length);
    ehlo->offered |= 1u << extension;
}

void smtp_ehlo_learn(struct smtp_ehlo *ehlo, const char *text, size_t length)
{
    while (length > 0 && (text[length - 1] == ' ' || text[length - 1] == '\t'))
        length--;
    const char *space = memchr(text, ' ', length);
    size_t word = space ? (size_t)(space - text) : length;
    const char *parameters = space ? space + 1 : text + length;
    size_t parameters_length = space ? length - word - 1 : 0;
    int extension = find_keyword(text, word);

    if (extension >= 0)
        learn_extension(ehlo, extension, parameters, parameters_length);
    else if (is_word(text, word, "XCLIENT"))
        ehlo->xclient = smtp_xclient_attributes(parameters, parameters_length);
    else if (is_word(text, word, "STARTTLS"))
        ehlo->starttls = true;
}

static bool same_parameters(const struct smtp_ehlo *a, const struct smtp_ehlo *b, int extension)
{
    return a->parameter[extension].length == b->parameter[extension].length &&
           memcmp(a->parameters + a->parameter[extension].offset,
                  b->parameters + b->parameter[extension].offset,
                  a->parameter[extension].length) == 0;
}

bool smtp_ehlo_equal(const struct smtp_ehlo *a, const struct smtp_ehlo *b)
{
    if (a->offered != b->offered || a->xclient != b->xclient || a->starttls != b->starttls)
        return false;
    for (int i = 0; i < SMTP_EXT_COUNT; i++)
        if (((a->offered >> i) & 1u) && !same_parameters(a, b, i))
            return false;
    return true;
}

/* SIZE's parameter; 0, as for a missing one, is no limit (RFC 1870 section 4). */
uint64_t smtp_ehlo_size_limit(const struct smtp_ehlo *ehlo)
{
    const char *text = ehlo->parameters + ehlo->parameter[SMTP_EXT_SIZE].offset;
    uint64_t limit = 0;
    for (size_t i = 0; i < ehlo->parameter[SMTP_EXT_SIZE].length; i++) {
        if (text[i] < '0' || text[i] > '9' || limit > UINT64_MAX / 100)
            return 0;
        limit = limit * 10 + (uint64_t)(text[i] - '0');
    }
    return limit;
}

static bool has_less(const struct smtp_ehlo *ehlo, const struct smtp_ehlo *offer, int extension)
{
    if (!smtp_ehlo_offers(ehlo, (enum smtp_extension)extension))
        return true;
    if (extension != SMTP_EXT_SIZE)
        return !same_parameters(ehlo, offer, extension);
    uint64_t ours = smtp_ehlo_size_limit(ehlo), theirs = smtp_ehlo_size_limit(offer);
    return ours > 0 && (theirs == 0 || ours < theirs);
}

uint32_t smtp_ehlo_lacks(const struct smtp_ehlo *checked, const struct smtp_ehlo *offer)
{
    uint32_t lacks = 0;
    for (int i = 0; i < SMTP_EXT_COUNT; i++)
        if (smtp_ehlo_offers(offer, (enum smtp_extension)i) && has_less(checked, offer, i))
            lacks |= 1u << i;
    return lacks;
}

/* In the place of the larger one, where it fits: there is room for any number of them. */
static void take_size(struct smtp_ehlo *ehlo, const struct smtp_ehlo *other)
{
    const char *text = other->parameters + other->parameter[SMTP_EXT_SIZE].offset;
    uint16_t length = other->parameter[SMTP_EXT_SIZE].length;
    if (length > ehlo->parameter[SMTP_EXT_SIZE].length) {
        learn_extension(ehlo, SMTP_EXT_SIZE, text, length);
        return;
    }
    memcpy(ehlo->parameters + ehlo->parameter[SMTP_EXT_SIZE].offset, text, length);
    ehlo->parameter[SMTP_EXT_SIZE].length = length;
}

void smtp_ehlo_restrict(struct smtp_ehlo *ehlo, const struct smtp_ehlo *other)
{
    uint32_t lacks = smtp_ehlo_lacks(other, ehlo);
    if (lacks & other->offered & 1u << SMTP_EXT_SIZE) {
        take_size(ehlo, other);
        lacks &= ~(1u << SMTP_EXT_SIZE);
    }
    ehlo->offered &= ~lacks;
}

/* A line of the reply with all that is about its text. */
#define LINE_SIZE(text_length) (sizeof "250-\r\n" - 1 + (text_length))

/* The host, STARTTLS, AUTH in both its forms, every keyword with its blank; all parameters. */
_Static_assert(LINE_SIZE(HOSTNAME_LIMIT) + LINE_SIZE(sizeof "STARTTLS" - 1) +
                       2 * LINE_SIZE(sizeof "AUTH " - 1 + SMTP_EHLO_MECHANISMS_LIMIT) +
                       SMTP_EXT_COUNT * LINE_SIZE(sizeof keywords[0]) +
                       SMTP_EHLO_PARAMETERS_SIZE + sizeof "" <=
                   SMTP_EHLO_TEXT_SIZE,
               "the largest reply has room");
_Static_assert(LINE_SIZE(sizeof keywords[0] + SMTP_EHLO_PARAMETER_LIMIT) <= 512,
               "no line is longer than clients must take");

/* The reply under construction: each line is begun as if another followed. */
struct writer {
    char *out;
    size_t length, last_line;
};

static void put(struct writer *writer, const char *text, size_t length)
{
    memcpy(writer->out + writer->length, text, length);
    writer->length += length;
}

static void put_text(struct writer *writer, const char *text)
{
    put(writer, text, strlen(text));
}

static void begin_line(struct writer *writer)
{
    writer->last_line = writer->length;
    put_text(writer, "250-");
}

static void put_extension(struct writer *writer, const struct smtp_ehlo *ehlo, int extension)
{
    begin_line(writer);
    put_text(writer, keywords[extension]);
    if (ehlo->parameter[extension].length > 0) {
        put_text(writer, " ");
        put(writer, ehlo->parameters + ehlo->parameter[extension].offset,
            ehlo->parameter[extension].length);
    }
    put_text(writer, "\r\n");
}

/* As many whole names as there is room for. */
static size_t mechanisms_length(const char *mechanisms)
{
    size_t length = mechanisms ? strlen(mechanisms) : 0;
    if (length <= SMTP_EHLO_MECHANISMS_LIMIT)
        return length;
    length = SMTP_EHLO_MECHANISMS_LIMIT;
    while (length > 0 && mechanisms[length] != ' ')
        length--;
    return length;
}

static void put_auth(struct writer *writer, const char *form, const struct smtp_ehlo_own *own)
{
    size_t length = mechanisms_length(own->mechanisms);
    if (length == 0)
        return;
    begin_line(writer);
    put_text(writer, form);
    put(writer, own->mechanisms, length);
    put_text(writer, "\r\n");
}

static void put_own(struct writer *writer, const struct smtp_ehlo_own *own)
{
    if (own->starttls) {
        begin_line(writer);
        put_text(writer, "STARTTLS\r\n");
    }
    put_auth(writer, "AUTH ", own);
    if (own->legacy_auth)
        put_auth(writer, "AUTH=", own);
}

uint32_t smtp_ehlo_carried(const struct smtp_ehlo *ehlo, uint32_t withheld)
{
    uint32_t carried = ehlo->offered & ~withheld;
    bool chunking = carried >> SMTP_EXT_CHUNKING & 1u;
    return chunking ? carried : carried & ~(1u << SMTP_EXT_BINARYMIME);
}

size_t smtp_ehlo_format(const struct smtp_ehlo *ehlo, const struct smtp_ehlo_own *own,
                        char out[static SMTP_EHLO_TEXT_SIZE])
{
    struct writer writer = {.out = out};
    uint32_t carried = smtp_ehlo_carried(ehlo, own->withheld);

    begin_line(&writer);
    put(&writer, own->hostname, strnlen(own->hostname, HOSTNAME_LIMIT));
    put_text(&writer, "\r\n");
    put_own(&writer, own);
    for (int i = 0; i < SMTP_EXT_COUNT; i++)
        if (carried >> i & 1u)
            put_extension(&writer, ehlo, i);
    if (own->starttls && !carried) { /* STARTTLS must not be the last line */
        begin_line(&writer);
        put_text(&writer, "HELP\r\n");
    }
    writer.out[writer.last_line + 3] = ' ';
    writer.out[writer.length] = '\0';
    return writer.length;
}
