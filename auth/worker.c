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

#include "auth/health.h"
#include "auth/message.h"
#include "auth/pam.h"
#include "proxy/base/log.h"

/* The first descriptor behind the standard ones. */
#define SOCKET_DESCRIPTOR 3

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

static enum served send_answer(int socket, const char *bytes, size_t length)
{
    if (length > 0 && send(socket, bytes, length, MSG_NOSIGNAL) == (ssize_t)length)
        return SERVED_ONE;
    if (length > 0 && errno == EPIPE)
        return SERVED_LAST;
    log_error("auth worker: cannot send a verdict: %s",
              length > 0 ? strerror(errno) : "not a valid one");
    return SERVED_BADLY;
}

/* What the process was like when it had served nobody. */
static struct health at_start;

/*
 * Has a module spoiled this process? The failure itself shows it only in a process that has
 * worked before: elsewhere a new process would fail like this one.
 */
static bool is_spoiled(enum pam_login_end end)
{
    static bool has_started, has_decided;
    char cause[HEALTH_CAUSE_SIZE] = "libpam has failed, after logins that went well";
    struct health now;

    health_measure(&now);
    bool is_spoiled = !health_is_good(&at_start, &now, cause) ||
                      (end == PAM_LOGIN_NOT_STARTED && has_started) ||
                      (end == PAM_LOGIN_BROKEN && has_decided);
    has_started |= end != PAM_LOGIN_NOT_STARTED;
    has_decided |= end == PAM_LOGIN_DECIDED;
    if (is_spoiled)
        log_warning("a PAM module has spoiled this worker: %s", cause);
    return is_spoiled;
}

/* Answers one request; `bytes` is what it came as, and becomes the answer. */
static enum served answer(int socket, const struct auth_worker_options *options,
                          struct auth_message_request *request,
                          char bytes[static AUTH_MESSAGE_LIMIT])
{
    struct auth_message_verdict verdict;

    if (!health_restore()) {
        log_error("auth worker: cannot restore its signals: %s", strerror(errno));
        return SERVED_BADLY;
    }
    verdict.is_last = is_spoiled(pam_login(options, request, &verdict));
    explicit_bzero(request, sizeof *request);
    return send_answer(socket, bytes, auth_message_write_verdict(&verdict, bytes));
}

static enum served serve(int socket, const struct auth_worker_options *options)
{
    char bytes[AUTH_MESSAGE_LIMIT];
    struct auth_message_request request;

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
    enum served served = answer(socket, options, &request, bytes);
    explicit_bzero(bytes, sizeof bytes);
    return served;
}

int auth_worker_run(int socket, const struct auth_worker_options *options)
{
    health_forget_ignored_signals();
    if (!health_restore() || (socket = set_descriptors(socket)) < 0) {
        log_error("auth worker: cannot set itself apart: %s", strerror(errno));
        return EXIT_FAILURE;
    }
    if (!become_user(options->user) || !seal())
        return EXIT_FAILURE;
    /* A service that is not there yet is waited for: another worker would have none either. */
    bool prepared = pam_login_prepare(options);
    health_measure(&at_start);
    enum served served = SERVED_ONE;
    while (served == SERVED_ONE) {
        served = serve(socket, options);
        prepared = prepared || pam_login_prepare(options);
    }
    return served == SERVED_LAST ? EXIT_SUCCESS : EXIT_FAILURE;
}
