/*
 * One secret in shared memory, and a stamp that says which period it belongs to. Made by the
 * master, read by reactors when a period begins. The stamp changes in one step, so that exactly
 * one process draws; the others wait for the moment that this takes.
 */
#include "tls/ticket_periods.h"

#include <openssl/crypto.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>

/* Longer than drawing a secret can take. A process that dies while it draws costs resumption
 * among reactors until the next period, and nothing else. */
#define TRIES 10000

struct ticket_periods {
    _Atomic uint64_t stamp; /* period << 1, and 1 while the secret is drawn; 0: none yet */
    uint8_t secret[TLS_TICKET_SECRET_SIZE];
};

struct ticket_periods *ticket_periods_new(void)
{
    void *memory = mmap(NULL, sizeof(struct ticket_periods), PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return memory == MAP_FAILED ? NULL : memory;
}

void ticket_periods_free(struct ticket_periods *periods)
{
    if (!periods)
        return;
    OPENSSL_cleanse(periods->secret, sizeof periods->secret);
    munmap(periods, sizeof *periods);
}

static bool draw(uint8_t out[static TLS_TICKET_SECRET_SIZE])
{
    return getrandom(out, TLS_TICKET_SECRET_SIZE, 0) == TLS_TICKET_SECRET_SIZE;
}

/* True also if the secret is one period ahead: this process may have read the clock a moment
 * before the one that drew it. */
static bool is_of(uint64_t stamp, uint64_t period)
{
    return stamp >> 1 == period || stamp >> 1 == period + 1;
}

/* Returns false if another process has changed the secret meanwhile. */
static bool copy(struct ticket_periods *periods, uint64_t stamp,
                 uint8_t out[static TLS_TICKET_SECRET_SIZE])
{
    memcpy(out, periods->secret, TLS_TICKET_SECRET_SIZE);
    atomic_thread_fence(memory_order_acquire);
    return atomic_load(&periods->stamp) == stamp;
}

/* Overwrites the previous secret, unless another process does. A failure leaves zeros, which no
 * process takes: the stamp goes on saying that the secret is being drawn. */
static void replace(struct ticket_periods *periods, uint64_t stamp, uint64_t period)
{
    if (!atomic_compare_exchange_strong(&periods->stamp, &stamp, period << 1 | 1))
        return;
    OPENSSL_cleanse(periods->secret, sizeof periods->secret);
    if (draw(periods->secret))
        atomic_store(&periods->stamp, period << 1);
}

bool ticket_periods_take(struct ticket_periods *periods, uint64_t period,
                         uint8_t out[static TLS_TICKET_SECRET_SIZE])
{
    for (int i = 0; i < TRIES; i++) {
        uint64_t stamp = atomic_load(&periods->stamp);
        if (!is_of(stamp, period))
            replace(periods, stamp, period);
        else if (stamp & 1)
            sched_yield();
        else if (copy(periods, stamp, out))
            return true;
    }
    (void)draw(out);
    return false;
}
