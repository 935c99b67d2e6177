/*
 * A PAM module of the tests' own, for what no stock module does to the process that it runs in.
 * Each argument is USER=WHAT: what the module does when USER logs in. The argument file=PATH is
 * where it notes something, or what has to exist.
 */
#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <pthread.h>
#include <security/pam_modules.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BLOCK_SIZE ((size_t)100 << 20)
#define SOME       100

static int eat_descriptors(const char *file)
{
    (void)file;
    while (open("/dev/null", O_RDONLY | O_CLOEXEC) >= 0)
        continue;
    return PAM_IGNORE;
}

static int keep_some_descriptors(const char *file)
{
    (void)file;
    for (int i = 0; i < SOME; i++)
        if (open("/dev/null", O_RDONLY | O_CLOEXEC) < 0)
            return PAM_SYSTEM_ERR;
    return PAM_IGNORE;
}

static int eat_memory(const char *file)
{
    (void)file;
    static char *volatile kept;
    kept = malloc(BLOCK_SIZE);
    if (!kept)
        return PAM_BUF_ERR;
    for (size_t i = 0; i < BLOCK_SIZE; i += 4096)
        kept[i] = 1;
    return PAM_IGNORE;
}

static void *sleep_for_ever(void *context)
{
    while (pause() < 0)
        continue;
    return context;
}

static int leave_threads(const char *file)
{
    pthread_t thread;
    (void)file;
    for (int i = 0; i < SOME; i++)
        if (pthread_create(&thread, NULL, sleep_for_ever, NULL) != 0)
            return PAM_SYSTEM_ERR;
    return PAM_IGNORE;
}

static int change_user(const char *file)
{
    (void)file;
    return seteuid(65534) == 0 ? PAM_IGNORE : PAM_SYSTEM_ERR;
}

static int change_signals(const char *file)
{
    sigset_t all;
    (void)file;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, NULL);
    signal(SIGCHLD, SIG_IGN);
    signal(SIGPIPE, SIG_DFL);
    return PAM_IGNORE;
}

static int change_locale(const char *file)
{
    (void)file;
    umask(0777);
    return setlocale(LC_ALL, "C.UTF-8") ? PAM_IGNORE : PAM_SYSTEM_ERR;
}

/* Is anything left of what the two before this have done? */
static int look(const char *file)
{
    struct sigaction child, pipe;
    sigset_t blocked;
    (void)file;
    sigaction(SIGCHLD, NULL, &child);
    sigaction(SIGPIPE, NULL, &pipe);
    sigprocmask(SIG_SETMASK, NULL, &blocked);
    mode_t mask = umask(022);
    umask(mask);
    bool is_whole = child.sa_handler == SIG_DFL && pipe.sa_handler != SIG_DFL &&
                    sigismember(&blocked, SIGTERM) == 0 && mask != 0777 &&
                    strcmp(setlocale(LC_ALL, NULL), "C") == 0;
    return is_whole ? PAM_IGNORE : PAM_SYSTEM_ERR;
}

static void note(const char *file, long number)
{
    char text[32];
    int length = snprintf(text, sizeof text, "%ld\n", number);
    int fd = open(file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (fd < 0 || write(fd, text, (size_t)length) != length)
        abort();
    close(fd);
}

/* Leaves a child that still has every descriptor, and which the test ends. */
static int die(const char *file)
{
    if (fork() == 0) {
        note(file, getpid());
        sleep_for_ever(NULL);
    }
    _exit(3);
}

static int abort_always(const char *file)
{
    note(file, getpid());
    return PAM_ABORT;
}

/* If the file is there, which is gone then. */
static int abort_once(const char *file)
{
    return unlink(file) == 0 ? PAM_ABORT : PAM_IGNORE;
}

static int no_memory_once(const char *file)
{
    return unlink(file) == 0 ? PAM_BUF_ERR : PAM_IGNORE;
}

static int fail_and_keep_descriptors_once(const char *file)
{
    return unlink(file) == 0 ? keep_some_descriptors(file), PAM_SYSTEM_ERR : PAM_IGNORE;
}

static const struct {
    const char *name;
    int (*run)(const char *file);
} deeds[] = {
    {"descriptors", eat_descriptors},
    {"some_descriptors", keep_some_descriptors},
    {"memory", eat_memory},
    {"threads", leave_threads},
    {"user", change_user},
    {"signals", change_signals},
    {"locale", change_locale},
    {"look", look},
    {"die", die},
    {"abort", abort_always},
    {"abort_once", abort_once},
    {"no_memory_once", no_memory_once},
    {"outgrow_once", fail_and_keep_descriptors_once},
};

static int run(const char *name, const char *file)
{
    for (size_t i = 0; i < sizeof deeds / sizeof deeds[0]; i++)
        if (strcmp(deeds[i].name, name) == 0)
            return deeds[i].run(file);
    return PAM_SERVICE_ERR;
}

int pam_sm_authenticate(pam_handle_t *handle, int flags, int count, const char **arguments)
{
    const char *user, *file = "";
    (void)flags;
    if (pam_get_user(handle, &user, NULL) != PAM_SUCCESS)
        return PAM_SERVICE_ERR;
    for (int i = 0; i < count; i++)
        if (strncmp(arguments[i], "file=", 5) == 0)
            file = arguments[i] + 5;
    for (int i = 0; i < count; i++) {
        size_t length = strlen(user);
        if (strncmp(arguments[i], user, length) == 0 && arguments[i][length] == '=')
            return run(arguments[i] + length + 1, file);
    }
    return PAM_IGNORE;
}

int pam_sm_setcred(pam_handle_t *handle, int flags, int count, const char **arguments)
{
    (void)handle, (void)flags, (void)count, (void)arguments;
    return PAM_IGNORE;
}
