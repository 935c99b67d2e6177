/*
 * The ring of history.h. The number of a point is its time in steps, which gives its place; the
 * turn of a place is made of that number, so that a writer sees whether its point is there, and
 * a reader whether a place holds the point it looks for. Called by the timer of every reactor;
 * never waits.
 */
#include "proxy/history.h"

#include <string.h>

const char *history_figure_name(enum history_figure figure)
{
    static const char *const names[HISTORY_FIGURES] = {
        [HISTORY_SESSIONS] = "sessions",
        [HISTORY_RELAYING] = "relay",
        [HISTORY_LOGINS] = "logins",
        [HISTORY_LOGINS_FAILED] = "logins_failed",
        [HISTORY_LOGINS_UNAVAILABLE] = "logins_unavailable",
        [HISTORY_LOGINS_PUT_OFF] = "logins_put_off",
        [HISTORY_MESSAGES] = "messages",
        [HISTORY_BYTES_IN] = "bytes_in",
        [HISTORY_BYTES_OUT] = "bytes_out",
    };
    return names[figure];
}

/* The turns of a point's place: while it is written, and when it is whole. */
static uint64_t turn_writing(uint64_t number)
{
    return 2 * number + 1;
}

static uint64_t turn_done(uint64_t number)
{
    return 2 * number + 2;
}

bool history_is_due(const struct history *history, uint64_t now_ms)
{
    uint64_t number = now_ms / HISTORY_STEP_MS;
    uint64_t turn =
        __atomic_load_n(&history->places[number % HISTORY_POINTS].turn, __ATOMIC_RELAXED);
    return turn != turn_writing(number) && turn != turn_done(number);
}

static void count_sessions(const struct statistics *sum, uint64_t *figures)
{
    for (unsigned i = 0; i < SESSION_STATES; i++) {
        figures[HISTORY_SESSIONS] += sum->sessions[i];
        if (strcmp(session_state_name(i), history_figure_name(HISTORY_RELAYING)) == 0)
            figures[HISTORY_RELAYING] = sum->sessions[i];
    }
}

static struct history_point make_point(uint64_t now_ms, const struct statistics *sum)
{
    struct history_point point = {.at_ms = now_ms};
    uint64_t *figures = point.figures;
    count_sessions(sum, figures);
    for (unsigned i = 0; i < SASL_MECHANISM_COUNT; i++) {
        figures[HISTORY_LOGINS] += sum->logins[i][STATISTICS_LOGIN_ACCEPTED];
        figures[HISTORY_LOGINS_FAILED] += sum->logins[i][STATISTICS_LOGIN_REJECTED];
        figures[HISTORY_LOGINS_UNAVAILABLE] += sum->logins[i][STATISTICS_LOGIN_UNAVAILABLE];
        figures[HISTORY_LOGINS_PUT_OFF] += sum->logins[i][STATISTICS_LOGIN_PUT_OFF];
    }
    figures[HISTORY_MESSAGES] = sum->messages;
    figures[HISTORY_BYTES_IN] = sum->bytes[0];
    figures[HISTORY_BYTES_OUT] = sum->bytes[1];
    return point;
}

/* Cell by cell: a reader in another process may be there at the same time. */
static void copy_point(struct history_point *to, const struct history_point *from)
{
    __atomic_store_n(&to->at_ms, __atomic_load_n(&from->at_ms, __ATOMIC_RELAXED),
                     __ATOMIC_RELAXED);
    for (unsigned i = 0; i < HISTORY_FIGURES; i++)
        __atomic_store_n(&to->figures[i], __atomic_load_n(&from->figures[i], __ATOMIC_RELAXED),
                         __ATOMIC_RELAXED);
}

void history_note(struct history *history, uint64_t now_ms, const struct statistics *sum)
{
    uint64_t number = now_ms / HISTORY_STEP_MS;
    struct history_place *place = &history->places[number % HISTORY_POINTS];
    struct history_point point = make_point(now_ms, sum);
    uint64_t turn = __atomic_load_n(&place->turn, __ATOMIC_RELAXED);
    if (turn == turn_writing(number) || turn == turn_done(number) ||
        !__atomic_compare_exchange_n(&place->turn, &turn, turn_writing(number), false,
                                     __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
        return;
    __atomic_thread_fence(__ATOMIC_RELEASE);
    copy_point(&place->point, &point);
    __atomic_store_n(&place->turn, turn_done(number), __ATOMIC_RELEASE);
}

static bool read_place(const struct history_place *place, uint64_t number,
                       struct history_point *out)
{
    if (__atomic_load_n(&place->turn, __ATOMIC_ACQUIRE) != turn_done(number))
        return false;
    copy_point(out, &place->point);
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    return __atomic_load_n(&place->turn, __ATOMIC_RELAXED) == turn_done(number) &&
           out->at_ms / HISTORY_STEP_MS == number;
}

size_t history_read(const struct history *history, uint64_t now_ms,
                    struct history_point out[static HISTORY_POINTS])
{
    uint64_t last = now_ms / HISTORY_STEP_MS;
    uint64_t number = last >= HISTORY_POINTS ? last - HISTORY_POINTS + 1 : 0;
    size_t count = 0;
    for (; number <= last; number++)
        if (read_place(&history->places[number % HISTORY_POINTS], number, &out[count]) &&
            out[count].at_ms <= now_ms)
            count++;
    return count;
}
