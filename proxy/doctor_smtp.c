/*
 * The doctor's SMTP client: a non-blocking socket that is waited for until the deadline. Called
 * by the checks of backends and listeners, and by `postern setup`.
 */
#include "proxy/doctor_smtp.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "proxy/base/clock.h"

/* Lines of one reply. */
#define LINES_LIMIT 200

static bool fail(struct doctor_smtp *smtp, const char *why)
{
    snprintf(smtp->why, sizeof smtp->why, "%s", why);
    return false;
}

/* False: the time is over. */
static bool wait_for(struct doctor_smtp *smtp, short events)
{
    struct pollfd entry = {.fd = smtp->fd, .events = events};
    uint64_t now = clock_now_ms();
    while (now < smtp->deadline_ms) {
        int ready = poll(&entry, 1, (int)(smtp->deadline_ms - now));
        if (ready > 0)
            return true;
        if (ready < 0 && errno != EINTR)
            return fail(smtp, strerrordesc_np(errno));
        now = clock_now_ms();
    }
    return fail(smtp, "no answer in time");
}

void doctor_smtp_adopt(struct doctor_smtp *smtp, int fd)
{
    memset(smtp, 0, sizeof *smtp);
    smtp->fd = fd;
    smtp->deadline_ms = clock_now_ms() + DOCTOR_SMTP_TIME_MS;
}

static bool finish_connecting(struct doctor_smtp *smtp)
{
    int error = 0;
    socklen_t size = sizeof error;
    if (!wait_for(smtp, POLLOUT))
        return false;
    if (getsockopt(smtp->fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0)
        error = errno;
    return error == 0 || fail(smtp, strerrordesc_np(error));
}

bool doctor_smtp_open(struct doctor_smtp *smtp, const struct address *address)
{
    doctor_smtp_adopt(
        smtp, socket(address->any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    bool good = smtp->fd >= 0 && (connect(smtp->fd, &address->any, address->length) == 0 ||
                                  errno == EINPROGRESS);
    if (!good)
        fail(smtp, strerrordesc_np(errno));
    if (good && finish_connecting(smtp))
        return true;
    doctor_smtp_close(smtp);
    return false;
}

void doctor_smtp_close(struct doctor_smtp *smtp)
{
    SSL_free(smtp->ssl);
    smtp->ssl = NULL;
    if (smtp->fd >= 0)
        close(smtp->fd);
    smtp->fd = -1;
}

/* What OpenSSL wants before the call can go on; false: nothing would help. */
static bool wait_for_tls(struct doctor_smtp *smtp, int result)
{
    int error = SSL_get_error(smtp->ssl, result);
    if (error == SSL_ERROR_WANT_READ)
        return wait_for(smtp, POLLIN);
    if (error == SSL_ERROR_WANT_WRITE)
        return wait_for(smtp, POLLOUT);
    long verdict = SSL_get_verify_result(smtp->ssl);
    const char *reason = ERR_reason_error_string(ERR_peek_last_error());
    if (verdict != X509_V_OK && SSL_get_verify_mode(smtp->ssl) != SSL_VERIFY_NONE)
        reason = X509_verify_cert_error_string(verdict);
    snprintf(smtp->why, sizeof smtp->why, "TLS: %s",
             reason ? reason : "the connection was closed");
    return false;
}

/* As the relay does: an address is looked for among the certificate's addresses. */
static bool expect_name(SSL *ssl, const char *name)
{
    if (X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), name) == 1)
        return true;
    return SSL_set1_host(ssl, name) == 1 && SSL_set_tlsext_host_name(ssl, name) == 1;
}

bool doctor_smtp_secure(struct doctor_smtp *smtp, SSL_CTX *context, const char *name)
{
    ERR_clear_error();
    smtp->length = 0; /* nothing that was said in the clear counts (threat 3) */
    smtp->ssl = SSL_new(context);
    if (!smtp->ssl || SSL_set_fd(smtp->ssl, smtp->fd) != 1 ||
        (name && !expect_name(smtp->ssl, name)))
        return fail(smtp, "TLS: out of memory");
    int result;
    do {
        ERR_clear_error();
        result = SSL_connect(smtp->ssl);
    } while (result != 1 && wait_for_tls(smtp, result));
    return result == 1;
}

static bool write_tls(struct doctor_smtp *smtp, const char *bytes, size_t length)
{
    int result;
    do {
        ERR_clear_error();
        result = SSL_write(smtp->ssl, bytes, (int)length);
    } while (result <= 0 && wait_for_tls(smtp, result));
    return result > 0;
}

bool doctor_smtp_write(struct doctor_smtp *smtp, const char *bytes, size_t length)
{
    if (smtp->ssl)
        return write_tls(smtp, bytes, length);
    while (length > 0) {
        ssize_t sent = send(smtp->fd, bytes, length, MSG_NOSIGNAL);
        if (sent < 0 && errno != EAGAIN && errno != EINTR)
            return fail(smtp, strerrordesc_np(errno));
        if (sent < 0 && !wait_for(smtp, POLLOUT))
            return false;
        if (sent > 0) {
            bytes += sent;
            length -= (size_t)sent;
        }
    }
    return true;
}

static bool fill_tls(struct doctor_smtp *smtp, char *room, size_t size)
{
    int got;
    do {
        ERR_clear_error();
        got = SSL_read(smtp->ssl, room, (int)size);
    } while (got <= 0 && wait_for_tls(smtp, got));
    smtp->length += got > 0 ? (size_t)got : 0;
    return got > 0;
}

/* More input. */
static bool fill(struct doctor_smtp *smtp)
{
    char *room = smtp->input + smtp->length;
    size_t size = sizeof smtp->input - smtp->length;
    if (size == 0)
        return fail(smtp, "what it says is not SMTP: a line without end");
    if (smtp->ssl)
        return fill_tls(smtp, room, size);
    ssize_t got;
    do {
        if (!wait_for(smtp, POLLIN))
            return false;
        got = recv(smtp->fd, room, size, 0);
    } while (got < 0 && (errno == EAGAIN || errno == EINTR));
    if (got <= 0)
        return fail(smtp, got == 0 ? "it closed the connection" : strerrordesc_np(errno));
    smtp->length += (size_t)got;
    return true;
}

/* Sets the length of the line at the start of the input, and of that with its end. */
static bool find_line(struct doctor_smtp *smtp, size_t *length, size_t *whole)
{
    const char *end;
    while (!(end = memchr(smtp->input, '\n', smtp->length)))
        if (!fill(smtp))
            return false;
    *length = (size_t)(end - smtp->input);
    *whole = *length + 1;
    if (*length > 0 && smtp->input[*length - 1] == '\r')
        --*length;
    return true;
}

bool doctor_smtp_read(struct doctor_smtp *smtp, struct doctor_reply *reply)
{
    struct smtp_reply_state state = {0};
    enum smtp_reply_status status = SMTP_REPLY_MORE;
    memset(reply, 0, sizeof *reply);
    for (unsigned i = 0; i < LINES_LIMIT && status == SMTP_REPLY_MORE; i++) {
        struct smtp_reply_line line;
        size_t length, whole;
        if (!find_line(smtp, &length, &whole))
            return false;
        status = smtp_reply_feed(&state, smtp->input, length, &line);
        if (status == SMTP_REPLY_BROKEN)
            break;
        reply->code = line.code;
        if (i == 0)
            snprintf(reply->text, sizeof reply->text, "%u %.*s", line.code,
                     (int)line.text_length, line.text);
        else
            smtp_ehlo_learn(&reply->ehlo, line.text, line.text_length);
        smtp->length -= whole;
        memmove(smtp->input, smtp->input + whole, smtp->length);
    }
    return status == SMTP_REPLY_DONE || fail(smtp, "what it says is not SMTP");
}

bool doctor_smtp_say(struct doctor_smtp *smtp, struct doctor_reply *reply, const char *format,
                     ...)
{
    char line[512];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(line, sizeof line - 2, format, arguments);
    va_end(arguments);
    if (length < 0 || (size_t)length >= sizeof line - 2)
        return fail(smtp, "the command is too long");
    memcpy(line + length, "\r\n", 2);
    return doctor_smtp_write(smtp, line, (size_t)length + 2) && doctor_smtp_read(smtp, reply);
}
