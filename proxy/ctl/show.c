/* Answers of the administration interface as people read them. */
#include "proxy/ctl/show.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "proxy/ctl/print.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static int64_t number(struct ctl_value object, const char *key)
{
    return ctl_json_number(ctl_json_member(object, key));
}

enum ctl_exit ctl_outcome(struct ctl_value answer)
{
    bool nobody = ctl_json_member(answer, "ended").length > 0 && number(answer, "ended") == 0;
    bool everywhere = number(answer, "silent_reactors") <= 0;
    return nobody || !everywhere ? CTL_REFUSED : CTL_DONE;
}

static void print_text(const char *label, struct ctl_value object, const char *key)
{
    char text[CTL_CELL_SIZE];
    ctl_format_text(ctl_json_member(object, key), text);
    printf("%s%s", label, text);
}

/* "relay 10, commands 2": those that are not zero, but for the one that is left out. */
static void print_counts(struct ctl_value object, const char *but)
{
    struct ctl_value key, value;
    const char *between = "";
    while ((value = ctl_json_next(&object, &key)).length > 0) {
        char name[CTL_CELL_SIZE];
        ctl_format_text(key, name);
        if (ctl_json_number(value) == 0 || strcmp(name, but) == 0)
            continue;
        for (char *each = name; *each; each++)
            *each = *each == '_' ? ' ' : *each;
        printf("%s%s %" PRId64, between, name, ctl_json_number(value));
        between = ", ";
    }
    puts(*between ? "" : "none");
}

static void print_head(struct ctl_value answer)
{
    char age[CTL_CELL_SIZE];
    ctl_format_age(number(answer, "uptime_s") * 1000, age);
    print_text("", answer, "hostname");
    print_text(": ", answer, "state");
    print_text(", version ", answer, "version");
    print_text(", since ", answer, "since");
    printf(" (%s), master %" PRId64 "\n", age, number(answer, "master"));
    print_text("configuration  ", answer, "configuration");
    puts("");
}

static void print_sharing(struct ctl_value sharing)
{
    int64_t shared = number(sharing, "shared"), alone = number(sharing, "alone");
    printf("limits shared  ");
    if (!ctl_json_is_true(ctl_json_member(sharing, "wanted")))
        puts("no");
    else if (shared == 0)
        puts("no: the server cannot be had");
    else if (alone == 0)
        puts("yes");
    else
        printf("by %" PRId64 " of %" PRId64 " reactors\n", shared, shared + alone);
}

static void print_figures(struct ctl_value answer)
{
    struct ctl_value sessions = ctl_json_member(answer, "sessions");
    struct ctl_value auth = ctl_json_member(answer, "auth");
    struct ctl_value counters = ctl_json_member(answer, "counters");
    char in[CTL_CELL_SIZE], out[CTL_CELL_SIZE];
    ctl_format_bytes(number(counters, "bytes_in"), in);
    ctl_format_bytes(number(counters, "bytes_out"), out);
    printf("sessions       %" PRId64 "  ", number(sessions, "total"));
    print_counts(sessions, "total");
    printf("logins         %" PRId64 ", failed %" PRId64 ", put off %" PRId64
           ", not possible %" PRId64 "\n",
           number(counters, "logins"), number(counters, "logins_failed"),
           number(counters, "logins_put_off"), number(counters, "logins_unavailable"));
    printf("auth workers   ");
    print_counts(auth, "");
    printf("mail           %" PRId64 " messages, %" PRId64 " recipients, %s in, %s out\n",
           number(counters, "messages"), number(counters, "recipients"), in, out);
    printf("limits         ");
    print_counts(ctl_json_member(answer, "limits"), "");
    print_sharing(ctl_json_member(answer, "limits_shared"));
    printf("limits hit     ");
    print_counts(ctl_json_member(answer, "limits_hit"), "");
}

void ctl_show_status(struct ctl_value answer)
{
    static const struct ctl_column listeners[] = {{"LISTENER", "name", CTL_TEXT},
                                                  {"ADDRESS", "address", CTL_TEXT},
                                                  {"TLS", "tls", CTL_TEXT},
                                                  {"ROLE", "role", CTL_TEXT}};
    static const struct ctl_column backends[] = {{"BACKEND", "name", CTL_TEXT},
                                                 {"ADDRESS", "address", CTL_TEXT},
                                                 {"STATE", "state", CTL_TEXT},
                                                 {"OPENED", "opened", CTL_NUMBER},
                                                 {"FAILED", "failed", CTL_NUMBER}};
    static const struct ctl_column certificates[] = {{"CERTIFICATE", "file", CTL_TEXT},
                                                     {"STATE", "state", CTL_TEXT},
                                                     {"ENDS", "not_after", CTL_TEXT},
                                                     {"DAYS LEFT", "days_left", CTL_NUMBER}};
    print_head(answer);
    print_figures(answer);
    puts("");
    ctl_print_table(ctl_json_member(answer, "listeners"), listeners, COUNT(listeners));
    puts("");
    ctl_print_table(ctl_json_member(answer, "backends"), backends, COUNT(backends));
    puts("");
    ctl_print_table(ctl_json_member(answer, "certificates"), certificates, COUNT(certificates));
}

/* What they have is not known, and it was not done there. */
static void warn_of_silent(struct ctl_value answer)
{
    int64_t silent = number(answer, "silent_reactors");
    if (silent > 0)
        fprintf(stderr,
                "posternctl: %" PRId64 " %s did not answer, and may have other sessions; see "
                "posternctl(8)\n",
                silent, silent == 1 ? "reactor" : "reactors");
}

void ctl_show_sessions(struct ctl_value answer)
{
    static const struct ctl_column columns[] = {
        {"ID", "id", CTL_TEXT},           {"CLIENT", "client", CTL_TEXT},
        {"USER", "user", CTL_TEXT},       {"HELO", "helo", CTL_TEXT},
        {"TLS", "tls", CTL_TEXT},         {"BACKEND", "backend", CTL_TEXT},
        {"STATE", "state", CTL_TEXT},     {"AGE", "age_ms", CTL_AGE},
        {"MSGS", "messages", CTL_NUMBER}, {"RCPTS", "recipients", CTL_NUMBER},
        {"IN", "bytes_in", CTL_BYTES},    {"OUT", "bytes_out", CTL_BYTES}};
    struct ctl_value list = ctl_json_member(answer, "sessions"), rest = list;
    int64_t shown = 0, total = number(answer, "total");
    ctl_print_table(list, columns, COUNT(columns));
    while (ctl_json_next(&rest, NULL).length > 0)
        shown++;
    if (shown < total)
        fprintf(stderr, "posternctl: %" PRId64 " of %" PRId64 " sessions are shown\n", shown,
                total);
    warn_of_silent(answer);
}

void ctl_show_ended(struct ctl_value answer)
{
    int64_t ended = number(answer, "ended");
    printf("%" PRId64 " %s ended\n", ended, ended == 1 ? "session" : "sessions");
    warn_of_silent(answer);
}

void ctl_show_state(struct ctl_value answer)
{
    print_text("", answer, "state");
    puts("");
}

void ctl_show_level(struct ctl_value answer)
{
    print_text("", answer, "log_level");
    puts("");
}

void ctl_show_permits(struct ctl_value answer)
{
    static const struct ctl_column columns[] = {{"ORDER", "kind", CTL_TEXT},
                                                {"ADDRESS", "address", CTL_TEXT},
                                                {"USER", "user", CTL_TEXT},
                                                {"LEFT", "left_ms", CTL_AGE}};
    ctl_print_table(ctl_json_member(answer, "permits"), columns, COUNT(columns));
}

void ctl_show_reload(struct ctl_value answer)
{
    struct ctl_value lines = ctl_json_member(answer, "messages"), line;
    bool done = ctl_json_is_true(ctl_json_member(answer, "reloaded"));
    while ((line = ctl_json_next(&lines, NULL)).length > 0)
        ctl_print_line(stderr, line);
    if (done)
        puts("reloaded");
    else
        fputs("refused: the configuration that was running stays as it was\n", stderr);
}

void ctl_show_reopened(struct ctl_value answer)
{
    (void)answer;
    puts("reopened");
}

void ctl_show_failures(struct ctl_value answer)
{
    static const struct ctl_column columns[] = {
        {"TIME", "time", CTL_TEXT},     {"TIMES", "times", CTL_NUMBER},
        {"KIND", "kind", CTL_TEXT},     {"LISTENER", "listener", CTL_TEXT},
        {"CLIENT", "client", CTL_TEXT}, {"USER", "user", CTL_TEXT},
        {"REASON", "reason", CTL_TEXT}};
    ctl_print_table(ctl_json_member(answer, "failures"), columns, COUNT(columns));
}
