/*
 * For tests of promise 7: how often a secret stands in this process's memory. The secret is
 * made at run time and given in two halves that are only put together on the way, so that
 * neither the program's text nor the search itself is found.
 */
#ifndef POSTERN_TEST_SECRET_SCAN_H
#define POSTERN_TEST_SECRET_SCAN_H

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SECRET_LENGTH 32

/* Sanitizers map terabytes that hold nothing. */
#define SECRET_SCAN_REGION_LIMIT (256u << 20)

/* The secret with every bit turned: this form is what the test keeps. */
static inline void secret_make(char turned[static SECRET_LENGTH])
{
    for (size_t i = 0; i < SECRET_LENGTH; i++)
        turned[i] = (char)~('a' + (i * 7 + (size_t)getpid()) % 26);
}

static inline void secret_reveal(const char turned[static SECRET_LENGTH],
                                 char out[static SECRET_LENGTH + 1])
{
    for (size_t i = 0; i < SECRET_LENGTH; i++)
        out[i] = (char)~turned[i];
    out[SECRET_LENGTH] = '\0';
}

/* Half of it is enough to be found: a buffer may have been overwritten in part. */
static inline int secret_at(const char *bytes, const char *turned)
{
    for (size_t i = 0; i < SECRET_LENGTH / 2; i++)
        if (bytes[i] != (char)~turned[i])
            return 0;
    return 1;
}

static inline unsigned secret_count_in(int memory, uintptr_t start, size_t size,
                                       const char *turned)
{
    static char copy[1 << 16];
    unsigned found = 0;
    for (size_t at = 0; at < size; at += sizeof copy - SECRET_LENGTH) {
        size_t wanted = size - at < sizeof copy ? size - at : sizeof copy;
        if (start + at < (uintptr_t)(copy + sizeof copy) &&
            start + at + wanted > (uintptr_t)copy)
            continue;
        ssize_t got = pread(memory, copy, wanted, (off_t)(start + at));
        for (ssize_t i = 0; i + SECRET_LENGTH <= got; i++)
            found += (unsigned)secret_at(copy + i, turned);
    }
    explicit_bzero(copy, sizeof copy);
    return found;
}

/* Copies in everything that is mapped and can be written. */
static inline unsigned secret_count(const char turned[static SECRET_LENGTH])
{
    FILE *maps = fopen("/proc/self/maps", "re");
    int memory = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
    unsigned long start, end;
    char line[512], writable;
    unsigned found = 0;

    if (!maps || memory < 0)
        abort();
    while (fgets(line, sizeof line, maps))
        if (sscanf(line, "%lx-%lx r%c", &start, &end, &writable) == 3 && writable == 'w' &&
            end - start < SECRET_SCAN_REGION_LIMIT)
            found += secret_count_in(memory, start, end - start, turned);
    close(memory);
    fclose(maps);
    return found;
}

#endif
