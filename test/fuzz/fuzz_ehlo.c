/*
 * A backend's EHLO reply learned, and ours written from it. The first bytes choose what Postern
 * adds and how long its names are; each further line is one of the backend's. Our reply is
 * well-formed, offers only what may be carried and what was learned, and is the same if it is
 * learned and written again.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "proxy/smtp/ehlo.h"
#include "test/unit/ehlo_reader.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition)
{
    if (!condition)
        abort();
}

/* From an allocation of its own size: over-reads are seen. */
static void learn_line(struct smtp_ehlo *ehlo, const uint8_t *data, size_t length)
{
    char *line = malloc(length ? length : 1);
    require(line != NULL);
    memcpy(line, data, length);
    smtp_ehlo_learn(ehlo, line, length);
    require(ehlo->parameters_length <= SMTP_EHLO_PARAMETERS_SIZE);
    free(line);
}

static void learn_lines(struct smtp_ehlo *ehlo, const uint8_t *data, size_t size)
{
    while (size > 0) {
        const uint8_t *end = memchr(data, '\n', size);
        size_t length = end ? (size_t)(end - data) : size;
        learn_line(ehlo, data, length);
        data += length + (end != NULL);
        size -= length + (end != NULL);
    }
}

static bool input_names(const uint8_t *data, size_t size, const struct ehlo_line *line)
{
    size_t keyword = 0;
    while (keyword < line->length && line->text[keyword] != ' ')
        keyword++;
    for (size_t i = 0; i + keyword <= size; i++)
        if (strncasecmp((const char *)data + i, line->text, keyword) == 0)
            return true;
    return false;
}

static bool is_own(const struct ehlo_line *line)
{
    return ehlo_line_is(line, "STARTTLS") || ehlo_line_is(line, "AUTH") ||
           ehlo_line_is(line, "HELP");
}

/* Learns from our reply, and looks whether the backend said each line's keyword at all. */
static void read_reply(const char *reply, size_t length, const uint8_t *data, size_t size,
                       struct smtp_ehlo *again)
{
    struct ehlo_line line;
    size_t at = 0;
    require(ehlo_next_line(reply, length, &at, &line));
    while (at < length) {
        require(ehlo_next_line(reply, length, &at, &line));
        require(is_own(&line) || input_names(data, size, &line));
        smtp_ehlo_learn(again, line.text, line.length);
    }
}

static void check(const struct smtp_ehlo_own *own, const uint8_t *data, size_t size)
{
    struct smtp_ehlo ehlo, again;
    char *reply = malloc(SMTP_EHLO_TEXT_SIZE), *second = malloc(SMTP_EHLO_TEXT_SIZE);
    require(reply && second);
    memset(&ehlo, 0, sizeof ehlo);
    memset(&again, 0, sizeof again);

    learn_lines(&ehlo, data, size);
    require(smtp_ehlo_equal(&ehlo, &ehlo));
    size_t length = smtp_ehlo_format(&ehlo, own, reply);
    require(ehlo_reply_fault(reply, length, own) == NULL);
    read_reply(reply, length, data, size, &again);
    require(again.xclient == 0 && (again.offered & ~ehlo.offered) == 0);
    require(smtp_ehlo_format(&again, own, second) == length);
    require(memcmp(reply, second, length) == 0);
    free(second);
    free(reply);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char hostname[1024], mechanisms[1024];
    if (size < 3)
        return 0;
    size_t hostname_length = data[1] * 4u, mechanisms_length = data[2] * 4u;
    memset(hostname, 'h', sizeof hostname);
    hostname[hostname_length] = '\0';
    for (size_t i = 0; i < mechanisms_length; i++)
        mechanisms[i] = i % 9 == 8 ? ' ' : 'M';
    mechanisms[mechanisms_length] = '\0';

    struct smtp_ehlo_own own = {
        .hostname = hostname,
        .starttls = data[0] & 1,
        .mechanisms = data[0] & 2 ? mechanisms : NULL,
        .legacy_auth = data[0] & 4,
    };
    check(&own, data + 3, size - 3);
    return 0;
}
