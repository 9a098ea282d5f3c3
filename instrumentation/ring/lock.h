/* SPDX-License-Identifier: Apache-2.0 */
/* A lock for cold paths that survives fork(): the word holds the owner's process id, so a child that inherits a lock
 * held by a thread which does not exist there simply takes it. (A pthread mutex would stay locked for ever.)
 * Not for signal handlers. An all-zero lock is free. */
#ifndef SONDE_RING_LOCK_H
#define SONDE_RING_LOCK_H

#include <stdatomic.h>
#include <stdint.h>

struct sonde__lock {
    _Atomic uint32_t word; /* 0 free; owner's pid, and SONDE__LOCK_WAITERS when somebody sleeps */
};
#define SONDE__LOCK_WAITERS 0x80000000u

void sonde__lock_take(struct sonde__lock *lock);
void sonde__lock_release(struct sonde__lock *lock);

/** Sleeps while *word == value, up to timeout_ms (UINT32_MAX = no limit). May return early. */
void sonde__futex_wait(_Atomic uint32_t *word, uint32_t value, uint32_t timeout_ms);
/** Wakes up to `count` sleepers. */
void sonde__futex_wake(_Atomic uint32_t *word, int count);

#endif
