/*
 * The message scanner: what stands between two runs of ordinary bytes. The relay calls it for
 * every message; the runs themselves are found in data_skip.c. Nothing is copied or allocated.
 *
 *   in                                  out
 *   NUL                                 " "
 *   CR without LF                       " "
 *   LF without CR                       CRLF; a dot behind it is stuffed
 *   the same behind a line's first dot  "." CRLF: that dot has gone out, and is stuffed by this
 *   CRLF behind a line's first dot      CRLF, the end
 */
#include "proxy/smtp/data.h"

static const char space[] = " ", line_end[] = "\r\n", stuffed_dot[] = "..",
                  dot_and_end[] = ".\r\n";

/* `insert` instead of `count` bytes behind the run. */
static void replace(struct smtp_data_step *step, const char *insert, uint8_t length,
                    size_t count)
{
    step->insert = insert;
    step->insert_length = length;
    step->consumed = step->run + count;
}

static void found_end(struct smtp_data *data, struct smtp_data_step *step)
{
    data->position = SMTP_DATA_ENDED;
    step->status = SMTP_DATA_FOUND;
}

/* The input before this one ended in a CR that was held back. */
static void after_held_cr(struct smtp_data *data, char next, struct smtp_data_step *step)
{
    bool behind_dot = data->position == SMTP_DATA_DOT_CR;
    bool is_false_end = next == '\n' && data->tail == SMTP_DATA_TAIL_DOT;
    data->tail = is_false_end ? SMTP_DATA_TAIL_FALSE_END : SMTP_DATA_TAIL_TEXT;
    if (next == '\n') {
        replace(step, line_end, 2, 1);
        data->position = SMTP_DATA_LINE_START;
        if (behind_dot)
            found_end(data, step);
        return;
    }
    data->repaired++;
    data->position = SMTP_DATA_TEXT;
    replace(step, space, 1, 0);
}

static void at_cr(struct smtp_data *data, const char *in, size_t left,
                  struct smtp_data_step *step)
{
    bool behind_dot = data->position == SMTP_DATA_DOT;
    if (left > 1 || data->tail != SMTP_DATA_TAIL_DOT)
        data->tail = SMTP_DATA_TAIL_TEXT;
    if (left == 1) {
        data->position = behind_dot ? SMTP_DATA_DOT_CR : SMTP_DATA_CR;
        step->consumed = step->run + 1;
    } else if (in[1] == '\n') {
        step->run += 2;
        step->consumed = step->run;
        found_end(data, step);
    } else {
        data->repaired++;
        data->position = SMTP_DATA_TEXT;
        replace(step, space, 1, 1);
    }
}

static void at_bare_lf(struct smtp_data *data, struct smtp_data_step *step)
{
    bool behind_dot = data->position == SMTP_DATA_DOT;
    bool is_false_end = behind_dot || data->tail == SMTP_DATA_TAIL_DOT;
    data->tail = is_false_end ? SMTP_DATA_TAIL_FALSE_END : SMTP_DATA_TAIL_TEXT;
    data->repaired++;
    data->position = SMTP_DATA_SOFT_START;
    replace(step, behind_dot ? dot_and_end : line_end, behind_dot ? 3 : 2, 1);
}

/* The tail after a run of ordinary bytes: CRLF alone may follow a dot. */
static void pass_run(struct smtp_data *data, const char *in, size_t run)
{
    bool is_line_end = run == 2 && in[0] == '\r';
    if (run > 0 && data->tail != SMTP_DATA_TAIL_TEXT)
        data->tail = data->tail == SMTP_DATA_TAIL_DOT && is_line_end ? SMTP_DATA_TAIL_FALSE_END
                                                                     : SMTP_DATA_TAIL_TEXT;
}

bool smtp_data_seems_ended(const struct smtp_data *data)
{
    return data->tail != SMTP_DATA_TAIL_TEXT || data->position == SMTP_DATA_DOT ||
           data->position == SMTP_DATA_DOT_CR;
}

void smtp_data_step(struct smtp_data *data, const char *in, size_t length,
                    struct smtp_data_step *step)
{
    *step = (struct smtp_data_step){.status = SMTP_DATA_MORE};
    if (data->position == SMTP_DATA_CR || data->position == SMTP_DATA_DOT_CR) {
        after_held_cr(data, in[0], step);
        return;
    }
    step->run = smtp_data_skip_best(in, length, &data->position);
    step->consumed = step->run;
    pass_run(data, in, step->run);
    if (step->run == length)
        return;

    const char *stop = in + step->run;
    switch (*stop) {
    case '\r':
        at_cr(data, stop, length - step->run, step);
        break;
    case '\n':
        at_bare_lf(data, step);
        break;
    case '.': /* at a soft start */
        data->position = SMTP_DATA_TEXT;
        data->tail = SMTP_DATA_TAIL_DOT;
        replace(step, stuffed_dot, 2, 1);
        break;
    default:
        data->repaired++;
        data->position = SMTP_DATA_TEXT;
        data->tail = SMTP_DATA_TAIL_TEXT;
        replace(step, space, 1, 1);
        break;
    }
}
