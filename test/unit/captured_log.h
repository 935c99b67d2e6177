/* Standard error into memory for a while, so that a test can read what was logged. */
#ifndef POSTERN_TEST_CAPTURED_LOG_H
#define POSTERN_TEST_CAPTURED_LOG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sys/mman.h>
#include <unistd.h>

struct capture {
    int before, memory;
};

static inline struct capture capture_begin(void)
{
    struct capture capture = {dup(STDERR_FILENO), memfd_create("log", MFD_CLOEXEC)};
    assert_true(capture.before >= 0 && capture.memory >= 0);
    assert_int_equal(dup2(capture.memory, STDERR_FILENO), STDERR_FILENO);
    return capture;
}

/* Gives standard error back and returns how many bytes were written, `out` made a string. */
static inline size_t capture_end(struct capture capture, char *out, size_t size)
{
    dup2(capture.before, STDERR_FILENO);
    ssize_t got = pread(capture.memory, out, size - 1, 0);
    close(capture.before);
    close(capture.memory);
    assert_true(got >= 0);
    out[got] = '\0';
    return (size_t)got;
}

#endif
