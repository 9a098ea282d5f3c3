/* SPDX-License-Identifier: Apache-2.0 */
/* What a circuit breaker is in memory: two pages, without pointers, so that it can lie where the agent reads it too.
 * Every word is changed by compare-and-swap or fetch-and-add; there is no lock.
 *
 *   state    state 3 | epoch 29 | admitted 32: one word, so that each change of state has one winner, and so that of the
 *            permits of HALF_OPEN never one too many is given. The epoch counts changes of state.
 *   times    of the epoch, in two slots by its parity, each tagged with it; written by who changed the state, right
 *            behind the change. Who finds a deadline missing writes one.
 *   window   of the epoch: a word of totals tagged with it, and a ring of outcomes; or slices of a second, each word
 *            tagged with epoch and second. What is tagged otherwise is empty, so that nothing needs clearing; who comes
 *            late finds another tag and counts nothing. */
#ifndef SONDE_RESILIENCE_BREAKER_CELL_H
#define SONDE_RESILIENCE_BREAKER_CELL_H

#include "instrumentation/ring/layout.h"
#include <sonde/limits.h>
#include <sonde/resilience/breaker.h>
#include <stdatomic.h>

#define SONDE__BREAKER_NAME_SIZE_MAX 127u
#define SONDE__BREAKER_SLICES        64u /* window_seconds + 1 at least, a power of two */

/* state word */
#define SONDE__BREAKER_STATE(word)    ((enum sonde_breaker_state)((word)&7u))
#define SONDE__BREAKER_EPOCH(word)    ((uint32_t)((word) >> 3) & 0x1FFFFFFFu)
#define SONDE__BREAKER_ADMITTED(word) ((uint32_t)((word) >> 32))
static inline uint64_t sonde__breaker_word(enum sonde_breaker_state state, uint32_t epoch, uint32_t admitted) {
    return (uint64_t)state | (uint64_t)(epoch & 0x1FFFFFFFu) << 3 | (uint64_t)admitted << 32;
}

/* window word: head 23 | epoch 8 | calls 11 | failures 11 | slow 11; the head counts up and off the top */
#define SONDE__WINDOW_SLOW_AT         0
#define SONDE__WINDOW_FAILURES_AT     11
#define SONDE__WINDOW_CALLS_AT        22
#define SONDE__WINDOW_EPOCH_AT        33
#define SONDE__WINDOW_HEAD_AT         41
#define SONDE__WINDOW_COUNT(word, at) ((uint32_t)((word) >> (at)) & 0x7FFu)

/* a time: tag 16 (of the epoch) | microseconds 48 of the breaker's clock */
#define SONDE__TIME_TAG(word) ((uint16_t)((word) >> 48))
#define SONDE__TIME_US(word)  ((word)&SONDE__TIME_US_MAX)
#define SONDE__TIME_US_MAX    UINT64_C(0xFFFFFFFFFFFF)
static inline uint64_t sonde__breaker_time_word(uint32_t epoch, uint64_t us) {
    return (uint64_t)(uint16_t)epoch << 48 | SONDE__TIME_US(us);
}
/** From one time to another, which may have gone round; 0 when that lies before. */
static inline uint64_t sonde__breaker_us_between(uint64_t from_us, uint64_t to_us) {
    uint64_t us = SONDE__TIME_US(to_us - from_us);
    return us <= SONDE__TIME_US_MAX / 2 ? us : 0;
}

enum sonde__breaker_maker {
    SONDE__BREAKER_OURS = 1,
    SONDE__BREAKER_FOREIGN, /* another library's: only name and state are true */
};

struct sonde__breaker_slice {
    _Atomic uint64_t calls, failures, slow; /* tag 32 (epoch 14, turn 18) | count 32 */
};

struct sonde__breaker_cell {
    /* read by every call, changed seldom */
    _Atomic uint64_t state;
    _Atomic uint32_t is_made; /* enum sonde__breaker_maker; 0 until all below is there */
    uint32_t window_calls, window_seconds, minimum_calls, probes, consecutive_failures;
    double failure_rate, slow_call_rate;
    uint64_t slow_call_ns;
    uint32_t has_clock;            /* times are its own clock's: nobody else can compare */
    uint32_t is_half_open_bounded; /* by half_open_max_ns, permits or not */
    /* changed by every call */
    _Alignas(64) _Atomic uint64_t window;
    _Atomic uint32_t consecutive; /* epoch 8 | failures in a row 24 */
    _Atomic uint32_t bad_second;  /* low 32 bits of when a failure or slow call was last seen; time window */
    /* changed with the state */
    _Alignas(64) _Atomic uint64_t deadline[2], entered[2]; /* by epoch & 1 */
    _Atomic uint64_t state_ns[SONDE_BREAKER_STATE_COUNT];  /* time in each state, without the current stay */
    _Atomic uint32_t opens;      /* in a row, without a CLOSED in between; FORCED_OPEN is one */
    _Atomic uint32_t told_epoch; /* METRICS_ONLY: epoch + 1 in which it was told */
    uint64_t wait_ns, wait_max_ns, half_open_max_ns;
    double wait_factor;
    uint32_t name_size;
    char name[SONDE__BREAKER_NAME_SIZE_MAX + 1];
    _Alignas(64) struct sonde__breaker_slice slices[SONDE__BREAKER_SLICES];
    _Alignas(64) _Atomic uint32_t ring[SONDE_BREAKER_WINDOW_CALLS_MAX]; /* epoch 29 | outcome 3 */
};
_Static_assert(sizeof(struct sonde__breaker_cell) <= SONDE__BREAKER_CELL_SIZE, "two pages");

/** How many calls decide: no more than the window, or the round of HALF_OPEN, can hold. */
static inline uint32_t sonde__breaker_least(const struct sonde__breaker_cell *cell, bool half_open) {
    uint32_t size = half_open ? cell->probes : cell->window_seconds ? UINT32_MAX : cell->window_calls;
    return cell->minimum_calls < size ? cell->minimum_calls : size;
}

/* Totals of a window. */
struct sonde__breaker_totals {
    uint32_t calls, failures, slow;
};

/* Bits of an outcome in a window. */
enum { SONDE__CALL_FAILED = 1, SONDE__CALL_SLOW = 2 };

/** Adds an outcome to the window of an epoch (which is cleared when it held an older one's).
 *  size        of the count window, 1..SONDE_BREAKER_WINDOW_CALLS_MAX; 0 = the time window.
 *  now_us      of the breaker's clock; time window only.
 *  ret_totals  after it.
 *  Returns true when the totals may reach a threshold now that they did not before. */
bool sonde__breaker_window_add(struct sonde__breaker_cell *cell, uint32_t epoch, uint32_t size, unsigned call,
                               uint64_t now_us, struct sonde__breaker_totals *ret_totals);
/** Adds an outcome to the round of HALF_OPEN: as many as there are probes, none of which leaves. False: late. */
bool sonde__breaker_round_add(struct sonde__breaker_cell *cell, uint32_t epoch, unsigned call,
                              struct sonde__breaker_totals *ret_totals);
/** An epoch begins: its window is empty. */
void sonde__breaker_window_begin(struct sonde__breaker_cell *cell, uint32_t epoch);
/** Totals as they are; all zero when the window holds nothing of the epoch. Also for the agent's copies of a cell. */
void sonde__breaker_window_totals(const struct sonde__breaker_cell *cell, uint32_t epoch, bool by_time, uint64_t now_us,
                                  struct sonde__breaker_totals *ret_totals);
/** Counts failures in a row of an epoch: one more, or none. Returns them. */
uint32_t sonde__breaker_consecutive(struct sonde__breaker_cell *cell, uint32_t epoch, bool failed);

#endif
