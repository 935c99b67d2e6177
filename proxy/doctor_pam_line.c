/* The grammar of PAM's service files, read as libpam does. Used by doctor_pam.c; never looks at
 * a module's arguments, where passwords may stand. */
#include "proxy/doctor_pam_line.h"

#include <string.h>
#include <strings.h>

struct word {
    const char *start;
    size_t length;
};

/* The next word, or what stands in [brackets]; empty at the end, or where they are not closed.
 */
static struct word next_word(const char **at, const char *end)
{
    const char *start = *at;
    while (start < end && (*start == ' ' || *start == '\t'))
        start++;
    const char *stop = start;
    bool bracket = start < end && *start == '[';
    if (bracket) {
        while (stop < end && *stop != ']')
            stop += *stop == '\\' && stop + 1 < end ? 2 : 1;
        stop = stop < end ? stop + 1 : start;
    }
    while (!bracket && stop < end && *stop != ' ' && *stop != '\t')
        stop++;
    *at = stop;
    return (struct word){start, (size_t)(stop - start)};
}

static bool is(struct word word, const char *text)
{
    return word.length == strlen(text) && strncasecmp(word.start, text, word.length) == 0;
}

static bool take_type(struct word word, struct doctor_pam_line *out)
{
    static const struct {
        const char *name;
        enum doctor_pam_type type;
    } types[] = {{"auth", DOCTOR_PAM_AUTH},
                 {"account", DOCTOR_PAM_ACCOUNT},
                 {"password", DOCTOR_PAM_OTHER},
                 {"session", DOCTOR_PAM_OTHER}};
    out->silent = word.length > 0 && word.start[0] == '-';
    word.start += out->silent;
    word.length -= out->silent;
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        if (is(word, types[i].name)) {
            out->type = types[i].type;
            return true;
        }
    return false;
}

static void take_path(struct word word, enum doctor_pam_kind kind, struct doctor_pam_line *out)
{
    if (word.length == 0 || word.length >= sizeof out->path ||
        memchr(word.start, '\0', word.length))
        return;
    memcpy(out->path, word.start, word.length);
    out->kind = kind;
}

/* The action for `value` in "[value=action ...]"; empty: none is set. */
static struct word action_for(struct word control, const char *value)
{
    const char *at = control.start + 1, *end = control.start + control.length - 1;
    size_t length = strlen(value);
    for (struct word word = next_word(&at, end); word.length > 0; word = next_word(&at, end))
        if (word.length > length && word.start[length] == '=' &&
            strncmp(word.start, value, length) == 0)
            return (struct word){word.start + length + 1, word.length - length - 1};
    return (struct word){control.start, 0};
}

/* A value without an action is as bad as a failure of a module that is required. */
static bool decides(struct word control)
{
    if (control.length < 2 || control.start[0] != '[')
        return is(control, "required") || is(control, "requisite");
    struct word action = action_for(control, "system_err");
    if (action.length == 0)
        action = action_for(control, "default");
    bool jumps = action.length > 0 && action.start[0] >= '0' && action.start[0] <= '9';
    return !jumps && !is(action, "ignore") && !is(action, "reset");
}

void doctor_pam_line_parse(const char *line, size_t length, struct doctor_pam_line *out)
{
    const char *comment = memchr(line, '#', length);
    const char *end = comment ? comment : line + length;
    memset(out, 0, sizeof *out);
    struct word word = next_word(&line, end);
    if (word.length == 0 && word.start == end)
        return;
    out->kind = DOCTOR_PAM_BROKEN;
    if (is(word, "@include")) {
        out->type = DOCTOR_PAM_EVERY;
        take_path(next_word(&line, end), DOCTOR_PAM_INCLUDE, out);
    } else if (take_type(word, out)) {
        struct word control = next_word(&line, end);
        out->decides = decides(control);
        bool include = is(control, "include") || is(control, "substack");
        take_path(next_word(&line, end), include ? DOCTOR_PAM_INCLUDE : DOCTOR_PAM_MODULE, out);
    }
}
