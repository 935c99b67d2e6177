/*
 * Starting, watching and ending programs. Nothing here waits: whether a program could be
 * executed comes through a pipe that its execution closes, its end as SIGCHLD, the end of its
 * session as an event of its socket. When a program has ended and others of its process group
 * have its session, they are looked at each second. As long as a group may be signalled, the
 * program that has made it is not waited for: nothing else can get its number.
 */
#include "proxy/opener_program.h"

#include <errno.h>
#include <event2/event_struct.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proxy/base/clock.h"
#include "proxy/base/log.h"
#include "proxy/opener_ends.h"
#include "proxy/opener_log.h"
#include "proxy/opener_preparation.h"
#include "proxy/opener_spawn.h"

#define GRACE_MS 5000

/* Of the program or, when it has ended, of those that it has left its session to. */
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
    bool ended;  /* and has not been waited for */
    uint64_t order;
    struct address_key client;
    pid_t pid;
    uint64_t due_ms; /* the next signal; 0 while the session is not over */
    int ends;        /* to look at both */
    int reactor_end; /* until it is answered; -1 then */
    int own_end;     /* the program's, held to see it hang up; -1 when it has ended */
    int status;      /* until it is answered; -1 then */
    struct event executed, hung_up, second;
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

static void forget(struct program *program)
{
    LIST_REMOVE(program, link);
    event_del(&program->executed);
    event_del(&program->hung_up);
    event_del(&program->second);
    close(program->ends);
    if (program->own_end >= 0)
        close(program->own_end);
    if (program->reactor_end >= 0)
        close(program->reactor_end);
    if (program->status >= 0)
        close(program->status);
    if (program->ended)
        (void)waitpid(program->pid, NULL, WNOHANG);
    program->place->running--;
    program->programs->running--;
    free(program);
}

/* A program that does not end gets the signal alone: its group may be at work on mail that it
 * has taken. */
static void signal_next(struct program *program)
{
    const char *name = program->place->backend->name;
    bool first = program->stage < PROGRAM_TERMED;
    int number = first ? SIGTERM : SIGKILL;
    if (program->ended)
        log_warning("backend \"%s\": processes of program %d do not end with its session: "
                    "signal %d",
                    name, (int)program->pid, number);
    else
        log_warning("backend \"%s\": program %d does not end with its session: signal %d", name,
                    (int)program->pid, number);
    kill(program->ended ? -program->pid : program->pid, number);
    program->stage = first ? PROGRAM_TERMED : PROGRAM_KILLED;
    program->due_ms = clock_now_ms() + GRACE_MS;
}

static void look_in_a_second(struct program *program)
{
    static const struct timeval second = {1, 0};
    evtimer_add(&program->second, &second);
}

/* Its session is over: does anybody go on for too long? */
static void look_at_time(struct program *program)
{
    if (program->due_ms == 0)
        program->due_ms = clock_now_ms() + GRACE_MS;
    else if (program->stage != PROGRAM_KILLED && clock_now_ms() >= program->due_ms)
        signal_next(program);
}

/* A program has ended: does anybody go on in its place? Frees it if not. */
static void look_at_rest(struct program *program)
{
    enum opener_ends ends = opener_ends_look(program->ends);
    if (ends == OPENER_ENDS_LEFT && program->stage == PROGRAM_KILLED)
        log_warning("backend \"%s\": program %d has left its session to processes that are "
                    "not of its group",
                    program->place->backend->name, (int)program->pid);
    if (ends == OPENER_ENDS_RELEASED || program->stage == PROGRAM_KILLED) {
        forget(program);
        return;
    }
    if (ends == OPENER_ENDS_LEFT)
        look_at_time(program);
    look_in_a_second(program);
}

static void tell_if_none(const struct programs *programs)
{
    if (programs->running == 0)
        programs->none(programs->context);
}

static void on_second(int fd, short what, void *argument)
{
    (void)fd, (void)what;
    struct program *program = argument;
    const struct programs *programs = program->programs;
    if (program->ended) {
        look_at_rest(program);
        tell_if_none(programs);
        return;
    }
    look_at_time(program);
    look_in_a_second(program);
}

/* Reported at each change of the other end; one side of it alone may have been closed. */
static void on_hung_up(int fd, short what, void *argument)
{
    (void)what;
    struct program *program = argument;
    struct pollfd now = {.fd = fd};
    if (poll(&now, 1, 0) == 1 && (now.revents & (POLLHUP | POLLERR))) {
        event_del(&program->hung_up);
        look_at_time(program);
        look_in_a_second(program);
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

/* Those that it has left its session to have had their time if it has. */
static void on_ended(struct program *program, int status)
{
    if (program->stage == PROGRAM_STARTING)
        on_executed(program->status, 0, program);
    tell_end(program, status);
    program->ended = true;
    event_del(&program->hung_up);
    close(program->own_end);
    program->own_end = -1;
    if (program->stage >= PROGRAM_TERMED)
        program->due_ms = clock_now_ms();
    program->stage = PROGRAM_RUNNING;
    look_at_rest(program);
}

/* Its status, but it stays to be waited for. */
static bool has_ended(const struct program *program, int *status)
{
    siginfo_t info = {0};
    if (program->ended ||
        waitid(P_PID, (id_t)program->pid, &info, WEXITED | WNOHANG | WNOWAIT) < 0)
        return false;
    bool exited = info.si_code == CLD_EXITED;
    *status = exited ? W_EXITCODE(info.si_status, 0) : W_EXITCODE(0, info.si_status);
    return info.si_pid == program->pid;
}

static void look_for_ended(struct programs *programs)
{
    int status;
    struct program *program = LIST_FIRST(&programs->list);
    while (program) {
        struct program *next = LIST_NEXT(program, link);
        if (has_ended(program, &status))
            on_ended(program, status);
        program = next;
    }
}

static void on_child_ended(int number, short what, void *argument)
{
    (void)number, (void)what;
    struct programs *programs = argument;
    look_for_ended(programs);
    tell_if_none(programs);
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

static int find_place(const struct programs *programs, const struct program_place *place,
                      const struct opener_order *order)
{
    if (place->running >= place->backend->program_limit)
        return EUSERS;
    return has_its_share(programs, place, &order->client) ? EDQUOT : 0;
}

static void watch(struct program *program)
{
    struct event_base *base = program->programs->base;
    event_assign(&program->executed, base, program->status, EV_READ, on_executed, program);
    event_assign(&program->hung_up, base, program->own_end, EV_CLOSED | EV_ET | EV_PERSIST,
                 on_hung_up, program);
    evtimer_assign(&program->second, base, on_second, program);
    event_add(&program->executed, NULL);
    event_add(&program->hung_up, NULL);
    LIST_INSERT_HEAD(&program->programs->list, program, link);
    program->place->running++;
    program->programs->running++;
}

static int start(struct programs *programs, struct program_place *place,
                 const struct opener_order *order, const struct opener_preparation *prepared)
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
    program->ends = prepared->watch;
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
    static struct opener_preparation prepared;
    const struct opener_settings *settings = programs->settings;
    struct program_place *place = &programs->places[order->backend];
    int error = find_place(programs, place, order);
    if (!error)
        error = opener_prepare(&prepared, settings->hostname, place->backend, order);
    if (!error) {
        error = start(programs, place, order, &prepared);
        close(prepared.status[1]);
        if (error) {
            close(prepared.status[0]);
            close(prepared.watch);
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

/* A program that has just been made has no group yet. */
static void end_group(const struct program *program)
{
    if (kill(-program->pid, SIGTERM) < 0 && errno == ESRCH)
        kill(program->pid, SIGTERM);
}

void programs_free(struct programs *programs)
{
    if (!programs)
        return;
    look_for_ended(programs);
    struct program *program = LIST_FIRST(&programs->list);
    while (program) {
        struct program *next = LIST_NEXT(program, link);
        end_group(program);
        forget(program);
        program = next;
    }
    for (size_t i = 0; programs->places && i < programs->settings->count; i++)
        opener_log_free(programs->places[i].log);
    event_del(&programs->child_ended);
    free(programs->places);
    free(programs);
}
