/*
 * From the text of a value to the field of a struct: one function for each kind of option.
 * config.c calls it for what a file says and for the defaults. Reports nothing itself: it
 * explains what is wrong with a value, and config.c knows where that stands.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "proxy/config_internal.h"

typedef bool take_function(const struct config_row *row, void *base, const char *value,
                           char *why);

static void *field(const struct config_row *row, void *base)
{
    return (char *)base + row->offset;
}

/* Explains, and returns false. */
PRINTF_LIKE(2, 3)
static bool refuse(char *why, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(why, CONFIG_WHY_SIZE, format, arguments);
    va_end(arguments);
    return false;
}

static bool refuse_word(const struct config_row *row, const char *value, char *why)
{
    const char *word;
    size_t length = (size_t)snprintf(why, CONFIG_WHY_SIZE, "\"%.100s\" is none of", value);
    for (unsigned i = row->minimum; (word = row->word(i)) && length < CONFIG_WHY_SIZE; i++)
        length += (size_t)snprintf(why + length, CONFIG_WHY_SIZE - length, "%s \"%s\"",
                                   i > row->minimum ? "," : "", word);
    return false;
}

/* The index of the word, in any case; -1. */
static int find_word(const struct config_row *row, const char *value)
{
    const char *word;
    for (unsigned i = row->minimum; (word = row->word(i)); i++)
        if (strcasecmp(word, value) == 0)
            return (int)i;
    return -1;
}

static bool take_choice(const struct config_row *row, void *base, const char *value, char *why)
{
    int index = find_word(row, value);
    if (index < 0)
        return refuse_word(row, value, why);
    *(unsigned *)field(row, base) = (unsigned)index;
    return true;
}

static bool take_words(const struct config_row *row, void *base, const char *value, char *why)
{
    int index = find_word(row, value);
    if (index < 0)
        return refuse_word(row, value, why);
    *(uint32_t *)field(row, base) |= UINT32_C(1) << index;
    return true;
}

static bool take_texts(const struct config_row *row, void *base, const char *value, char *why)
{
    struct config_texts *texts = field(row, base);
    const char *fault = row->check ? row->check(value) : NULL;
    if (fault)
        return refuse(why, "\"%.200s\" %s", value, fault);
    char **grown = reallocarray(texts->text, texts->count + 1, sizeof *grown);
    if (grown)
        texts->text = grown;
    char *copy = grown ? strdup(value) : NULL;
    if (!copy)
        return refuse(why, "out of memory");
    texts->text[texts->count++] = copy;
    return true;
}

static void clear_texts(struct config_texts *texts)
{
    for (size_t i = 0; i < texts->count; i++)
        free(texts->text[i]);
    free(texts->text);
    *texts = (struct config_texts){0};
}

static bool take_networks(const struct config_row *row, void *base, const char *value,
                          char *why)
{
    struct config_networks *networks = field(row, base);
    struct network network;
    const char *fault;
    if (!network_parse(value, &network, &fault))
        return refuse(why, "\"%.200s\" %s", value, fault);
    struct network *grown = reallocarray(networks->network, networks->count + 1, sizeof *grown);
    if (!grown)
        return refuse(why, "out of memory");
    networks->network = grown;
    networks->network[networks->count++] = network;
    return true;
}

static void clear_networks(struct config_networks *networks)
{
    free(networks->network);
    *networks = (struct config_networks){0};
}

void config_value_clear(const struct config_row *row, void *base)
{
    if (row->kind == CONFIG_TEXTS)
        clear_texts(field(row, base));
    else if (row->kind == CONFIG_NETWORKS)
        clear_networks(field(row, base));
    else
        *(uint32_t *)field(row, base) = 0;
}

static bool replace_text(char **text, const char *value, char *why)
{
    char *copy = strdup(value);
    if (!copy)
        return refuse(why, "out of memory");
    free(*text);
    *text = copy;
    return true;
}

static bool take_text(const struct config_row *row, void *base, const char *value, char *why)
{
    if (row->word && find_word(row, value) < 0)
        return refuse_word(row, value, why);
    const char *fault = row->check ? row->check(value) : NULL;
    if (fault && *value && !row->is_secret)
        return refuse(why, "\"%.200s\" %s", value, fault);
    if (fault)
        return refuse(why, "%s", fault);
    return replace_text(field(row, base), value, why);
}

static bool take_address(const struct config_row *row, void *base, const char *value, char *why)
{
    struct address address;
    const char *fault = NULL;
    if (address_parse(value, &address, &fault) && row->check)
        fault = row->check(&address);
    if (fault)
        return refuse(why, "\"%.200s\": %s", value, fault);
    if (!replace_text(field(row, base), value, why))
        return false;
    memcpy((char *)base + row->address_offset, &address, sizeof address);
    return true;
}

/* The digits at the head of a value. Returns the first character after them; NULL: none are. A
 * number beyond the row's maximum is one more than that. */
static const char *read_digits(const struct config_row *row, const char *value,
                               unsigned long *number)
{
    size_t digits = strspn(value, "0123456789");
    *number = digits < 10 ? strtoul(value, NULL, 10) : row->maximum + 1ul;
    return digits > 0 ? value + digits : NULL;
}

static bool refuse_number(const struct config_row *row, const char *value, const char *unit,
                          char *why)
{
    return refuse(why, "%.100s is not from %u to %u%s", value, row->minimum, row->maximum,
                  unit);
}

/* One below zero, to be called out of bounds. */
static bool is_negative(const char *value)
{
    return value[0] == '-' && value[1] && !value[1 + strspn(value + 1, "0123456789")];
}

static bool take_number(const struct config_row *row, void *base, const char *value, char *why)
{
    unsigned long number;
    const char *end = read_digits(row, value, &number);
    if ((!end || *end) && !is_negative(value))
        return refuse(why, "\"%.100s\" is not a whole number", value);
    if (!end || number < row->minimum || number > row->maximum)
        return refuse_number(row, value, "", why);
    *(unsigned *)field(row, base) = (unsigned)number;
    return true;
}

/* Seconds, or a number with its unit: "90", "90s", "5m", "2h", "1d". */
static bool take_seconds(const struct config_row *row, void *base, const char *value, char *why)
{
    static const struct {
        const char *name;
        unsigned seconds;
    } units[] = {{"", 1}, {"s", 1}, {"m", 60}, {"h", 3600}, {"d", 86400}};
    unsigned long number;
    const char *end = read_digits(row, value, &number);
    size_t unit = 0;
    while (end && unit < sizeof units / sizeof units[0] && strcmp(end, units[unit].name) != 0)
        unit++;
    if (is_negative(value))
        return refuse_number(row, value, " seconds", why);
    if (!end || unit == sizeof units / sizeof units[0])
        return refuse(why, "\"%.100s\" is no time: write seconds, or 30s, 5m, 2h, 1d", value);
    if (number > row->maximum || number * units[unit].seconds < row->minimum ||
        number * units[unit].seconds > row->maximum)
        return refuse_number(row, value, " seconds", why);
    *(uint32_t *)field(row, base) = (uint32_t)(number * units[unit].seconds * 1000);
    return true;
}

static bool take_flag(const struct config_row *row, void *base, const char *value, char *why)
{
    static const char *const words[] = {"false", "no", "off", "true", "yes", "on"};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (strcasecmp(value, words[i]) == 0) {
            *(bool *)field(row, base) = i >= 3;
            return true;
        }
    return refuse(why, "\"%.100s\" is neither true nor false", value);
}

bool config_value_take(const struct config_row *row, void *base, const char *value,
                       char why[static CONFIG_WHY_SIZE])
{
    static take_function *const take[] = {
        [CONFIG_TEXT] = take_text,       [CONFIG_NUMBER] = take_number,
        [CONFIG_SECONDS] = take_seconds, [CONFIG_FLAG] = take_flag,
        [CONFIG_CHOICE] = take_choice,   [CONFIG_WORDS] = take_words,
        [CONFIG_TEXTS] = take_texts,     [CONFIG_NETWORKS] = take_networks,
        [CONFIG_ADDRESS] = take_address,
    };
    return take[row->kind](row, base, value, why);
}

bool config_value_default(const struct config_row *row, void *base,
                          char why[static CONFIG_WHY_SIZE])
{
    char *place = NULL;
    if (!row->option.fallback)
        return true;
    char *text = strdup(row->option.fallback);
    if (!text)
        return refuse(why, "out of memory");

    /* As it would stand in a file: a bare word, a string, or a list of strings. */
    bool taken = true;
    const char *value = strtok_r(text, "{}\", ", &place);
    if (config_row_is_list(row))
        for (; value && taken; value = strtok_r(NULL, "{}\", ", &place))
            taken = config_value_take(row, base, value, why);
    else
        taken = config_value_take(row, base, value ? value : "", why);
    free(text);
    return taken;
}

void config_value_free(const struct config_row *row, void *base)
{
    if (row->kind == CONFIG_TEXTS || row->kind == CONFIG_NETWORKS)
        config_value_clear(row, base);
    if (row->kind != CONFIG_TEXT && row->kind != CONFIG_ADDRESS)
        return;
    char **text = field(row, base);
    free(*text);
    *text = NULL;
}
