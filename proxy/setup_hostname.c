/* Asks the system what this host is called. Called by setup_answers.c. */
#include "proxy/setup_hostname.h"

#include <ctype.h>
#include <netdb.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Two labels at least, of which the last is not a number, and not a name of every host. */
static bool is_full(const char *name)
{
    const char *last = strrchr(name, '.');
    return last && last > name && isalpha((unsigned char)last[1]) && *name != '-' &&
           strncasecmp(name, "localhost.", 10) != 0 && strcasecmp(last, ".localdomain") != 0 &&
           strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                        "0123456789.-") == strlen(name);
}

static bool take(const char *name, char out[static SETUP_HOSTNAME_SIZE])
{
    if (!is_full(name) || strlen(name) >= SETUP_HOSTNAME_SIZE)
        return false;
    strcpy(out, name);
    return true;
}

static bool take_canonical(const char *own, char out[static SETUP_HOSTNAME_SIZE])
{
    struct addrinfo hints = {.ai_flags = AI_CANONNAME, .ai_socktype = SOCK_STREAM}, *found;
    if (*own == '\0' || getaddrinfo(own, NULL, &hints, &found) != 0)
        return false;
    bool taken = found->ai_canonname && take(found->ai_canonname, out);
    freeaddrinfo(found);
    return taken;
}

static bool take_mailname(char out[static SETUP_HOSTNAME_SIZE])
{
    char line[SETUP_HOSTNAME_SIZE] = "";
    FILE *file = fopen("/etc/mailname", "re");
    if (!file)
        return false;
    bool read = fgets(line, sizeof line, file);
    fclose(file);
    line[strcspn(line, " \t\r\n")] = '\0';
    return read && take(line, out);
}

void setup_hostname_find(const char *greeted, char out[static SETUP_HOSTNAME_SIZE])
{
    char own[SETUP_HOSTNAME_SIZE] = "";
    if (gethostname(own, sizeof own - 1) < 0)
        *own = '\0';
    if (!take(own, out) && !take_canonical(own, out) && !take_mailname(out) &&
        !take(greeted, out))
        strcpy(out, own);
}
