/* A configuration file of a test's own, loaded, with what was logged of it. */
#ifndef POSTERN_TEST_CONFIG_FILE_H
#define POSTERN_TEST_CONFIG_FILE_H

#include "captured_log.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "auth/sasl.h"
#include "proxy/config.h"
#include "proxy/smtp/xclient.h"

#define COUNT(table) (sizeof(table) / sizeof(table)[0])

#define TLS "tls { certificate = \"/c.pem\" key = \"/k.pem\" }\n"

static char directory[] = "/tmp/postern-config-XXXXXX";
static char path[64];

static inline void write_file(const char *text, size_t length)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, length), (ssize_t)length);
    close(fd);
}

/* Loads a text and gives what was logged, with the file's name shortened to "f". */
static inline struct config *load_text(const char *text, size_t length, char *errors,
                                       size_t size)
{
    write_file(text, length);
    struct capture capture = capture_begin();
    struct config *config = config_load(path);
    capture_end(capture, errors, size);

    char *place;
    while ((place = strstr(errors, path))) {
        *place = 'f';
        memmove(place + 1, place + strlen(path), strlen(place + strlen(path)) + 1);
    }
    return config;
}

static inline struct config *load_good(const char *text)
{
    char errors[8192];
    struct config *config = load_text(text, strlen(text), errors, sizeof errors);
    if (!config)
        fail_msg("refused: %s", errors);
    assert_string_equal(errors, "");
    return config;
}

static inline int make_directory(void **state)
{
    (void)state;
    if (!mkdtemp(directory))
        return -1;
    snprintf(path, sizeof path, "%s/postern.conf", directory);
    return 0;
}

static inline int remove_directory(void **state)
{
    (void)state;
    unlink(path);
    return rmdir(directory);
}

#endif
