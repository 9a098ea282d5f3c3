/* SPDX-License-Identifier: Apache-2.0 */
/* Wall-clock time from a calibrated tick counter. Ticks are used only when the kernel's own clock source is tsc
 * (x86-64); elsewhere a "tick" is a nanosecond of clock_gettime(CLOCK_REALTIME).
 * Calibration: the narrowest of 16 (tick, realtime, tick) brackets, at first use and again whenever the last one is
 * older than a second of ticks; whoever notices does it (no thread sleeps for it). Readers use a seqlock. */
#ifndef SONDE_CONTEXT_CLOCK_H
#define SONDE_CONTEXT_CLOCK_H

#include <stdint.h>

/** Ticks now, and the wall time (ns since 1970) they stand for; durations: start + sonde__clock_duration(ticks). */
uint64_t sonde__clock_now(uint64_t *ret_ticks);
/** Nanoseconds between two tick readings, never negative. */
uint64_t sonde__clock_duration(uint64_t start_ticks, uint64_t end_ticks);
/** Ticks only. */
uint64_t sonde__clock_ticks(void);
/** True when the tick counter is used; benchmarks say so. */
int sonde__clock_is_tsc(void);

#endif
