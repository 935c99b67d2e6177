/* The kernel shows what stands where main's arguments stood, so that is where the title goes.
 */
#include "proxy/process_title.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char *room;
static size_t room_size;
static char **environment; /* where it has moved */

/* Arguments and environment stand behind each other; how far, without a gap? */
static char *end_of(char **strings, char *end)
{
    for (size_t i = 0; strings[i]; i++)
        if (strings[i] == end)
            end = strings[i] + strlen(strings[i]) + 1;
    return end;
}

/* Pointers and strings in one block, which stays: whoever unsets a variable frees nothing. */
static char **copy_strings(char **strings)
{
    size_t count = 0, bytes = 0;
    for (; strings[count]; count++)
        bytes += strlen(strings[count]) + 1;

    char **copy = malloc((count + 1) * sizeof *copy + bytes);
    if (!copy)
        return NULL;
    char *text = (char *)(copy + count + 1);
    for (size_t i = 0; i < count; i++) {
        copy[i] = text;
        text = stpcpy(text, strings[i]) + 1;
    }
    copy[count] = NULL;
    return copy;
}

void process_title_init(int argc, char **argv)
{
    if (argc < 1)
        return;
    char *end = end_of(argv, argv[0]);
    environment = copy_strings(environ);
    if (environment) {
        end = end_of(environ, end);
        environ = environment;
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
