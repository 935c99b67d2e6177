/*
 * posternctl: a thin client of the administration interface. A command is a row of a table:
 * what is asked, what may stand behind it, and how the answer is shown.
 */
#include <errno.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/ctl/http.h"
#include "proxy/ctl/print.h"
#include "proxy/ctl/show.h"

#define DEFAULT_SOCKET "/run/postern/control"
#define TARGET_SIZE    4096

enum option_bit { OPTION_USER = 1, OPTION_ADDRESS = 2, OPTION_LIMIT = 4, OPTION_FOR = 8 };

struct command {
    const char *name, *method, *path;
    const char *argument; /* the parameter that a word behind the command is; NULL: none */
    bool argument_needed; /* unless an option is given */
    unsigned options;     /* enum option_bit */
    ctl_show *show;       /* NULL: printed as it is */
    const char *usage, *help;
};

static const struct command commands[] = {
    {"status", "GET", "/status", NULL, false, 0, ctl_show_status, "status",
     "the state of everything at a glance"},
    {"sessions", "GET", "/sessions", "id", false, OPTION_USER | OPTION_ADDRESS | OPTION_LIMIT,
     ctl_show_sessions, "sessions [ID] [--user NAME] [--address ADDRESS] [--limit N]",
     "list the sessions"},
    {"kick", "POST", "/kick", "id", true, OPTION_USER | OPTION_ADDRESS, ctl_show_ended,
     "kick ID | --user NAME | --address ADDRESS", "end sessions"},
    {"failures", "GET", "/failures", NULL, false, 0, ctl_show_failures, "failures",
     "the latest ones: logins, handshakes, backends, limits"},
    {"permits", "GET", "/permits", NULL, false, 0, ctl_show_permits, "permits",
     "which addresses are refused, or let in without AUTH"},
    {"permit", "POST", "/permit", "address", true, OPTION_USER | OPTION_FOR, ctl_show_permits,
     "permit ADDRESS [--user NAME] [--for 30m]", "let an address send without AUTH"},
    {"deny", "POST", "/deny", "address", true, OPTION_FOR, ctl_show_permits,
     "deny ADDRESS [--for 1h]", "refuse connections from an address"},
    {"revoke", "POST", "/revoke", "address", true, 0, ctl_show_permits, "revoke ADDRESS",
     "take back a permit or deny"},
    {"drain", "POST", "/drain", NULL, false, 0, ctl_show_state, "drain",
     "refuse new connections; sessions go on"},
    {"resume", "POST", "/resume", NULL, false, 0, ctl_show_state, "resume",
     "accept new connections again"},
    {"reload", "POST", "/reload", NULL, false, 0, ctl_show_reload, "reload",
     "read the configuration anew, and say what is wrong with it"},
    {"log", "POST", "/log", "level", true, 0, ctl_show_level, "log LEVEL",
     "error, warning, notice, info or debug, until the next reload"},
    {"metrics", "GET", "/metrics", NULL, false, 0, NULL, "metrics", "figures for Prometheus"},
};
#define COMMANDS (sizeof commands / sizeof commands[0])

struct call {
    const char *socket;
    bool json;
    const char *user, *address, *limit, *time;
};

static int print_usage(FILE *out, enum ctl_exit status)
{
    fprintf(out, "usage: posternctl [-s SOCKET] [--json] COMMAND\n\n");
    for (size_t i = 0; i < COMMANDS; i++)
        fprintf(out, "  %s\n        %s\n", commands[i].usage, commands[i].help);
    fprintf(out,
            "\n"
            "  -s, --socket SOCKET  the administration socket (default: " DEFAULT_SOCKET ")\n"
            "  -j, --json           print the answer as it is\n"
            "  -h, --help           print this and exit\n"
            "  -V, --version        print the version and exit\n");
    return (int)status;
}

static int misuse(const char *why, const char *what)
{
    fprintf(stderr, "posternctl: %s%s; see posternctl --help\n", why, what);
    return CTL_USAGE;
}

static const struct command *find_command(const char *name)
{
    for (size_t i = 0; i < COMMANDS; i++)
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    return NULL;
}

/* Adds what the command line gives; false, having said why, if something does not belong there.
 */
static bool make_target(const struct command *command, const struct call *call,
                        const char *argument, char target[static TARGET_SIZE])
{
    const struct {
        unsigned bit;
        const char *name, *value;
    } options[] = {{OPTION_USER, "user", call->user},
                   {OPTION_ADDRESS, "address", call->address},
                   {OPTION_LIMIT, "limit", call->limit},
                   {OPTION_FOR, "for", call->time}};
    bool fits = true, given = argument != NULL;
    strcpy(target, command->path);
    if (argument)
        fits = ctl_target_add(target, TARGET_SIZE, command->argument, argument);
    for (size_t i = 0; i < sizeof options / sizeof options[0]; i++) {
        if (!options[i].value)
            continue;
        given = true;
        if (!(command->options & options[i].bit)) {
            misuse("this command has no option --", options[i].name);
            return false;
        }
        fits = fits && ctl_target_add(target, TARGET_SIZE, options[i].name, options[i].value);
    }
    if (!fits)
        misuse("an argument is too long", "");
    else if (command->argument_needed && !given)
        misuse("usage: posternctl ", command->usage);
    return fits && (given || !command->argument_needed);
}

static enum ctl_exit show_error(const struct ctl_reply *reply, struct ctl_value answer)
{
    struct ctl_value why = ctl_json_member(answer, "error");
    fprintf(stderr, "posternctl: refused (%d)%s", reply->status, why.length > 0 ? ": " : "\n");
    if (why.length > 0)
        ctl_print_line(stderr, why);
    return CTL_REFUSED;
}

static enum ctl_exit show(const struct command *command, const struct call *call,
                          const struct ctl_reply *reply)
{
    struct ctl_value answer = ctl_json_parse(reply->text, reply->length);
    bool good = reply->status == 200;
    enum ctl_exit outcome = good ? ctl_outcome(answer) : CTL_REFUSED;
    if (call->json || (!command->show && good)) {
        fwrite(reply->text, 1, reply->length, stdout);
        return outcome;
    }
    if (!good && ctl_json_member(answer, "reloaded").length == 0)
        return show_error(reply, answer);
    if (answer.length > 0 && command->show) {
        command->show(answer);
        return outcome;
    }
    fprintf(stderr, "posternctl: an answer that is not understood\n");
    return CTL_UNREACHABLE;
}

static int run(const struct command *command, const struct call *call, const char *argument)
{
    char target[TARGET_SIZE];
    if (!make_target(command, call, argument, target))
        return CTL_USAGE;
    struct ctl_reply reply = ctl_request(call->socket, command->method, target);
    enum ctl_exit status = reply.status == 0 ? CTL_UNREACHABLE : show(command, call, &reply);
    free(reply.text);
    return (int)status;
}

static int run_words(int count, char **words, const struct call *call)
{
    const struct command *command = count > 0 ? find_command(words[0]) : NULL;
    if (count == 0)
        return print_usage(stderr, CTL_USAGE);
    if (!command)
        return misuse("there is no command ", words[0]);
    if (count > 2 || (count == 2 && !command->argument))
        return misuse("usage: posternctl ", command->usage);
    return run(command, call, count == 2 ? words[1] : NULL);
}

static int run_line(int argc, char **argv)
{
    static const struct option options[] = {
        {"socket", required_argument, NULL, 's'},
        {"json", no_argument, NULL, 'j'},
        {"user", required_argument, NULL, 'u'},
        {"address", required_argument, NULL, 'a'},
        {"limit", required_argument, NULL, 'l'},
        {"for", required_argument, NULL, 'f'},
        {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, 'V'},
        {0},
    };
    struct call call = {.socket = DEFAULT_SOCKET};
    int option;
    while ((option = getopt_long(argc, argv, "s:jhV", options, NULL)) != -1) {
        switch (option) {
        case 's':
            call.socket = optarg;
            break;
        case 'j':
            call.json = true;
            break;
        case 'u':
            call.user = optarg;
            break;
        case 'a':
            call.address = optarg;
            break;
        case 'l':
            call.limit = optarg;
            break;
        case 'f':
            call.time = optarg;
            break;
        case 'h':
            return print_usage(stdout, CTL_DONE);
        case 'V':
            puts("posternctl " POSTERN_VERSION);
            return CTL_DONE;
        default:
            return print_usage(stderr, CTL_USAGE);
        }
    }
    return run_words(argc - optind, argv + optind, &call);
}

int main(int argc, char **argv)
{
    int status = run_line(argc, argv);
    if (fflush(stdout) == 0 && !ferror(stdout))
        return status;
    fprintf(stderr, "posternctl: the output cannot be written: %s\n", strerror(errno));
    return CTL_UNWRITTEN;
}
