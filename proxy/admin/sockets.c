/*
 * Making the sockets. A unix socket is made under another name, given its owner and mode, and
 * only then moved to its place, so that nobody reaches it before, and a stale one makes way;
 * one that somebody answers at is not taken away. Used by the master only.
 */
#include "proxy/admin/sockets.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proxy/base/log.h"

#define BACKLOG     16
#define SOCKET_MODE 0660

/* One that is open, and by what words of the configuration. */
struct open_socket {
    int fd; /* -1: none */
    char *place, *group;
    dev_t device; /* of its file */
    ino_t inode;
};

struct admin_sockets {
    struct open_socket kept[ADMIN_KINDS];
    struct open_socket fresh[ADMIN_KINDS]; /* until admin_sockets_settle() */
    bool changed[ADMIN_KINDS];             /* is to be replaced by a fresh one, or by none */
};

static const struct open_socket none = {.fd = -1};

/* Where the keys stand, for messages. */
static struct {
    char of[ADMIN_KINDS][CONFIG_WHERE_SIZE], group[CONFIG_WHERE_SIZE];
} places;

struct admin_sockets *admin_sockets_new(void)
{
    struct admin_sockets *sockets = calloc(1, sizeof *sockets);
    for (int i = 0; sockets && i < ADMIN_KINDS; i++)
        sockets->kept[i] = sockets->fresh[i] = none;
    return sockets;
}

/* Another one may stand there by now. */
static void remove_file(const struct open_socket *each)
{
    struct stat status;
    if (each->inode != 0 && lstat(each->place, &status) == 0 && status.st_ino == each->inode &&
        status.st_dev == each->device)
        unlink(each->place);
}

static void close_socket(struct open_socket *each)
{
    if (each->fd >= 0) {
        remove_file(each);
        close(each->fd);
    }
    free(each->place);
    free(each->group);
    *each = none;
}

void admin_sockets_close(struct admin_sockets *sockets)
{
    for (int i = 0; i < ADMIN_KINDS; i++) {
        close_socket(&sockets->kept[i]);
        close_socket(&sockets->fresh[i]);
    }
}

void admin_sockets_free(struct admin_sockets *sockets)
{
    if (!sockets)
        return;
    admin_sockets_close(sockets);
    free(sockets);
}

static bool set_path(struct sockaddr_un *out, const char *path)
{
    *out = (struct sockaddr_un){.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof out->sun_path)
        return false;
    memcpy(out->sun_path, path, strlen(path));
    return true;
}

static bool is_answered(const struct sockaddr_un *place)
{
    int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    bool answered =
        connect(probe, (const struct sockaddr *)(const void *)place, sizeof *place) == 0 ||
        errno == EAGAIN;
    close(probe);
    return answered;
}

/* The last part of the directory's name alone. */
static void make_directory(const char *path)
{
    char directory[sizeof((struct sockaddr_un *)0)->sun_path];
    const char *slash = strrchr(path, '/');
    if (!slash || slash == path)
        return;
    snprintf(directory, sizeof directory, "%.*s", (int)(slash - path), path);
    if (mkdir(directory, 0755) == 0)
        (void)chmod(directory, 0755);
}

/* Without its group, root alone may use the socket, which is at `path` and may have another
 * name in messages. */
static void give_to_group(const char *path, const char *name, const char *group)
{
    const struct group *entry = *group ? getgrnam(group) : NULL;
    if (*group && !entry)
        log_warning("%s: there is no group \"%s\": the socket %s is its owner's", places.group,
                    group, name);
    else if (entry && chown(path, (uid_t)-1, entry->gr_gid) < 0 && geteuid() == 0)
        log_warning("%s: %s cannot be given to the group \"%s\": %s", places.group, name, group,
                    strerrordesc_np(errno));
}

static bool put_in_place(const struct sockaddr_un *made, const char *path, const char *group,
                         struct open_socket *out)
{
    struct stat status;
    give_to_group(made->sun_path, path, group);
    if (chmod(made->sun_path, SOCKET_MODE) < 0 || listen(out->fd, BACKLOG) < 0 ||
        lstat(made->sun_path, &status) < 0 || rename(made->sun_path, path) < 0)
        return false;
    out->device = status.st_dev;
    out->inode = status.st_ino;
    return true;
}

/* "[path].new" is what it is called before; errno tells. */
static bool bind_path(const char *path, const char *group, struct open_socket *out)
{
    char beside[sizeof((struct sockaddr_un *)0)->sun_path + 8];
    struct sockaddr_un place, made;
    struct stat status;
    snprintf(beside, sizeof beside, "%s.new", path);
    errno = ENAMETOOLONG;
    if (!set_path(&place, path) || !set_path(&made, beside))
        return false;
    make_directory(path);
    if (is_answered(&place)) {
        errno = EADDRINUSE;
        return false;
    }
    errno = EEXIST;
    if (lstat(path, &status) == 0 && !S_ISSOCK(status.st_mode))
        return false;
    unlink(beside);
    return bind(out->fd, (const struct sockaddr *)(const void *)&made, sizeof made) == 0 &&
           put_in_place(&made, path, group, out);
}

static bool bind_address(const char *text, const char *group, struct open_socket *out)
{
    struct address address;
    const char *why;
    static const int on = 1;
    (void)group;
    return address_parse(text, &address, &why) &&
           setsockopt(out->fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
           bind(out->fd, &address.any, address.length) == 0 && listen(out->fd, BACKLOG) == 0;
}

static int family_of(enum admin_kind kind, const char *place)
{
    struct address address;
    const char *why;
    if (kind == ADMIN_COMMANDS)
        return AF_UNIX;
    return address_parse(place, &address, &why) ? address.any.sa_family : AF_UNSPEC;
}

static bool open_one(enum admin_kind kind, const char *place, const char *group,
                     struct open_socket *out)
{
    int family = family_of(kind, place);
    out->fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    out->place = strdup(place);
    out->group = strdup(group);
    if (out->fd < 0 || !out->place || !out->group)
        return false;
    return kind == ADMIN_COMMANDS ? bind_path(place, group, out)
                                  : bind_address(place, group, out);
}

/* Nobody asked for a socket at the default place. */
static bool complain(enum admin_kind kind, const char *place)
{
    bool is_default = strcmp(place, CONFIG_ADMIN_SOCKET) == 0;
    if (!is_default)
        log_error("%s: %s cannot be opened: %s", places.of[kind], place,
                  strerrordesc_np(errno));
    else if (geteuid() == 0)
        log_warning("%s: %s cannot be opened: %s; there is no administration interface",
                    places.of[kind], place, strerrordesc_np(errno));
    return is_default;
}

static bool is_same(const struct open_socket *each, const char *place, const char *group)
{
    return each->fd >= 0 && strcmp(each->place, place) == 0 && strcmp(each->group, group) == 0;
}

static bool renew(struct admin_sockets *sockets, enum admin_kind kind, const char *place,
                  const char *group)
{
    struct open_socket *kept = &sockets->kept[kind], *fresh = &sockets->fresh[kind];
    sockets->changed[kind] = !is_same(kept, place, group);
    if (!sockets->changed[kind] || !*place)
        return true;
    if (kept->fd >= 0 && strcmp(kept->place, place) == 0) {
        give_to_group(place, place, group); /* nothing else has changed */
        free(kept->group);
        kept->group = strdup(group);
        sockets->changed[kind] = false;
        return kept->group;
    }
    if (open_one(kind, place, group, fresh))
        return true;
    bool may_go_on = complain(kind, place);
    close_socket(fresh);
    return may_go_on;
}

bool admin_sockets_open(struct admin_sockets *sockets, const struct config *config)
{
    config_where(config, "admin", NULL, "socket", places.of[ADMIN_COMMANDS]);
    config_where(config, "admin", NULL, "metrics", places.of[ADMIN_FIGURES]);
    config_where(config, "admin", NULL, "group", places.group);
    bool commands = renew(sockets, ADMIN_COMMANDS, config->admin.socket, config->admin.group);
    return renew(sockets, ADMIN_FIGURES, config->admin.metrics, "") && commands;
}

void admin_sockets_settle(struct admin_sockets *sockets, bool keep_new)
{
    for (int i = 0; i < ADMIN_KINDS; i++) {
        if (keep_new && sockets->changed[i]) {
            close_socket(&sockets->kept[i]);
            sockets->kept[i] = sockets->fresh[i];
            sockets->fresh[i] = none;
        }
        close_socket(&sockets->fresh[i]);
        sockets->changed[i] = false;
    }
}

int admin_sockets_descriptor(const struct admin_sockets *sockets, enum admin_kind kind)
{
    return sockets->kept[kind].fd;
}

/* "8 0 postern /run/postern/control": descriptor, kind, group ("-": none), place */
bool admin_sockets_describe(const struct admin_sockets *sockets, enum admin_kind kind,
                            char out[static ADMIN_SOCKET_WORDS_SIZE])
{
    const struct open_socket *each = &sockets->kept[kind];
    if (each->fd < 0)
        return false;
    int length = snprintf(out, ADMIN_SOCKET_WORDS_SIZE, "%d %d %s %s", each->fd, (int)kind,
                          *each->group ? each->group : "-", each->place);
    return length > 0 && length < ADMIN_SOCKET_WORDS_SIZE && !strchr(out, '\n');
}

bool admin_sockets_inherit(struct admin_sockets *sockets, const char *words)
{
    int fd, kind, at = 0, listens = 0;
    char group[ADMIN_SOCKET_WORDS_SIZE];
    struct stat status;
    socklen_t size = sizeof listens;
    if (strlen(words) >= sizeof group ||
        sscanf(words, "%d %d %255s %n", &fd, &kind, group, &at) != 3 || at == 0 || kind < 0 ||
        kind >= ADMIN_KINDS || sockets->kept[kind].fd >= 0 ||
        getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) < 0 || !listens)
        return false;
    struct open_socket each = {
        .fd = fd, .place = strdup(words + at), .group = strdup(group[0] == '-' ? "" : group)};
    if (!each.place || !each.group || fcntl(fd, F_SETFD, FD_CLOEXEC) < 0) {
        free(each.place);
        free(each.group);
        return false;
    }
    if (kind == ADMIN_COMMANDS && lstat(each.place, &status) == 0) {
        each.device = status.st_dev;
        each.inode = status.st_ino;
    }
    sockets->kept[kind] = each;
    return true;
}
