/*
 * Starting, watching and ending programs. Nothing here waits: whether a program could be
 * executed comes through a pipe that its execution closes, its end as SIGCHLD, the end of its
 * session as an event of its socket.
 */
#include "proxy/opener_program.h"

#include <errno.h>
#include <event2/event_struct.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proxy/base/log.h"
#include "proxy/opener_environment.h"
#include "proxy/opener_log.h"
#include "proxy/opener_spawn.h"

#define GRACE_S 5

enum program_stage {
    PROGRAM_STARTING,
    PROGRAM_RUNNING,
    PROGRAM_TERMED, /* has got SIGTERM */
    PROGRAM_KILLED, /* has got SIGKILL */
};

struct program {
    LIST_ENTRY(program) link;
    struct programs *programs;
    struct program_place *place;
    enum program_stage stage;
    bool failed; /* could not be executed */
    bool gone;   /* has ended */
    uint64_t order;
    struct address_key client;
    pid_t pid;
    int reactor_end; /* until it is answered; -1 then */
    int own_end;     /* the program's own, held to see it hang up */
    int status;      /* until it is answered; -1 then */
    struct event executed, hung_up, grace;
};

/* What the programs of one backend share. */
struct program_place {
    const struct opener_backend *backend;
    unsigned running;
    struct opener_user user;
    struct opener_log *log;
};

struct programs {
    struct event_base *base;
    const struct opener_settings *settings;
    struct program_place *places;
    unsigned running;
    programs_answer *answer;
    programs_none *none;
    void *context;
    struct event child_ended;
    LIST_HEAD(, program) list;
};

/* The program is executing, or has said why not. Once. */
static void on_executed(int fd, short what, void *argument)
{
    (void)what;
    struct program *program = argument;
    const struct programs *programs = program->programs;
    int error = 0;
    if (read(fd, &error, sizeof error) != (ssize_t)sizeof error)
        error = 0;
    program->failed = error != 0;
    if (error)
        log_error("backend \"%s\": %s cannot be executed: %s", program->place->backend->name,
                  program_line_path(&program->place->backend->program), strerrordesc_np(error));
    programs->answer(programs->context, program->order, error ? -1 : program->reactor_end,
                     error);
    event_del(&program->executed);
    close(program->status);
    close(program->reactor_end);
    program->status = program->reactor_end = -1;
    program->stage = PROGRAM_RUNNING;
}

/* Its session has been over for a while. */
static void on_grace(int fd, short what, void *argument)
{
    (void)fd, (void)what;
    static const struct timeval grace = {GRACE_S, 0};
    struct program *program = argument;
    bool first = program->stage < PROGRAM_TERMED;
    log_warning("backend \"%s\": program %d does not end with its session: signal %d",
                program->place->backend->name, (int)program->pid, first ? SIGTERM : SIGKILL);
    kill(program->pid, first ? SIGTERM : SIGKILL);
    program->stage = first ? PROGRAM_TERMED : PROGRAM_KILLED;
    if (first)
        evtimer_add(&program->grace, &grace);
}

/* Reported at each change of the other end; one side of it alone may have been closed. */
static void on_hung_up(int fd, short what, void *argument)
{
    (void)what;
    static const struct timeval grace = {GRACE_S, 0};
    struct program *program = argument;
    struct pollfd now = {.fd = fd};
    if (poll(&now, 1, 0) == 1 && (now.revents & (POLLHUP | POLLERR))) {
        event_del(&program->hung_up);
        evtimer_add(&program->grace, &grace);
    }
}

static void tell_end(const struct program *program, int status)
{
    const char *name = program->place->backend->name;
    if (program->failed || program->stage >= PROGRAM_TERMED)
        return;
    if (WIFSIGNALED(status))
        log_warning("backend \"%s\": program %d was ended by signal %d", name,
                    (int)program->pid, WTERMSIG(status));
    else if (WEXITSTATUS(status) != 0)
        log_info("backend \"%s\": program %d ended with status %d", name, (int)program->pid,
                 WEXITSTATUS(status));
}

static void forget(struct program *program)
{
    LIST_REMOVE(program, link);
    event_del(&program->executed);
    event_del(&program->hung_up);
    event_del(&program->grace);
    close(program->own_end);
    if (program->reactor_end >= 0)
        close(program->reactor_end);
    if (program->status >= 0)
        close(program->status);
    program->place->running--;
    program->programs->running--;
    free(program);
}

static struct program *find(const struct programs *programs, pid_t pid)
{
    struct program *program;
    LIST_FOREACH(program, &programs->list, link)
    if (program->pid == pid && !program->gone)
        return program;
    return NULL;
}

static void forget_gone(struct programs *programs)
{
    struct program *program = LIST_FIRST(&programs->list);
    while (program) {
        struct program *next = LIST_NEXT(program, link);
        if (program->gone)
            forget(program);
        program = next;
    }
}

static void on_child_ended(int number, short what, void *argument)
{
    (void)number, (void)what;
    struct programs *programs = argument;
    int status;
    pid_t pid;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        struct program *program = find(programs, pid);
        if (!program)
            continue;
        if (program->stage == PROGRAM_STARTING)
            on_executed(program->status, 0, program);
        tell_end(program, status);
        program->gone = true;
    }
    forget_gone(programs);
    if (programs->running == 0)
        programs->none(programs->context);
}

static bool make_places(struct programs *programs, bool root)
{
    const struct opener_settings *settings = programs->settings;
    programs->places = calloc(settings->count, sizeof *programs->places);
    for (size_t i = 0; programs->places && i < settings->count; i++) {
        struct program_place *place = &programs->places[i];
        const char *why = NULL;
        place->backend = &settings->backends[i];
        if (place->backend->way != OPENER_PROGRAM)
            continue;
        if (!opener_user_find(&place->user, place->backend->user, root, &why)) {
            log_error("backend \"%s\": user: \"%s\": %s", place->backend->name,
                      place->backend->user, why);
            return false;
        }
        place->log = opener_log_new(programs->base, place->backend->name);
        if (!place->log)
            return false;
    }
    return programs->places != NULL;
}

struct programs *programs_new(struct event_base *base, const struct opener_settings *settings,
                              bool root, programs_answer *answer, programs_none *none,
                              void *context)
{
    struct programs *programs = calloc(1, sizeof *programs);
    if (!programs)
        return NULL;
    programs->base = base;
    programs->settings = settings;
    programs->answer = answer;
    programs->none = none;
    programs->context = context;
    LIST_INIT(&programs->list);
    evsignal_assign(&programs->child_ended, base, SIGCHLD, on_child_ended, programs);
    evsignal_add(&programs->child_ended, NULL);
    if (make_places(programs, root))
        return programs;
    programs_free(programs);
    return NULL;
}

/* What the child needs, made before it is. */
struct preparation {
    struct opener_values values;
    struct program_arguments arguments;
    struct opener_environment environment;
    int ends[2];   /* the reactor's, the program's */
    int status[2]; /* to read, to write */
};

/* Whoever sits at one address has no more than half of them. */
static bool has_its_share(const struct programs *programs, const struct program_place *place,
                          const struct address *client)
{
    const struct program *each;
    struct address_key key = address_key(client);
    unsigned count = 0, share = (place->backend->program_limit + 1) / 2;
    LIST_FOREACH(each, &programs->list, link)
    count +=
        each->place == place && each->client.high == key.high && each->client.low == key.low;
    return count >= share;
}

static int prepare(const struct programs *programs, const struct program_place *place,
                   const struct opener_order *order, struct preparation *out)
{
    char why[PROGRAM_WHY_SIZE];
    if (place->running >= place->backend->program_limit)
        return EUSERS;
    if (has_its_share(programs, place, &order->client))
        return EDQUOT;
    opener_values_set(&out->values, order);
    if (!program_line_expand(&place->backend->program, out->values.value, &out->arguments,
                             why)) {
        log_warning("backend \"%s\": program: %s", place->backend->name, why);
        return EINVAL;
    }
    if (!opener_environment_set(&out->environment, &out->values, order, place->backend,
                                programs->settings->hostname))
        return EINVAL;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, out->ends) < 0)
        return errno;
    if (fcntl(out->ends[0], F_SETFL, O_NONBLOCK) == 0 && pipe2(out->status, O_CLOEXEC) == 0)
        return 0;
    int error = errno;
    close(out->ends[0]);
    close(out->ends[1]);
    return error;
}

static void watch(struct program *program)
{
    struct event_base *base = program->programs->base;
    event_assign(&program->executed, base, program->status, EV_READ, on_executed, program);
    event_assign(&program->hung_up, base, program->own_end, EV_CLOSED | EV_ET | EV_PERSIST,
                 on_hung_up, program);
    evtimer_assign(&program->grace, base, on_grace, program);
    event_add(&program->executed, NULL);
    event_add(&program->hung_up, NULL);
    LIST_INSERT_HEAD(&program->programs->list, program, link);
    program->place->running++;
    program->programs->running++;
}

static int start(struct programs *programs, struct program_place *place,
                 const struct opener_order *order, const struct preparation *prepared)
{
    const struct opener_spawn spawn = {
        .arguments = prepared->arguments.arguments,
        .environment = prepared->environment.variables,
        .session = prepared->ends[1],
        .log = opener_log_descriptor(place->log),
        .status = prepared->status[1],
        .user = &place->user,
        .opener = getpid(),
    };
    struct program *program = calloc(1, sizeof *program);
    if (!program)
        return ENOMEM;
    program->programs = programs;
    program->place = place;
    program->order = order->id;
    program->client = address_key(&order->client);
    program->reactor_end = prepared->ends[0];
    program->own_end = prepared->ends[1];
    program->status = prepared->status[0];
    program->pid = fork();
    if (program->pid == 0)
        opener_spawn_program(&spawn);
    if (program->pid < 0) {
        int error = errno;
        free(program);
        return error;
    }
    watch(program);
    return 0;
}

void programs_start(struct programs *programs, const struct opener_order *order)
{
    static struct preparation prepared;
    struct program_place *place = &programs->places[order->backend];
    int error = prepare(programs, place, order, &prepared);
    if (!error) {
        error = start(programs, place, order, &prepared);
        close(prepared.status[1]);
        if (error) {
            close(prepared.status[0]);
            close(prepared.ends[0]);
            close(prepared.ends[1]);
        }
    }
    if (error)
        programs->answer(programs->context, order->id, -1, error);
}

unsigned programs_count(const struct programs *programs)
{
    return programs->running;
}

void programs_free(struct programs *programs)
{
    if (!programs)
        return;
    struct program *program;
    LIST_FOREACH(program, &programs->list, link)
    {
        kill(program->pid, SIGTERM);
        program->gone = true;
    }
    forget_gone(programs);
    for (size_t i = 0; programs->places && i < programs->settings->count; i++)
        opener_log_free(programs->places[i].log);
    event_del(&programs->child_ended);
    free(programs->places);
    free(programs);
}
