/*
 * The Received field. Most of what it tells is the client's own word: each value becomes one
 * word in which nothing is left that has a meaning in a field. Pure; the calendar is reckoned
 * here, as libc's reads files.
 */
#include "proxy/smtp/trace.h"

#include <stdio.h>
#include <string.h>

/* RFC 5322 section 2.1.1, without CRLF and the ';' that may follow a word. */
#define LINE_LENGTH 77

#define DATE_SIZE sizeof "Mon, 23 Nov 2026 17:24:38 +0000"

/* Four names (helo, ptr, hostname, login), five words (two addresses, version, cipher, id), the
 * date, and what stands about and between them. */
_Static_assert(4 * SMTP_TRACE_NAME_LIMIT + 5 * SMTP_TRACE_WORD_LIMIT + DATE_SIZE + 256 <=
                   SMTP_TRACE_SIZE,
               "every field has room");

struct field {
    char *out;
    size_t length, line; /* where the current line began */
};

static void put(struct field *field, const char *text)
{
    size_t length = strlen(text);
    memcpy(field->out + field->length, text, length);
    field->length += length;
}

static void fold(struct field *field)
{
    put(field, "\r\n");
    field->line = field->length;
    put(field, "\t");
}

/* A word behind a space, or on a new line; the space was written and gives way. */
static void put_word(struct field *field, const char *word)
{
    bool fresh = field->length == field->line + 1;
    if (!fresh && field->length - field->line + 1 + strlen(word) > LINE_LENGTH)
        fold(field);
    else if (!fresh)
        put(field, " ");
    put(field, word);
}

static bool is_alphanumeric(char byte)
{
    return (byte >= '0' && byte <= '9') || (byte >= 'A' && byte <= 'Z') ||
           (byte >= 'a' && byte <= 'z');
}

static bool is_one_of(char byte, const char *set)
{
    return byte != '\0' && strchr(set, byte);
}

/* What may stand for itself in each kind of value, besides letters and digits. */
static const char in_domain[] = ".-_";
static const char in_literal[] = ".:-";
static const char in_atom[] = ".-_@!#$%&'*+/=?^`{|}~"; /* RFC 5322 section 3.2.3, and "@." */

/* Writes "before", the value as one word of at most `limit` bytes, "behind". */
static void clean(const char *before, const char *value, size_t limit, const char *allowed,
                  const char *behind, char *out)
{
    size_t at = strlen(before), length = strnlen(value, limit);
    memcpy(out, before, at);
    for (size_t i = 0; i < length; i++)
        out[at++] = is_alphanumeric(value[i]) || is_one_of(value[i], allowed) ? value[i] : '?';
    memcpy(out + at, behind, strlen(behind) + 1);
}

/* A value and the longest that is put about it, "(authenticated as" not among it. */
#define WORD_SIZE (SMTP_TRACE_NAME_LIMIT + 16)

static bool is_told(const char *value)
{
    return value && value[0];
}

static void put_address(struct field *field, const char *before, const char *address,
                        const char *behind)
{
    char word[WORD_SIZE], start[16];
    snprintf(start, sizeof start, "%s[%s", before, strchr(address, ':') ? "IPv6:" : "");
    clean(start, address, SMTP_TRACE_WORD_LIMIT, in_literal, behind, word);
    put_word(field, word);
}

/* "[192.0.2.1]" is a name too. `before` has its space. */
static void put_name(struct field *field, const char *before, const char *name)
{
    char word[WORD_SIZE];
    size_t length = strnlen(name, SMTP_TRACE_NAME_LIMIT + 1);
    bool literal = length > 2 && length <= SMTP_TRACE_NAME_LIMIT && name[0] == '[' &&
                   name[length - 1] == ']';
    size_t at = strlen(before);
    memcpy(word, before, at);
    if (literal)
        clean("[", name + 1, length - 2, in_literal, "]", word + at);
    else
        clean("", name, SMTP_TRACE_NAME_LIMIT, in_domain, "", word + at);
    put_word(field, word);
}

static void put_from(struct field *field, const struct smtp_trace *trace)
{
    char word[WORD_SIZE];
    const char *address = is_told(trace->address) ? trace->address : NULL;
    put(field, "Received: from");
    if (is_told(trace->helo))
        put_name(field, "", trace->helo);
    else if (address)
        put_address(field, "", address, "]");
    else
        put_word(field, "unknown");

    if (is_told(trace->ptr)) {
        clean("(", trace->ptr, SMTP_TRACE_NAME_LIMIT, in_domain, address ? "" : ")", word);
        put_word(field, word);
    }
    if (address)
        put_address(field, is_told(trace->ptr) ? "" : "(", address, "])");
}

/* RFC 3848; nothing was said there of HELO. */
static const char *protocol(const struct smtp_trace *trace)
{
    static const char *const names[] = {"ESMTP", "ESMTPA", "ESMTPS", "ESMTPSA"};
    int secure = is_told(trace->tls_version) ? 2 : 0;
    return trace->esmtp ? names[secure + (trace->authenticated ? 1 : 0)] : "SMTP";
}

static void put_tls(struct field *field, const struct smtp_trace *trace)
{
    char word[3 * WORD_SIZE], cipher[WORD_SIZE] = "", bits[16] = "";
    if (!is_told(trace->tls_version))
        return;
    if (is_told(trace->tls_cipher))
        clean(":", trace->tls_cipher, SMTP_TRACE_WORD_LIMIT, in_domain, "", cipher);
    if (trace->tls_bits > 0)
        snprintf(bits, sizeof bits, ":%u", trace->tls_bits);
    clean("(", trace->tls_version, SMTP_TRACE_WORD_LIMIT, in_domain, "", word);
    strcat(word, cipher);
    strcat(word, bits);
    strcat(word, ")");
    put_word(field, word);
}

static void put_login(struct field *field, const struct smtp_trace *trace)
{
    char word[WORD_SIZE + sizeof "(authenticated as "];
    if (!is_told(trace->login))
        return;
    clean("(authenticated as ", trace->login, SMTP_TRACE_NAME_LIMIT, in_atom, ")", word);
    put_word(field, word);
}

/* Days since 1970 as a date, counted in eras of 400 years that begin with March. */
static void find_date(int64_t days, int *year, int *month, int *day)
{
    const int64_t era_days = 146097;
    days += 719468; /* from the first of March in the year 0 */
    int64_t era = days / era_days, of_era = days % era_days;
    int64_t years = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    int64_t of_year = of_era - (365 * years + years / 4 - years / 100);
    int64_t march = (5 * of_year + 2) / 153;
    *day = (int)(of_year - (153 * march + 2) / 5 + 1);
    *month = (int)(march < 10 ? march + 2 : march - 10);
    *year = (int)(years + era * 400 + (*month < 2));
}

static int64_t between(int64_t number, int64_t lowest, int64_t highest)
{
    return number < lowest ? lowest : number > highest ? highest : number;
}

/* Two digits, which the compiler can see. */
static unsigned two(int64_t number)
{
    return (unsigned)number % 100;
}

/* RFC 5322 section 3.3 */
static void write_date(int64_t time, int utc_offset_minutes, char out[static DATE_SIZE])
{
    static const char weekdays[] = "ThuFriSatSunMonTueWed";
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    const int64_t day_seconds = 86400, last = 253402300799; /* of the year 9999 */
    int64_t offset = between(utc_offset_minutes, -1439, 1439);
    int64_t local = between(between(time, 0, last) + offset * 60, 0, last);
    int64_t days = local / day_seconds, second = local % day_seconds;
    int64_t zone = offset < 0 ? -offset : offset;
    int year, month, day;
    find_date(days, &year, &month, &day);
    snprintf(out, DATE_SIZE, "%.3s, %02u %.3s %02u%02u %02u:%02u:%02u %c%02u%02u",
             weekdays + days % 7 * 3, two(day), months + month * 3, two(year / 100), two(year),
             two(second / 3600), two(second / 60 % 60), two(second % 60),
             offset < 0 ? '-' : '+', two(zone / 60), two(zone % 60));
}

static void put_id_and_date(struct field *field, const struct smtp_trace *trace)
{
    char word[WORD_SIZE], date[DATE_SIZE];
    if (is_told(trace->id)) {
        clean("id ", trace->id, SMTP_TRACE_WORD_LIMIT, in_domain, "", word);
        put_word(field, word);
    }
    put(field, ";");
    write_date(trace->time, trace->utc_offset_minutes, date);
    put_word(field, date);
}

size_t smtp_trace_format(const struct smtp_trace *trace, char out[static SMTP_TRACE_SIZE])
{
    struct field field = {out, 0, 0};
    put_from(&field, trace);
    fold(&field);
    put_name(&field, "by ", is_told(trace->hostname) ? trace->hostname : "localhost");
    put_word(&field, "with");
    put_word(&field, protocol(trace));
    put_tls(&field, trace);
    put_login(&field, trace);
    put_id_and_date(&field, trace);
    put(&field, "\r\n");
    return field.length;
}
