/*
 * The auth worker's process: sets itself apart from the rest of the system,
 * then answers one request after another. It reads nothing but requests and
 * whatever PAM's modules read, holds no descriptor that a module's child
 * could misuse, and leaves no core file. Whatever goes wrong while it sets
 * itself apart ends it: it never serves with more rights than it should.
 */
#include "auth/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <syslog.h>
#include <unistd.h>

#include "auth/message.h"
#include "auth/pam.h"
#include "proxy/base/log.h"

/* The first descriptor behind the standard ones. */
#define SOCKET_DESCRIPTOR 3

/*
 * A terminal's Ctrl-C and hang-up are for the master, and the reactor still drains. Modules
 * start helpers and wait for them, which needs the default for SIGCHLD.
 */
static bool set_signals(void)
{
    static const struct {
        int number;
        void (*action)(int);
    } signals[] = {
        {SIGPIPE, SIG_IGN}, {SIGINT, SIG_IGN},  {SIGHUP, SIG_IGN},
        {SIGQUIT, SIG_DFL}, {SIGUSR1, SIG_IGN}, {SIGUSR2, SIG_IGN},
        {SIGTERM, SIG_DFL}, {SIGCHLD, SIG_DFL}, {SIGALRM, SIG_DFL},
    };
    sigset_t none;

    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++)
        if (signal(signals[i].number, signals[i].action) == SIG_ERR)
            return false;
    return sigemptyset(&none) == 0 && sigprocmask(SIG_SETMASK, &none, NULL) == 0;
}

/*
 * Moves the socket off standard input, which a module's helper would inherit, and closes
 * whatever else came along. Returns the socket; -1: it failed.
 */
static int set_descriptors(int socket)
{
    /* syslog(3) must not go on using a descriptor that is closed behind its back. */
    closelog();
    if (socket == SOCKET_DESCRIPTOR) {
        if (fcntl(socket, F_SETFD, FD_CLOEXEC) < 0)
            return -1;
    } else if (dup3(socket, SOCKET_DESCRIPTOR, O_CLOEXEC) < 0) {
        return -1;
    }
    if (close_range(SOCKET_DESCRIPTOR + 1, ~0u, 0) < 0)
        return -1;
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null < 0 || dup2(null, STDIN_FILENO) < 0)
        return -1;
    close(null);
    return SOCKET_DESCRIPTOR;
}

static bool become_user(const char *name)
{
    if (!name)
        return true;
    errno = 0;
    const struct passwd *user = getpwnam(name);
    if (!user) {
        log_error("auth worker: user \"%s\": %s", name, errno ? strerror(errno) : "not found");
        return false;
    }
    uid_t uid = user->pw_uid;
    gid_t gid = user->pw_gid;
    if (initgroups(name, gid) == 0 && setresgid(gid, gid, gid) == 0 &&
        setresuid(uid, uid, uid) == 0)
        return true;
    log_error("auth worker: cannot become user \"%s\": %s", name, strerror(errno));
    return false;
}

/* After the change of user, which undoes both settings of prctl(2). */
static bool seal(void)
{
    const struct rlimit no_core = {0, 0};
    if (setrlimit(RLIMIT_CORE, &no_core) == 0 && prctl(PR_SET_DUMPABLE, 0) == 0 &&
        prctl(PR_SET_PDEATHSIG, SIGKILL) == 0)
        return true;
    log_error("auth worker: cannot seal itself: %s", strerror(errno));
    return false;
}

/* One datagram; its true length, beyond `size` where it was longer. 0: the other side is gone.
 */
static ssize_t receive(int socket, char *bytes, size_t size)
{
    ssize_t length = 0;
    do
        length = recv(socket, bytes, size, MSG_TRUNC);
    while (length < 0 && errno == EINTR);
    if (length < 0 && errno == ECONNRESET)
        return 0;
    return length;
}

enum served { SERVED_ONE, SERVED_LAST, SERVED_BADLY };

static enum served send_verdict(int socket, const struct auth_message_verdict *verdict)
{
    char bytes[AUTH_MESSAGE_LIMIT];
    size_t length = auth_message_write_verdict(verdict, bytes);
    if (length > 0 && send(socket, bytes, length, MSG_NOSIGNAL) == (ssize_t)length)
        return SERVED_ONE;
    if (length > 0 && errno == EPIPE)
        return SERVED_LAST;
    log_error("auth worker: cannot send a verdict: %s",
              length > 0 ? strerror(errno) : "not a valid one");
    return SERVED_BADLY;
}

static enum served serve(int socket, const struct auth_worker_options *options)
{
    char bytes[AUTH_MESSAGE_LIMIT];
    struct auth_message_request request;
    struct auth_message_verdict verdict;

    ssize_t length = receive(socket, bytes, sizeof bytes);
    if (length <= 0) {
        if (length < 0)
            log_error("auth worker: cannot receive a request: %s", strerror(errno));
        return length == 0 ? SERVED_LAST : SERVED_BADLY;
    }
    bool understood = (size_t)length <= sizeof bytes &&
                      auth_message_read_request(bytes, (size_t)length, &request);
    explicit_bzero(bytes, sizeof bytes);
    if (!understood) {
        log_error("auth worker: a malformed request of %zd bytes", length);
        return SERVED_BADLY;
    }
    pam_login(options, &request, &verdict);
    explicit_bzero(&request, sizeof request);
    return send_verdict(socket, &verdict);
}

int auth_worker_run(int socket, const struct auth_worker_options *options)
{
    if (!set_signals() || (socket = set_descriptors(socket)) < 0) {
        log_error("auth worker: cannot set itself apart: %s", strerror(errno));
        return EXIT_FAILURE;
    }
    if (!become_user(options->user) || !seal())
        return EXIT_FAILURE;
    /* A service that is not there yet is waited for: another worker would have none either. */
    bool prepared = pam_login_prepare(options);
    enum served served = SERVED_ONE;
    while (served == SERVED_ONE) {
        served = serve(socket, options);
        prepared = prepared || pam_login_prepare(options);
    }
    return served == SERVED_LAST ? EXIT_SUCCESS : EXIT_FAILURE;
}
