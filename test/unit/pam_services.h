/* For tests with real PAM modules: a directory of services of their own, gone afterwards. */
#ifndef POSTERN_TEST_PAM_SERVICES_H
#define POSTERN_TEST_PAM_SERVICES_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proxy/base/compiler.h"

static char services_directory[64];

static inline int services_open(void **state)
{
    (void)state;
    strcpy(services_directory, "/tmp/postern-pam-XXXXXX");
    /* A worker that has become another user reads it too. */
    return mkdtemp(services_directory) && chmod(services_directory, 0755) == 0 ? 0 : -1;
}

static inline int services_close(void **state)
{
    DIR *directory = opendir(services_directory);
    (void)state;
    for (struct dirent *entry; directory && (entry = readdir(directory));)
        unlinkat(dirfd(directory), entry->d_name, 0);
    if (directory)
        closedir(directory);
    return rmdir(services_directory);
}

/* A service, or a file that one of them uses. */
PRINTF_LIKE(3, 4)
static inline void services_write(const char *name, mode_t mode, const char *format, ...)
{
    char path[128];
    va_list arguments;
    snprintf(path, sizeof path, "%s/%s", services_directory, name);
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    va_start(arguments, format);
    assert_true(vfprintf(file, format, arguments) > 0);
    va_end(arguments);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(chmod(path, mode), 0);
}

#endif
