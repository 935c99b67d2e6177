/* The kernel shows what stands where main's arguments stood, so that is where the title goes.
 */
#include "proxy/process_title.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char *room;
static size_t room_size;

/* Arguments and environment stand behind each other; how far, without a gap? */
static char *end_of(char **strings, char *end)
{
    for (size_t i = 0; strings[i]; i++)
        if (strings[i] == end)
            end = strings[i] + strlen(strings[i]) + 1;
    return end;
}

static char **copy_strings(char **strings)
{
    size_t count = 0;
    while (strings[count])
        count++;
    char **copy = calloc(count + 1, sizeof *copy);
    for (size_t i = 0; copy && i < count; i++)
        if (!(copy[i] = strdup(strings[i])))
            return NULL;
    return copy;
}

void process_title_init(int argc, char **argv)
{
    if (argc < 1)
        return;
    char *end = end_of(argv, argv[0]);
    char **copy = copy_strings(environ);
    if (copy) {
        end = end_of(environ, end);
        environ = copy;
    }
    room = argv[0];
    room_size = (size_t)(end - room);
}

void process_title_set(const char *title)
{
    if (!room)
        return;
    size_t length = strlen(title);
    if (length >= room_size)
        length = room_size - 1;
    memset(room, 0, room_size);
    memcpy(room, title, length);
}
