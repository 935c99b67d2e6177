/*
 * A request of HTTP/1.0, whose answer has no end but the connection's: a line for each event,
 * and as its last one why it ends. Called by main.c.
 */
#include "proxy/ctl/tail.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proxy/base/escape.h"
#include "proxy/ctl/http.h"
#include "proxy/ctl/json.h"
#include "proxy/ctl/print.h"

/* Longer than any line of Postern's. */
#define BUFFER_SIZE ((size_t)64 * 1024)
/* Before a connection that broke off is tried again. */
#define PAUSE_S 1

/* How a connection ended. */
enum end { END_BROKEN, END_RELOAD, END_STOPPED, END_REFUSED, END_UNREADABLE, END_UNWRITTEN };

struct tail {
    int fd;
    bool json;
    size_t length;
    char buffer[BUFFER_SIZE];
};

static void print_value(FILE *out, struct ctl_value value)
{
    char text[4096], clean[sizeof text];
    size_t written = 0;
    if (value.at[0] != '"') {
        fprintf(out, "%.*s", (int)value.length, value.at);
        return;
    }
    ctl_json_text(value, text, sizeof text);
    size_t length = strlen(text);
    if (escape_is_word(text, length)) {
        fputs(text, out);
        return;
    }
    escape(ESCAPE_LOGFMT, text, length, clean, sizeof clean, &written);
    fprintf(out, "\"%.*s\"", (int)written, clean);
}

/* What stands before all others, or is of no interest here. */
static bool is_left_out(const char *key)
{
    static const char *const keys[] = {"time", "level", "pid", "process", "event"};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        if (strcmp(keys[i], key) == 0)
            return true;
    return false;
}

static void print_time(FILE *out, struct ctl_value event)
{
    static const char form[] = "2026-11-23T14:05:09";
    char text[CTL_CELL_SIZE];
    ctl_format_text(ctl_json_member(event, "time"), text);
    if (strlen(text) < sizeof form - 1)
        fputs("-", out);
    else
        fprintf(out, "%.8sZ", text + sizeof "2026-11-23T" - 1);
}

bool ctl_tail_print(FILE *out, const char *line, size_t length)
{
    struct ctl_value event = ctl_json_parse(line, length), rest = event, value, key;
    char name[CTL_CELL_SIZE];
    if (event.length == 0 || event.at[0] != '{')
        return false;
    ctl_format_text(ctl_json_member(event, "event"), name);
    print_time(out, event);
    fprintf(out, " %s", name);
    while ((value = ctl_json_next(&rest, &key)).length > 0) {
        ctl_format_text(key, name);
        if (is_left_out(name))
            continue;
        fprintf(out, " %s=", name);
        print_value(out, value);
    }
    fputc('\n', out);
    return true;
}

/* How the stream ends by this event of its own; standard error tells. */
static enum end end_by(struct ctl_value event)
{
    char cause[CTL_CELL_SIZE];
    ctl_format_text(ctl_json_member(event, "cause"), cause);
    if (strcmp(cause, "reload") == 0)
        return END_RELOAD;
    fprintf(stderr, "posternctl: the stream has ended: %s\n", cause);
    return END_STOPPED;
}

/* True: there are no further lines, and *end says why. */
static bool take_line(const struct tail *tail, const char *line, size_t length, enum end *end)
{
    char name[CTL_CELL_SIZE];
    struct ctl_value event = ctl_json_parse(line, length);
    ctl_format_text(ctl_json_member(event, "event"), name);
    bool is_first = strcmp(name, "stream began") == 0,
         is_last = strcmp(name, "stream ended") == 0;
    if (is_last)
        *end = end_by(event);
    if (tail->json)
        printf("%.*s\n", (int)length, line);
    else if (!is_first && !is_last && !ctl_tail_print(stdout, line, length))
        fprintf(stderr, "posternctl: a line that is not understood\n");
    if (fflush(stdout) == 0 && !ferror(stdout))
        return is_last;
    *end = END_UNWRITTEN;
    return true;
}

/* More of it: false, it has ended or is too long for a line. */
static bool receive(struct tail *tail)
{
    ssize_t got;
    if (tail->length == sizeof tail->buffer - 1)
        return false;
    do
        got = recv(tail->fd, tail->buffer + tail->length,
                   sizeof tail->buffer - 1 - tail->length, 0);
    while (got < 0 && (errno == EINTR || errno == EAGAIN));
    if (got <= 0)
        return false;
    tail->length += (size_t)got;
    tail->buffer[tail->length] = '\0';
    return true;
}

static void drop(struct tail *tail, size_t length)
{
    tail->length -= length;
    memmove(tail->buffer, tail->buffer + length, tail->length + 1);
}

static enum end take_lines(struct tail *tail)
{
    enum end end = END_BROKEN;
    do {
        size_t taken = 0;
        const char *line_end;
        while ((line_end = memchr(tail->buffer + taken, '\n', tail->length - taken))) {
            const char *line = tail->buffer + taken;
            if (take_line(tail, line, (size_t)(line_end - line), &end))
                return end;
            taken = (size_t)(line_end - tail->buffer) + 1;
        }
        drop(tail, taken);
    } while (receive(tail));
    return end;
}

/* HTTP's status; 0: the answer has no head. */
static int take_head(struct tail *tail)
{
    const char *body;
    int status = 0;
    while (!(body = strstr(tail->buffer, "\r\n\r\n")))
        if (!receive(tail))
            return 0;
    if (sscanf(tail->buffer, "HTTP/1.%*1d %3d ", &status) != 1)
        return 0;
    drop(tail, (size_t)(body + 4 - tail->buffer));
    return status;
}

static enum end refuse(struct tail *tail, int status)
{
    while (receive(tail))
        continue;
    struct ctl_value why = ctl_json_member(ctl_json_parse(tail->buffer, tail->length), "error");
    fprintf(stderr, "posternctl: refused (%d)%s", status, why.length > 0 ? ": " : "\n");
    if (why.length > 0)
        ctl_print_line(stderr, why);
    return END_REFUSED;
}

static enum end stream_once(struct tail *tail, const char *target)
{
    char *request;
    int length = asprintf(&request, "GET %s HTTP/1.0\r\nHost: postern\r\n\r\n", target);
    if (length < 0)
        return END_UNREADABLE;
    bool sent = send(tail->fd, request, (size_t)length, MSG_NOSIGNAL) == length;
    free(request);
    tail->length = 0;
    tail->buffer[0] = '\0';
    int status = sent ? take_head(tail) : 0;
    if (status == 200)
        return take_lines(tail);
    return status == 0 ? END_UNREADABLE : refuse(tail, status);
}

/* Says what is not an end; true: it goes on. */
static bool goes_on(enum end end)
{
    if (end == END_RELOAD) {
        fprintf(stderr, "posternctl: the configuration was read again; the stream goes on\n");
        return true;
    }
    if (end != END_BROKEN)
        return false;
    fprintf(stderr, "posternctl: the stream has broken off; it is asked for again\n");
    sleep(PAUSE_S);
    return true;
}

enum ctl_exit ctl_tail(const char *socket_path, const char *target, bool json)
{
    static const enum ctl_exit exits[] = {
        [END_STOPPED] = CTL_UNREACHABLE,
        [END_REFUSED] = CTL_REFUSED,
        [END_UNREADABLE] = CTL_UNREACHABLE,
        [END_UNWRITTEN] = CTL_UNWRITTEN,
    };
    static struct tail tail;
    enum end end;
    tail.json = json;
    do {
        tail.fd = ctl_connect(socket_path);
        if (tail.fd < 0)
            return CTL_UNREACHABLE;
        end = stream_once(&tail, target);
        close(tail.fd);
    } while (goes_on(end));
    if (end == END_UNREADABLE)
        fprintf(stderr, "posternctl: %s: no answer that can be read\n", socket_path);
    return exits[end];
}
