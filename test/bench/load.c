/*
 * The load generator: SMTP clients in one thread against one address, and one line of figures.
 * Run by the benchmark, or by hand; `load -h` names its options. The exit status is 0 only if
 * every session did all that it should, resumption included.
 */
#include <getopt.h>
#include <netdb.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "client.h"
#include "script.h"
#include "transport.h"

enum load_mode { LOAD_TLS, LOAD_STARTTLS, LOAD_PLAIN, LOAD_MODES };

static const char *const mode_names[LOAD_MODES] = {"tls", "starttls", "plain"};

static const char help[] =
    "usage: load [options] ADDRESS PORT\n"
    "  -m tls|starttls|plain  how the server is spoken to (tls)\n"
    "  -a USER:PASSWORD       AUTH PLAIN\n"
    "  -e                     EHLO once more after AUTH\n"
    "  -c N                   sessions at once (1)\n"
    "  -n N                   sessions in all (1)\n"
    "  -R N                   messages in each (1)\n"
    "  -s BYTES               of each message (1024)\n"
    "  -r                     resume TLS sessions with tickets, and fail if the server does "
    "not\n"
    "  -H                     hold the sessions open, say so, end them when stdin is closed\n"
    "  -t SECONDS             the most that the run may take (120)\n";

struct load {
    struct client_options client;
    struct script_options script;
    enum load_mode mode;
    unsigned seconds;
};

static bool number(const char *text, unsigned minimum, unsigned *value)
{
    char *end;
    unsigned long parsed = strtoul(text, &end, 10);

    *value = (unsigned)parsed;
    return *end == '\0' && end != text && parsed >= minimum && parsed <= 1u << 30;
}

static bool mode_named(const char *name, enum load_mode *mode)
{
    for (*mode = LOAD_TLS; *mode < LOAD_MODES; (*mode)++)
        if (strcmp(name, mode_names[*mode]) == 0)
            return true;
    return false;
}

static bool take_option(struct load *load, int option, const char *value)
{
    unsigned bytes;

    switch (option) {
    case 'm':
        return mode_named(value, &load->mode);
    case 'a':
        load->script.login = value;
        return true;
    case 'e':
        return load->script.ehlo_after_auth = true;
    case 'c':
        return number(value, 1, &load->client.concurrency);
    case 'n':
        return number(value, 1, &load->client.sessions);
    case 'R':
        return number(value, 0, &load->script.messages);
    case 's':
        if (!number(value, 0, &bytes))
            return false;
        load->script.message_bytes = bytes;
        return true;
    case 'r':
        return load->client.resume = true;
    case 'H':
        return load->client.hold = true;
    case 't':
        return number(value, 1, &load->seconds);
    default:
        return false;
    }
}

static bool resolve(struct client_options *client, const char *address, const char *port)
{
    struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV,
                             .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;

    if (getaddrinfo(address, port, &hints, &found) != 0)
        return false;
    memcpy(&client->address, found->ai_addr, found->ai_addrlen);
    client->address_size = found->ai_addrlen;
    freeaddrinfo(found);
    return true;
}

static bool take_arguments(struct load *load, int argc, char **argv)
{
    int option;

    *load = (struct load){
        .client = {.concurrency = 1, .sessions = 1},
        .script = {.messages = 1, .message_bytes = 1024},
        .seconds = 120,
    };
    while ((option = getopt(argc, argv, "m:a:ec:n:R:s:rHt:h")) != -1)
        if (!take_option(load, option, optarg))
            return false;
    load->script.starttls = load->mode == LOAD_STARTTLS;
    load->script.quit = !load->client.hold;
    load->client.implicit = load->mode == LOAD_TLS;
    load->client.failure_limit = load->client.sessions / 10 + 1;
    load->client.deadline_ns = client_now_ns() + load->seconds * UINT64_C(1000000000);
    return argc - optind == 2 && resolve(&load->client, argv[optind], argv[optind + 1]);
}

static int compare(const void *left, const void *right)
{
    uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;

    return (a > b) - (a < b);
}

static double quantile_us(const struct client_totals *totals, double share)
{
    if (totals->ok == 0)
        return 0;
    return (double)totals->latencies_ns[(size_t)(share * (totals->ok - 1))] / 1e3;
}

static double own_cpu_us(void)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1e6 +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

static void print_totals(const struct client_totals *totals)
{
    qsort(totals->latencies_ns, totals->ok, sizeof(uint64_t), compare);
    printf("ok=%u failed=%u resumed=%u handshakes=%llu peak=%u wall_us=%.0f min_us=%.1f "
           "median_us=%.1f p99_us=%.1f max_us=%.1f load_cpu_us=%.0f\n",
           totals->ok, totals->failed, totals->resumed, (unsigned long long)totals->handshaken,
           totals->peak, (double)totals->wall_ns / 1e3, quantile_us(totals, 0),
           quantile_us(totals, 0.5), quantile_us(totals, 0.99), quantile_us(totals, 1),
           own_cpu_us());
    fflush(stdout);
}

/* Says that all are open, waits for the end of stdin, and tells how many did not last. */
static bool hold(struct client *client)
{
    char ignored[64];
    unsigned lost;

    while (read(STDIN_FILENO, ignored, sizeof(ignored)) > 0)
        ;
    lost = client_count_lost(client);
    printf("lost=%u\n", lost);
    return lost == 0;
}

/* Each slot's first connection has no ticket yet; every later one must have been resumed. */
static bool resumed_enough(const struct load *load, const struct client_totals *totals)
{
    if (!load->client.resume || totals->resumed + totals->peak >= totals->ok)
        return true;
    fprintf(stderr, "load: only %u of %u sessions were resumed\n", totals->resumed, totals->ok);
    return false;
}

static int run(const struct load *load)
{
    struct client *client = client_new(&load->client);
    const struct client_totals *totals;
    bool good;

    if (!client)
        return EXIT_FAILURE;
    client_run(client);
    totals = client_totals(client);
    print_totals(totals);
    good = totals->ok == load->client.sessions && resumed_enough(load, totals);
    if (good && load->client.hold)
        good = hold(client);
    client_free(client);
    return good ? EXIT_SUCCESS : EXIT_FAILURE;
}

int main(int argc, char **argv)
{
    struct load load;
    struct script script;
    int status;

    signal(SIGPIPE, SIG_IGN);
    if (!take_arguments(&load, argc, argv)) {
        fputs(help, stderr);
        return EXIT_FAILURE;
    }
    if (!script_init(&script, &load.script))
        return EXIT_FAILURE;
    load.client.script = &script;
    load.client.tls = transport_context(load.client.resume);
    status = load.client.tls ? run(&load) : EXIT_FAILURE;
    SSL_CTX_free(load.client.tls);
    script_clear(&script);
    return status;
}
