/* Reads a configuration file into memory, for config.c and setup. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "proxy/config_internal.h"

/* Far more than a file with a thousand listeners. */
#define FILE_LIMIT (1024 * 1024)
/* Enough for most; FILE_LIMIT is a power of two times this. */
#define FIRST_ROOM 8192

/* Reads until the end or FILE_LIMIT into *text, which grows. Returns the length; -1: errno. */
static ssize_t read_all(int fd, char **text)
{
    size_t length = 0, room = 0;
    while (length < FILE_LIMIT) {
        if (length == room) {
            room = room ? 2 * room : FIRST_ROOM;
            char *grown = realloc(*text, room);
            if (!grown)
                return -1;
            *text = grown;
        }
        ssize_t got = read(fd, *text + length, room - length);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return got < 0 ? -1 : (ssize_t)length;
        length += (size_t)got;
    }
    return FILE_LIMIT;
}

char *config_text_read(const char *path, size_t *length, const char **why)
{
    *why = NULL;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    return fd < 0 ? NULL : config_text_take(fd, length, why);
}

char *config_text_take(int fd, size_t *length, const char **why)
{
    *why = NULL;
    char *text = NULL;
    ssize_t got = read_all(fd, &text);
    int error = errno;
    close(fd);
    if (got >= 0 && got < FILE_LIMIT) {
        *length = (size_t)got;
        char *shorter = realloc(text, *length + 1);
        if (shorter)
            text = shorter;
        return text;
    }
    if (got == FILE_LIMIT)
        *why = "the file is too long for a configuration";
    free(text);
    errno = error;
    return NULL;
}
