/* The opener's process: its rights, its loop, and what becomes of an order. */
#include "proxy/opener.h"

#include <errno.h>
#include <event2/event_struct.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proxy/base/log.h"
#include "proxy/capabilities.h"
#include "proxy/datagram.h"
#include "proxy/opener_message.h"
#include "proxy/opener_program.h"
#include "proxy/opener_settings.h"
#include "proxy/opener_socket.h"
#include "proxy/opener_spawn.h"
#include "proxy/privileges.h"
#include "proxy/statistics_memory.h"

/* The first descriptor behind the standard ones. */
#define SOCKET_DESCRIPTOR 3

struct opener {
    struct opener_settings settings;
    struct event_base *base;
    struct programs *programs;
    struct event readable, terminated;
    bool privileged; /* was root */
    bool orphaned;   /* the reactor is gone */
};

static uint64_t needed(const struct opener_settings *settings)
{
    static const uint64_t sets[OPENER_WAY_COUNT] = {
        [OPENER_PROGRAM] =
            CAPABILITY(CAP_SETUID) | CAPABILITY(CAP_SETGID) | CAPABILITY(CAP_KILL),
        [OPENER_TRANSPARENT] = CAPABILITY(CAP_NET_ADMIN),
    };
    uint64_t set = 0;
    for (size_t i = 0; i < settings->count; i++)
        set |= sets[settings->backends[i].way];
    /* Who is not root runs programs as himself. */
    return geteuid() == 0 ? set : set & ~sets[OPENER_PROGRAM];
}

static bool check_user(const struct config *config, const struct config_backend *backend)
{
    struct opener_user user;
    const char *why = NULL;
    if (!*backend->program || opener_user_find(&user, backend->user, geteuid() == 0, &why))
        return true;
    config_error(config, "backend", backend->name, "user", "\"%s\": %s", backend->user, why);
    return false;
}

/* Sockets and programs are files, and syslog's socket is found by its path. */
static bool needs_files(const struct opener_settings *settings)
{
    return opener_settings_use(settings, OPENER_PROGRAM) ||
           opener_settings_use(settings, OPENER_UNIX) ||
           settings->log.destination == LOG_TO_SYSLOG;
}

/* With what it gives up when it has entered its empty root. */
static uint64_t needed_to_begin(const struct opener_settings *settings)
{
    bool enters = geteuid() == 0 && opener_settings_use(settings, OPENER_TRANSPARENT) &&
                  !needs_files(settings);
    return needed(settings) | (enters ? CAPABILITY(CAP_SYS_CHROOT) : 0);
}

static bool check_rights(const struct opener_settings *settings)
{
    uint64_t missing = needed_to_begin(settings) & ~capabilities_permitted();
    if (!missing)
        return true;
    log_error("backends cannot be opened as configured without %s, which is not here",
              capabilities_name(missing));
    return false;
}

uint64_t opener_needs(const struct config *config)
{
    struct opener_settings settings;
    bool read = opener_settings_from_config(&settings, config);
    uint64_t set = read ? needed_to_begin(&settings) : 0;
    opener_settings_free(&settings);
    return set;
}

bool opener_check(const struct config *config)
{
    struct opener_settings settings;
    bool good = opener_settings_from_config(&settings, config) && check_rights(&settings);
    for (size_t i = 0; i < config->backend_count; i++)
        good &= check_user(config, &config->backends[i]);
    opener_settings_free(&settings);
    return good;
}

static void answer(void *context, uint64_t order, int descriptor, int error)
{
    struct opener *opener = context;
    struct opener_answer message = {.id = order, .error = error};
    char bytes[OPENER_MESSAGE_LIMIT];
    size_t length = opener_message_write_answer(&message, bytes);
    if (opener->orphaned || datagram_send(SOCKET_DESCRIPTOR, bytes, length, descriptor, 0))
        return;
    if (errno != EPIPE)
        log_error("the reactor cannot be answered: %s", strerrordesc_np(errno));
}

static void answer_socket(struct opener *opener, uint64_t order, int fd)
{
    answer(opener, order, fd, fd < 0 ? errno : 0);
    if (fd >= 0)
        close(fd);
}

static void carry_out(struct opener *opener, const struct opener_order *order)
{
    const struct opener_backend *backend = order->backend < opener->settings.count
                                               ? &opener->settings.backends[order->backend]
                                               : NULL;
    switch (backend ? backend->way : OPENER_NONE) {
    case OPENER_UNIX:
        answer_socket(opener, order->id, opener_socket_unix(&backend->address));
        break;
    case OPENER_TRANSPARENT:
        answer_socket(opener, order->id,
                      opener_socket_transparent(&backend->address, &order->client));
        break;
    case OPENER_PROGRAM:
        programs_start(opener->programs, order);
        break;
    default:
        log_error("the reactor asks for a backend that the opener does not have");
        answer(opener, order->id, -1, EBADR);
        break;
    }
}

static void end_when_alone(void *context)
{
    struct opener *opener = context;
    if (opener->orphaned && programs_count(opener->programs) == 0)
        event_base_loopbreak(opener->base);
}

/* Its programs' sessions are over with it, and they are given the time that others get. */
static void on_reactor_gone(struct opener *opener)
{
    opener->orphaned = true;
    event_del(&opener->readable);
    close(SOCKET_DESCRIPTOR);
    end_when_alone(opener);
}

/* Descriptors that come along are not taken, and so closed by the kernel. */
static void on_readable(int fd, short what, void *argument)
{
    (void)what;
    static struct opener_order order;
    struct opener *opener = argument;
    char bytes[OPENER_MESSAGE_LIMIT];
    ssize_t got = recv(fd, bytes, sizeof bytes, MSG_DONTWAIT | MSG_TRUNC);

    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got <= 0)
        on_reactor_gone(opener);
    else if ((size_t)got <= sizeof bytes &&
             opener_message_read_order(bytes, (size_t)got, &order))
        carry_out(opener, &order);
    else
        log_error("malformed order of %zd bytes", got);
}

static void on_terminated(int number, short what, void *argument)
{
    (void)number, (void)what;
    const struct opener *opener = argument;
    event_base_loopbreak(opener->base);
}

/* A terminal's Ctrl-C and hang-up are for the master, and the reactor still drains. */
static void set_signals(void)
{
    sigset_t none;
    sigemptyset(&none);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGINT, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    signal(SIGUSR1, SIG_IGN);
    signal(SIGUSR2, SIG_IGN);
    signal(SIGCHLD, SIG_DFL);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

/* Moves the socket off standard input and closes whatever else came along. */
static bool set_descriptors(void)
{
    if (dup3(STDIN_FILENO, SOCKET_DESCRIPTOR, O_CLOEXEC) < 0)
        return false;
    int null = open("/dev/null", O_RDWR);
    return null >= 0 && dup2(null, STDIN_FILENO) >= 0 &&
           close_range(SOCKET_DESCRIPTOR + 1, ~0u, 0) == 0;
}

/* With root's rights nothing is done but this. */
static bool give_up_root(const struct opener *opener, uint64_t keep)
{
    const struct opener_settings *settings = &opener->settings;
    struct privileges_user user;
    if (!privileges_find_user(settings->user, &user))
        return false;
    if (opener_settings_use(settings, OPENER_UNIX))
        keep |= CAPABILITY(CAP_DAC_OVERRIDE) & capabilities_permitted();
    bool bound = opener_settings_use(settings, OPENER_PROGRAM) ||
                 !(capabilities_permitted() & CAPABILITY(CAP_SETPCAP)) ||
                 capabilities_bound(keep);
    return bound && (needs_files(settings) || privileges_enter_nowhere()) &&
           privileges_become(&user) && capabilities_keep(keep);
}

static bool give_up_privileges(struct opener *opener)
{
    uint64_t keep = needed(&opener->settings);
    opener->privileged = geteuid() == 0;
    if (!check_rights(&opener->settings))
        return false;
    bool given_up = opener->privileged ? give_up_root(opener, keep) : capabilities_keep(keep);
    if (!given_up) {
        log_error("cannot give up privileges: %s", strerrordesc_np(errno));
        return false;
    }
    return (opener_settings_use(&opener->settings, OPENER_PROGRAM) || privileges_no_new()) &&
           privileges_hide_memory();
}

/* Only some of libevent's methods notice that the other end of a socket has been closed while
 * this one is not read. */
static struct event_base *make_base(void)
{
    struct event_base *base = NULL;
    struct event_config *config = event_config_new();
    if (config &&
        event_config_require_features(config, EV_FEATURE_EARLY_CLOSE | EV_FEATURE_ET) == 0)
        base = event_base_new_with_config(config);
    if (config)
        event_config_free(config);
    if (!base)
        log_error("no event loop that notices the end of a session");
    return base;
}

static bool set_up(struct opener *opener)
{
    opener->base = make_base();
    if (!opener->base)
        return false;
    opener->programs = programs_new(opener->base, &opener->settings, opener->privileged, answer,
                                    end_when_alone, opener);
    if (!opener->programs)
        return false;
    event_assign(&opener->readable, opener->base, SOCKET_DESCRIPTOR, EV_READ | EV_PERSIST,
                 on_readable, opener);
    event_add(&opener->readable, NULL);
    evsignal_assign(&opener->terminated, opener->base, SIGTERM, on_terminated, opener);
    evsignal_add(&opener->terminated, NULL);
    return true;
}

static void run(struct opener *opener)
{
    event_base_dispatch(opener->base);
    if (!opener->orphaned)
        event_del(&opener->readable);
}

static void end(struct opener *opener)
{
    programs_free(opener->programs);
    if (event_initialized(&opener->terminated))
        event_del(&opener->terminated); /* not before: another SIGTERM would cut that short */
    if (opener->base)
        event_base_free(opener->base);
    opener_settings_free(&opener->settings);
    if (!opener->privileged)
        (void)prctl(PR_SET_DUMPABLE, 1L, 0L, 0L, 0L);
}

int opener_main(int argc, char **argv)
{
    static struct opener opener;
    if (!opener_settings_from_arguments(&opener.settings, argc, argv)) {
        opener_settings_free(&opener.settings);
        log_error("--opener is for the master's own use");
        return EXIT_FAILURE;
    }
    statistics_use_as_helper();
    set_signals();
    bool good = set_descriptors();
    log_configure(&opener.settings.log);
    log_set_process("opener");
    good = good && give_up_privileges(&opener) && set_up(&opener);
    if (good)
        run(&opener);
    end(&opener);
    if (opener.privileged)
        _exit(good ? EXIT_SUCCESS : EXIT_FAILURE);
    return good ? EXIT_SUCCESS : EXIT_FAILURE;
}
