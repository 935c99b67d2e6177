/* Reads /proc/self/net/tcp and tcp6 (a service with ProcSubset=pid has no /proc/net), and the
 * descriptors in /proc/PID/fd. Called by the doctor's check of ports, by overlap.c and by
 * `postern setup`, which looks for mail servers. */
#include "proxy/doctor_sockets.h"

#include <ctype.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A socket's state TCP_LISTEN, as the table writes it. */
#define LISTENING "0A"

/* The address is written as numbers of 32 bits, each in this machine's order. */
static bool parse_address(const char *text, struct address *out)
{
    uint32_t words[4];
    unsigned port;
    memset(out, 0, sizeof *out);
    if (strcspn(text, ":") == 8 && sscanf(text, "%8x:%4x", &words[0], &port) == 2) {
        out->v4.sin_family = AF_INET;
        out->v4.sin_port = htons((uint16_t)port);
        memcpy(&out->v4.sin_addr, words, 4);
        out->length = sizeof out->v4;
        return true;
    }
    if (strcspn(text, ":") != 32 || sscanf(text, "%8x%8x%8x%8x:%4x", &words[0], &words[1],
                                           &words[2], &words[3], &port) != 5)
        return false;
    out->v6.sin6_family = AF_INET6;
    out->v6.sin6_port = htons((uint16_t)port);
    memcpy(&out->v6.sin6_addr, words, 16);
    out->length = sizeof out->v6;
    return true;
}

/* "sl: local remote state queues timer retransmissions uid timeout inode …" */
static bool parse_line(const char *line, struct doctor_socket *out)
{
    char local[64], state[8];
    if (sscanf(line, " %*[0-9]: %63s %*s %7s %*s %*s %*s %u %*u %lu", local, state, &out->uid,
               &out->inode) != 4)
        return false;
    return strcmp(state, LISTENING) == 0 && parse_address(local, &out->address);
}

bool doctor_sockets_each(doctor_socket_visit *visit, void *context)
{
    static const char *const tables[] = {"/proc/self/net/tcp", "/proc/self/net/tcp6"};
    char line[512];
    bool more = true, read = false;
    for (size_t i = 0; i < 2 && more; i++) {
        FILE *file = fopen(tables[i], "re");
        struct doctor_socket socket;
        read = read || file;
        while (file && more && fgets(line, sizeof line, file))
            if (parse_line(line, &socket))
                more = visit(context, &socket);
        if (file)
            fclose(file);
    }
    return read;
}

struct search {
    const struct address *address;
    struct doctor_socket *out;
    bool found;
};

static bool is_any(const struct address *address)
{
    char host[ADDRESS_HOST_SIZE];
    address_host(address, host);
    return strcmp(host, "::") == 0 || strcmp(host, "0.0.0.0") == 0;
}

/* Could not both of them be listened on? [::] takes IPv4 as well. */
static bool collide(const struct address *a, const struct address *b)
{
    if (address_port(a) != address_port(b))
        return false;
    if (a->any.sa_family == AF_INET && b->any.sa_family == AF_INET6)
        return is_any(b);
    if (a->any.sa_family == AF_INET6 && b->any.sa_family == AF_INET)
        return is_any(a);
    return is_any(a) || is_any(b) || address_equal(a, b);
}

static bool compare(void *context, const struct doctor_socket *socket)
{
    struct search *search = context;
    search->found = collide(search->address, &socket->address);
    if (search->found)
        *search->out = *socket;
    return !search->found;
}

bool doctor_sockets_find(const struct address *address, struct doctor_socket *out)
{
    struct search search = {address, out, false};
    struct address plain = *address;
    if (address->any.sa_family == AF_UNIX)
        return false;
    address_normalise(&plain);
    search.address = &plain;
    return doctor_sockets_each(compare, &search) && search.found;
}

static bool has_socket(const char *pid, unsigned long inode)
{
    char path[300], target[64], wanted[64];
    snprintf(wanted, sizeof wanted, "socket:[%lu]", inode);
    snprintf(path, sizeof path, "/proc/%s/fd", pid);
    DIR *directory = opendir(path);
    bool found = false;
    const struct dirent *entry;
    while (directory && !found && (entry = readdir(directory))) {
        ssize_t length = readlinkat(dirfd(directory), entry->d_name, target, sizeof target - 1);
        if (length < 0)
            continue;
        target[length] = '\0';
        found = strcmp(target, wanted) == 0;
    }
    if (directory)
        closedir(directory);
    return found;
}

static bool read_start(const char *pid, const char *name, char *out, int size)
{
    char path[300];
    snprintf(path, sizeof path, "/proc/%s/%s", pid, name);
    FILE *file = fopen(path, "re");
    bool good = file && fgets(out, size, file);
    if (file)
        fclose(file);
    out[good ? strcspn(out, "\n") : 0] = '\0';
    return good;
}

static void describe(const char *pid, struct doctor_process *out)
{
    char title[64];
    out->pid = (pid_t)strtol(pid, NULL, 10);
    read_start(pid, "comm", out->name, sizeof out->name);
    out->postern =
        strcmp(out->name, "postern") == 0 || (read_start(pid, "cmdline", title, sizeof title) &&
                                              strncmp(title, "postern: ", 9) == 0);
}

bool doctor_sockets_owner(const struct doctor_socket *socket, struct doctor_process *out)
{
    DIR *processes = opendir("/proc");
    bool found = false;
    const struct dirent *entry;
    memset(out, 0, sizeof *out);
    while (processes && !out->postern && (entry = readdir(processes))) {
        if (!isdigit((unsigned char)entry->d_name[0]) ||
            !has_socket(entry->d_name, socket->inode))
            continue;
        struct doctor_process process;
        describe(entry->d_name, &process);
        if (!found || process.postern)
            *out = process;
        found = true;
    }
    if (processes)
        closedir(processes);
    return found;
}
