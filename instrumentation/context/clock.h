/* SPDX-License-Identifier: Apache-2.0 */
/* Wall-clock time from a calibrated tick counter. Ticks are used only when the kernel's own clock source is tsc
 * (x86-64); elsewhere a "tick" is a nanosecond of clock_gettime(CLOCK_REALTIME).
 * Calibration: the narrowest of 16 (tick, time, tick) brackets, at first use and again whenever the last one is
 * older than a second of ticks; whoever notices does it (no thread sleeps for it). Readers use a seqlock. Until two
 * brackets lie far enough apart to know the rate, time is clock_gettime's. */
#ifndef SONDE_CONTEXT_CLOCK_H
#define SONDE_CONTEXT_CLOCK_H

#include <stdatomic.h>
#include <stdint.h>

/* The published calibration. time = base_ns + (ticks - base_ticks) * mult / 2^32, good for period ticks round the base.
 * period is 0 while there is none, so that every reading takes the slow way. */
struct sonde__clock {
    _Atomic uint32_t sequence; /* odd while being written */
    _Atomic uint64_t mult, base_ns, base_ticks, period;
};
extern struct sonde__clock sonde__clock __attribute__((visibility("hidden")));

/* Without a good calibration: makes one, or asks the system. Fills *ret_ticks anew. */
uint64_t sonde__clock_now_slow(uint64_t *ret_ticks);
uint64_t sonde__clock_ticks_slow(void);
uint64_t sonde__clock_duration_slow(uint64_t start_ticks, uint64_t end_ticks);

static inline uint64_t sonde__clock_counter(void) {
#if defined(__x86_64__)
    return __builtin_ia32_rdtsc();
#else
    return 0;
#endif
}

/** Ticks now, and the wall time (ns since 1970) they stand for; durations: start + sonde__clock_duration(ticks). */
static inline uint64_t sonde__clock_try(uint64_t *ret_ticks);
static inline uint64_t sonde__clock_now(uint64_t *ret_ticks) {
    uint64_t now = sonde__clock_try(ret_ticks);
    return __builtin_expect(now != 0, 1) ? now : sonde__clock_now_slow(ret_ticks);
}
/** The same when there is a good calibration; 0 when there is none, and *ret_ticks is nothing then. */
static inline uint64_t sonde__clock_try(uint64_t *ret_ticks) {
    struct sonde__clock *c = &sonde__clock;
    uint64_t ticks = *ret_ticks = sonde__clock_counter();
    uint32_t sequence = atomic_load_explicit(&c->sequence, memory_order_acquire);
    uint64_t mult = atomic_load_explicit(&c->mult, memory_order_relaxed);
    uint64_t ns = atomic_load_explicit(&c->base_ns, memory_order_relaxed);
    uint64_t since = ticks - atomic_load_explicit(&c->base_ticks, memory_order_relaxed);
    uint64_t period = atomic_load_explicit(&c->period, memory_order_relaxed);
    atomic_thread_fence(memory_order_acquire);
    if (__builtin_expect(since >= period || (sequence & 1) ||
                             sequence != atomic_load_explicit(&c->sequence, memory_order_relaxed),
                         0))
        return 0;
    return ns + (uint64_t)(((unsigned __int128)since * mult) >> 32);
}
/** Ticks only, for sonde__clock_duration(). */
static inline uint64_t sonde__clock_ticks(void) {
    if (__builtin_expect(!atomic_load_explicit(&sonde__clock.period, memory_order_relaxed), 0))
        return sonde__clock_ticks_slow();
    return sonde__clock_counter();
}
/** Nanoseconds between two tick readings, never negative. */
static inline uint64_t sonde__clock_duration(uint64_t start_ticks, uint64_t end_ticks) {
    uint64_t ticks = end_ticks > start_ticks ? end_ticks - start_ticks : 0;
    uint64_t mult = atomic_load_explicit(&sonde__clock.mult, memory_order_relaxed);
    if (__builtin_expect(mult == 0, 0))
        return sonde__clock_duration_slow(start_ticks, end_ticks);
    return (uint64_t)(((unsigned __int128)ticks * mult) >> 32);
}
/** True when the tick counter is used. */
int sonde__clock_is_tsc(void);
/** True when the file at path names tsc as the kernel's clock source; a missing file says no. */
int sonde__clock_source_is_tsc(const char *path);
/** For tests: forgets the calibration and uses ticks or not from now on. */
void sonde__clock_use(int tsc);

#endif
