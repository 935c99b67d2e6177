/*
 * Any text as a configuration, with all keys and their values, up to the struct or the faults.
 * No other file is included: those of this machine are no part of the input.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "proxy/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Longer ones are for the fuzzer of the parser, which is faster. */
#define SIZE_LIMIT 1024

static void require(bool condition)
{
    if (!condition)
        abort();
}

/* Variables of this machine are no part of the input either. */
static void set_variables(void)
{
    require(clearenv() == 0 && setenv("A", "1", 1) == 0 && setenv("E", "", 1) == 0 &&
            setenv("Q", "\"} # ${A}", 1) == 0);
}

/* Faults are logged, and there are many. */
static void be_quiet(void)
{
    static int nowhere = -1;
    if (nowhere >= 0)
        return;
    set_variables();
    nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
    require(nowhere >= 0);
    log_set_file(nowhere);
    log_configure(&(struct log_options){.destination = LOG_TO_FILE, .level = LOG_LEVEL_ERROR});
}

static struct config *load(const void *text, size_t size)
{
    char path[64];
    int fd = memfd_create("configuration", MFD_CLOEXEC);
    require(fd >= 0 && write(fd, text, size) == (ssize_t)size);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    struct config *config = config_load(path);
    close(fd);
    return config;
}

/* As a file, to be freed. */
static char *print(struct config *config, size_t *length)
{
    char *text = NULL;
    FILE *out = open_memstream(&text, length);
    require(out != NULL);
    config_print(config, out);
    fclose(out);
    return text;
}

/* What is printed is a configuration, and the same one. */
static void print_and_load(struct config *config)
{
    size_t length, again_length;
    char *text = print(config, &length);
    struct config *again = load(text, length);
    require(again != NULL);
    char *again_text = print(again, &again_length);
    require(*config->shared || strcmp(text, again_text) == 0);
    config_free(again);
    free(again_text);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > SIZE_LIMIT || memmem(data, size, "include", 7))
        return 0;
    be_quiet();
    struct config *config = load(data, size);
    if (config) {
        require(config->listen_count > 0 && config->backend_count > 0 && *config->hostname);
        print_and_load(config);
    }
    config_free(config);
    return 0;
}
