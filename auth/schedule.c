/* The arithmetic of refusals' times (threats 45 and 46). Called by the pool for verdicts of PAM
 * and by login.c for refusals of Postern's own. Keeps no state and reads no clock. */
#include "auth/schedule.h"

/* The least multiple of `unit` that is not below `amount`, and not zero. */
static uint64_t round_up(uint64_t amount, uint64_t unit)
{
    return amount > unit ? (amount + unit - 1) / unit * unit : unit;
}

struct auth_schedule auth_schedule_make(uint32_t failure_delay_ms)
{
    uint32_t quantum_ms = failure_delay_ms / 4;
    while (quantum_ms > AUTH_QUANTUM_LIMIT_MS)
        quantum_ms /= 2;
    return (struct auth_schedule){failure_delay_ms, quantum_ms, failure_delay_ms};
}

void auth_schedule_wish(struct auth_schedule *schedule, uint32_t wished_ms)
{
    uint32_t step_ms = schedule->step_ms > 0 ? schedule->step_ms : AUTH_WISH_STEP_MS;
    uint64_t sure_ms = (uint64_t)wished_ms * 2 / 3;
    if (sure_ms > schedule->delay_ms)
        schedule->delay_ms = (uint32_t)round_up(sure_ms, step_ms);
}

void auth_schedule_took(struct auth_schedule *schedule, uint64_t taken_ms)
{
    while (schedule->quantum_ms > 0 && taken_ms > schedule->quantum_ms &&
           schedule->quantum_ms <= schedule->step_ms / 2)
        schedule->quantum_ms *= 2;
}

uint64_t auth_schedule_settled_ms(const struct auth_schedule *schedule, uint64_t asked_ms,
                                  uint64_t decided_ms)
{
    uint64_t taken_ms = decided_ms > asked_ms ? decided_ms - asked_ms : 0;
    if (schedule->quantum_ms == 0)
        return asked_ms + taken_ms;
    return asked_ms + round_up(taken_ms, schedule->quantum_ms);
}

/*
 * Logins of one address that came together are settled at multiples of the quantum, each a
 * little late. Half a quantum more keeps those instants away from the end of a delay, where a
 * millisecond would decide between this delay and the next.
 */
uint64_t auth_schedule_due_ms(const struct auth_schedule *schedule, uint64_t submitted_ms,
                              uint64_t settled_ms)
{
    uint64_t waited_ms = settled_ms > submitted_ms ? settled_ms - submitted_ms : 0;
    if (schedule->delay_ms == 0)
        return submitted_ms + waited_ms;
    return submitted_ms + round_up(waited_ms + schedule->quantum_ms / 2, schedule->delay_ms);
}
