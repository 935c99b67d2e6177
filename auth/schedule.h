/*
 * When the refusal of a login is settled and when it leaves, so that neither
 * time shows what PAM said or how long it took. Pure: times come in as
 * arguments, in milliseconds of clock_now_ms().
 *
 *   submitted ── waits ── asked ── PAM's verdict ── settled ── leaves
 *       │                   └─ whole quanta ───────────┘          │
 *       └───────────────────── whole delays ──────────────────────┘
 *
 * A refusal is settled a whole number of quanta after PAM was asked: then it
 * is counted, and then the next login of its address may take its place. It
 * leaves a whole number of delays after the client asked. All verdicts that
 * come within one quantum look alike to the client, to other clients of its
 * address, and to the limits.
 */
#ifndef POSTERN_AUTH_SCHEDULE_H
#define POSTERN_AUTH_SCHEDULE_H

#include <stdint.h>

/* The quantum begins as the configured delay, halved twice and then until it is no longer than
 * this. So an odd number of half quanta is never a whole number of delays. */
#define AUTH_QUANTUM_LIMIT_MS 500u
/* The step in which wishes count where no delay is configured. */
#define AUTH_WISH_STEP_MS 1000u

struct auth_schedule {
    uint32_t step_ms;    /* the configured delay; 0: none */
    uint32_t quantum_ms; /* doubles up to the step; 0: a refusal is settled when PAM answers */
    uint32_t delay_ms; /* what refusals wait for now; a multiple of the step, and only grows */
};

struct auth_schedule auth_schedule_make(uint32_t failure_delay_ms);

/*
 * A module has wished for a delay (pam_fail_delay(3)); 0: for none. From now on every refusal
 * waits as long, in whole steps, also if its own modules wish for less. libpam lengthens or
 * shortens a wish at random by up to a half before Postern sees it. So two thirds of it count,
 * which are never more than the module wished.
 */
void auth_schedule_wish(struct auth_schedule *schedule, uint32_t wished_ms);

/* PAM has taken this long for a login. The quantum doubles until it is as long, or until it is
 * a step, and never shrinks: PAM's usual time has to fit into one, on a busy machine too. */
void auth_schedule_took(struct auth_schedule *schedule, uint64_t taken_ms);

/* When a refusal is settled that PAM was asked for at `asked_ms` and gave at `decided_ms`. */
uint64_t auth_schedule_settled_ms(const struct auth_schedule *schedule, uint64_t asked_ms,
                                  uint64_t decided_ms);

/*
 * When it leaves. A refusal for which PAM was never asked is settled when that was decided.
 * Never before settled_ms, and at least one delay after submitted_ms.
 */
uint64_t auth_schedule_due_ms(const struct auth_schedule *schedule, uint64_t submitted_ms,
                              uint64_t settled_ms);

#endif
