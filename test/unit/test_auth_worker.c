/* The worker as a process: what it answers, what it holds, what it survives and when it ends.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "auth/message.h"
#include "auth/worker.h"
#include "pam_services.h"

#define PATIENCE_MS 20000
#define NOBODY      65534

struct worker {
    pid_t pid;
    int socket;
};

static void run_worker(int socket, int ours, const char *service, const char *user)
{
    const struct auth_worker_options options = {
        .service = service, .configuration_directory = services_directory, .user = user};
    close(ours);
    _exit(auth_worker_run(socket, &options));
}

/* `prepare` runs in the new process before it is a worker. */
static struct worker start_after(void (*prepare)(void), const char *service, const char *user)
{
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
    pid_t pid = fork();
    if (pid == 0) {
        prepare();
        run_worker(pair[0], pair[1], service, user);
    }
    assert_true(pid > 0);
    close(pair[0]);
    return (struct worker){pid, pair[1]};
}

static void prepare_nothing(void)
{
}

static struct worker start(const char *service, const char *user)
{
    return start_after(prepare_nothing, service, user);
}

/* The exit status; the worker has been given a reason to end. */
static int finish(struct worker *worker)
{
    int status = 0;
    if (worker->socket >= 0)
        close(worker->socket);
    assert_int_equal(waitpid(worker->pid, &status, 0), worker->pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static ssize_t await(const struct worker *worker, char *bytes, size_t size)
{
    struct pollfd readable = {.fd = worker->socket, .events = POLLIN};
    assert_int_equal(poll(&readable, 1, PATIENCE_MS), 1);
    return recv(worker->socket, bytes, size, MSG_DONTWAIT);
}

/* What the worker says to a login of this user; false: it ended instead. */
static bool ask(const struct worker *worker, const char *user,
                struct auth_message_verdict *verdict)
{
    struct auth_message_request request = {.id = 1, .client_host = "203.0.113.9"};
    char bytes[AUTH_MESSAGE_LIMIT];
    static uint64_t last_id;

    request.id = ++last_id;
    strcpy(request.user, user);
    strcpy(request.password, "secret");
    size_t length = auth_message_write_request(&request, bytes);
    if (send(worker->socket, bytes, length, MSG_NOSIGNAL) != (ssize_t)length)
        return false;
    ssize_t got = await(worker, bytes, sizeof bytes);
    return got > 0 && auth_message_read_verdict(bytes, (size_t)got, verdict) &&
           verdict->id == last_id;
}

static void write_services(void)
{
    services_write("permit", 0644,
                   "auth required pam_permit.so\n"
                   "account required pam_permit.so\n");
    services_write("deny", 0644, "auth required pam_deny.so\n");
}

static void test_worker_answers_until_its_socket_is_closed(void **state)
{
    struct auth_message_verdict verdict;
    (void)state;
    write_services();
    struct worker worker = start("permit", NULL);
    for (int i = 0; i < 3; i++) {
        assert_true(ask(&worker, "alice", &verdict));
        assert_int_equal(verdict.result, AUTH_ACCEPTED);
        assert_string_equal(verdict.login, "alice");
    }
    assert_int_equal(finish(&worker), EXIT_SUCCESS);

    worker = start("deny", NULL);
    assert_true(ask(&worker, "alice", &verdict));
    assert_int_equal(verdict.result, AUTH_REJECTED);
    assert_int_equal(finish(&worker), EXIT_SUCCESS);
}

/* Threat 22. */
static void test_malformed_request_ends_the_worker(void **state)
{
    static const char over_long[AUTH_MESSAGE_LIMIT + 100];
    static const struct {
        const char *bytes;
        size_t length;
    } cases[] = {{"AUTH alice secret\n", 18}, {"\0", 1}, {over_long, sizeof over_long}};
    char byte;
    (void)state;
    write_services();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct worker worker = start("permit", NULL);
        assert_true(send(worker.socket, cases[i].bytes, cases[i].length, MSG_NOSIGNAL) > 0);
        assert_true(await(&worker, &byte, 1) <= 0);
        assert_int_equal(finish(&worker), EXIT_FAILURE);
    }
}

static void test_worker_without_its_user_serves_nobody(void **state)
{
    struct auth_message_verdict verdict;
    (void)state;
    write_services();
    struct worker worker = start("permit", "no-such-user-here");
    assert_false(ask(&worker, "alice", &verdict));
    assert_int_equal(finish(&worker), EXIT_FAILURE);
}

/* Another one in its place would have no service either. */
static void test_worker_without_its_service_says_so_and_waits_for_it(void **state)
{
    struct auth_message_verdict verdict;
    (void)state;
    write_services();
    struct worker worker = start("late", NULL);
    for (int i = 0; i < 2; i++) {
        assert_true(ask(&worker, "alice", &verdict));
        assert_int_equal(verdict.result, AUTH_UNAVAILABLE);
        assert_non_null(
            strstr(verdict.reason, "PAM service \"late\": no readable file of that name"));
    }
    services_write("late", 0644,
                   "auth required pam_permit.so\n"
                   "account required pam_permit.so\n");
    assert_true(ask(&worker, "alice", &verdict));
    assert_int_equal(verdict.result, AUTH_ACCEPTED);
    assert_int_equal(finish(&worker), EXIT_SUCCESS);
}

/* Ctrl-C at a terminal reaches every process; logins that the reactor still drains go on. */
static void test_signals_of_the_terminal_end_no_login(void **state)
{
    static const int signals[] = {SIGINT, SIGHUP, SIGPIPE};
    struct auth_message_verdict verdict;
    (void)state;
    write_services();
    struct worker worker = start("permit", NULL);
    assert_true(ask(&worker, "alice", &verdict));
    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++) {
        assert_int_equal(kill(worker.pid, signals[i]), 0);
        assert_true(ask(&worker, "alice", &verdict));
    }
    assert_int_equal(finish(&worker), EXIT_SUCCESS);
}

static void test_worker_can_be_ended_though_its_parent_blocked_signals(void **state)
{
    struct auth_message_verdict verdict;
    sigset_t all, before;
    int status = 0;
    char byte;
    (void)state;
    write_services();
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &before);
    struct worker worker = start("permit", NULL);
    sigprocmask(SIG_SETMASK, &before, NULL);
    assert_true(ask(&worker, "alice", &verdict));
    assert_int_equal(kill(worker.pid, SIGTERM), 0);
    assert_true(await(&worker, &byte, 1) <= 0);
    assert_int_equal(waitpid(worker.pid, &status, 0), worker.pid);
    assert_true(WIFSIGNALED(status));
    close(worker.socket);
}

static void assert_descriptors(pid_t pid)
{
    char path[64], target[64] = "";
    unsigned count = 0;
    snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
    DIR *directory = opendir(path);
    if (!directory && errno == EACCES)
        skip(); /* a process that is not dumpable shows itself to root only */
    assert_non_null(directory);
    for (struct dirent *entry; (entry = readdir(directory));) {
        if (entry->d_name[0] == '.')
            continue;
        count++;
        memset(target, 0, sizeof target);
        assert_true(readlinkat(dirfd(directory), entry->d_name, target, sizeof target - 1) > 0);
        if (strcmp(entry->d_name, "0") == 0)
            assert_string_equal(target, "/dev/null");
        if (strcmp(entry->d_name, "3") == 0)
            assert_memory_equal(target, "socket:", 7);
    }
    closedir(directory);
    assert_int_equal(count, 4);
}

/* Threat 21. */
static void test_worker_holds_its_socket_and_nothing_else(void **state)
{
    struct auth_message_verdict verdict;
    int leaked[4];
    (void)state;
    write_services();
    for (size_t i = 0; i < 4; i++)
        assert_true((leaked[i] = open(services_directory, O_RDONLY)) > 2);
    struct worker worker = start("permit", NULL);
    assert_true(ask(&worker, "alice", &verdict));
    assert_descriptors(worker.pid);
    for (size_t i = 0; i < 4; i++)
        close(leaked[i]);
    assert_int_equal(finish(&worker), EXIT_SUCCESS);
}

/* The soft and hard limit of the size of a core file. */
static void core_limits(pid_t pid, char soft[static 32], char hard[static 32])
{
    char path[64], line[256];
    bool found = false;
    snprintf(path, sizeof path, "/proc/%d/limits", (int)pid);
    FILE *limits = fopen(path, "re");
    assert_non_null(limits);
    while (!found && fgets(line, sizeof line, limits))
        found = sscanf(line, "Max core file size %31s %31s", soft, hard) == 2;
    fclose(limits);
    assert_true(found);
}

static void become_dumpable_nobody(void)
{
    if (geteuid() == 0 && (setgroups(0, NULL) != 0 || setuid(NOBODY) != 0))
        _exit(2);
    prctl(PR_SET_DUMPABLE, 1);
}

/* Promise 7: a core file would hold passwords, and so would a debugger's view. */
static void test_worker_leaves_no_core_and_shows_itself_to_nobody(void **state)
{
    struct auth_message_verdict verdict;
    char path[64], soft[32] = "", hard[32] = "";
    struct stat owner;
    (void)state;
    write_services();
    struct worker worker = start_after(become_dumpable_nobody, "permit", NULL);
    assert_true(ask(&worker, "alice", &verdict));
    core_limits(worker.pid, soft, hard);
    assert_string_equal(soft, "0");
    assert_string_equal(hard, "0");
    /* What is not dumpable belongs to root, whoever runs it. */
    snprintf(path, sizeof path, "/proc/%d/environ", (int)worker.pid);
    assert_int_equal(stat(path, &owner), 0);
    assert_int_equal(owner.st_uid, 0);
    assert_int_equal(finish(&worker), EXIT_SUCCESS);
}

static void join_groups(void)
{
    if (setgroups(2, (const gid_t[]){1, 2}) != 0)
        _exit(2);
}

static void test_worker_becomes_its_user_for_good(void **state)
{
    struct auth_message_verdict verdict;
    (void)state;
    if (geteuid() != 0)
        skip();
    services_write("whoami", 0755,
                   "#!/bin/sh\n"
                   "test \"$(id -u) $(id -g) $(id -G)\" = '%d %d %d'\n",
                   NOBODY, NOBODY, NOBODY);
    services_write("user", 0644,
                   "auth required pam_exec.so quiet %s/whoami\n"
                   "account required pam_permit.so\n",
                   services_directory);
    struct worker worker = start_after(join_groups, "user", "nobody");
    assert_true(ask(&worker, "alice", &verdict));
    assert_int_equal(verdict.result, AUTH_ACCEPTED);
    assert_int_equal(finish(&worker), EXIT_SUCCESS);
    worker = start("user", NULL);
    assert_true(ask(&worker, "alice", &verdict));
    assert_int_not_equal(verdict.result, AUTH_ACCEPTED);
    assert_int_equal(finish(&worker), EXIT_SUCCESS);
}

/* Between the worker and this test stands a parent that dies. */
static void test_worker_dies_with_its_parent(void **state)
{
    struct auth_message_verdict verdict;
    int pair[2], status = 0;
    char byte;
    (void)state;
    write_services();
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
    pid_t parent = fork();
    if (parent == 0) {
        if (fork() == 0)
            run_worker(pair[0], pair[1], "permit", NULL);
        for (;;)
            pause();
    }
    close(pair[0]);
    struct worker worker = {parent, pair[1]};
    assert_true(ask(&worker, "alice", &verdict));
    assert_int_equal(kill(parent, SIGKILL), 0);
    assert_int_equal(waitpid(parent, &status, 0), parent);
    assert_true(await(&worker, &byte, 1) <= 0);
    close(worker.socket);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_worker_answers_until_its_socket_is_closed),
        cmocka_unit_test(test_malformed_request_ends_the_worker),
        cmocka_unit_test(test_worker_without_its_user_serves_nobody),
        cmocka_unit_test(test_worker_without_its_service_says_so_and_waits_for_it),
        cmocka_unit_test(test_signals_of_the_terminal_end_no_login),
        cmocka_unit_test(test_worker_can_be_ended_though_its_parent_blocked_signals),
        cmocka_unit_test(test_worker_holds_its_socket_and_nothing_else),
        cmocka_unit_test(test_worker_leaves_no_core_and_shows_itself_to_nobody),
        cmocka_unit_test(test_worker_becomes_its_user_for_good),
        cmocka_unit_test(test_worker_dies_with_its_parent),
    };
    return cmocka_run_group_tests(tests, services_open, services_close);
}
