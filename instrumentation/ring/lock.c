/* SPDX-License-Identifier: Apache-2.0 */
#include "instrumentation/ring/lock.h"

#include <limits.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* As in <linux/futex.h>, which is not there beside every C library. */
#ifndef FUTEX_WAIT_PRIVATE
#define FUTEX_WAIT_PRIVATE (0 | 128)
#define FUTEX_WAKE_PRIVATE (1 | 128)
#endif

void sonde__futex_wait(_Atomic uint32_t *word, uint32_t value, uint32_t timeout_ms) {
    struct timespec limit = {.tv_sec = (time_t)(timeout_ms / 1000u), .tv_nsec = (long)(timeout_ms % 1000u) * 1000000L};
    (void)syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, timeout_ms == UINT32_MAX ? NULL : &limit, NULL, 0);
}

void sonde__futex_wake(_Atomic uint32_t *word, int count) {
    (void)syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, count, NULL, NULL, 0);
}

void sonde__lock_take(struct sonde__lock *lock) {
    const uint32_t self = (uint32_t)getpid();
    uint32_t mark = 0; /* once we slept others may sleep too, so the release must wake */
    for (;;) {
        uint32_t word = 0;
        if (atomic_compare_exchange_strong_explicit(&lock->word, &word, self | mark, memory_order_acquire,
                                                    memory_order_relaxed))
            return;
        if ((word & ~SONDE__LOCK_WAITERS) != self) { /* the owner stayed behind in the parent */
            if (atomic_compare_exchange_strong_explicit(&lock->word, &word, self | mark, memory_order_acquire,
                                                        memory_order_relaxed))
                return;
            continue;
        }
        if (!(word & SONDE__LOCK_WAITERS) &&
            !atomic_compare_exchange_strong_explicit(&lock->word, &word, word | SONDE__LOCK_WAITERS,
                                                     memory_order_relaxed, memory_order_relaxed))
            continue;
        mark = SONDE__LOCK_WAITERS;
        sonde__futex_wait(&lock->word, self | SONDE__LOCK_WAITERS, UINT32_MAX);
    }
}

void sonde__lock_release(struct sonde__lock *lock) {
    uint32_t word = atomic_exchange_explicit(&lock->word, 0, memory_order_release);
    if (word & SONDE__LOCK_WAITERS)
        sonde__futex_wake(&lock->word, 1);
}
