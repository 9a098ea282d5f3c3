/* SPDX-License-Identifier: Apache-2.0 */
/* The slow side of the clock: finding out what to use, and calibrating.
 * The rate comes from CLOCK_MONOTONIC, which is slewed like the wall clock but never stepped; the base from
 * CLOCK_REALTIME. A rate that jumps by more than the kernel would ever slew (a suspend, a migrated guest) is not
 * believed: two new samples are awaited, and the system's clock serves meanwhile. */
#include "instrumentation/context/clock.h"
#include <fcntl.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define CLOCKSOURCE      "/sys/devices/system/clocksource/clocksource0/current_clocksource"
#define NS_PER_S         1000000000u
/* Two samples this far apart give the rate to about 1e-6 (brackets are some 20 ns wide). */
#define FIRST_SPAN_NS    20000000u
/* The first, coarser rate is used this long only. */
#define FIRST_PERIOD_NS  100000000u
/* The kernel slews by at most 500 ppm, and corrections of an error pass 1000 ppm never. */
#define RATE_JUMP(mult)  ((mult) >> 10)
/* A calibration takes a microsecond. A lock older than so many ticks (a second or so) was left by a thread that a
 * fork() did not copy. */
#define LOCK_STALE_TICKS ((uint64_t)4000000000u)

struct sonde__clock sonde__clock;

enum { SOURCE_UNKNOWN = 0, SOURCE_SYSTEM, SOURCE_TSC };
static _Atomic int source;
static _Atomic uint64_t calibrating;                       /* lock: ticks of its taking, 0 = free */
static _Atomic uint64_t sample_ticks, sample_monotonic_ns; /* the last sample; written under the lock; 0 = none */

static uint64_t system_ns(clockid_t id) {
    struct timespec now;
    clock_gettime(id, &now);
    return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

int sonde__clock_source_is_tsc(const char *path) {
#if defined(__x86_64__)
    char name[8] = {0};
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    ssize_t size = read(fd, name, sizeof name - 1);
    close(fd);
    return size >= 3 && memcmp(name, "tsc", 3) == 0 && (name[3] == '\n' || name[3] == '\0');
#else
    (void)path;
    return 0;
#endif
}

static int source_get(void) {
    int found = atomic_load_explicit(&source, memory_order_relaxed);
    if (found == SOURCE_UNKNOWN) {
        found = sonde__clock_source_is_tsc(CLOCKSOURCE) ? SOURCE_TSC : SOURCE_SYSTEM;
        atomic_store_explicit(&source, found, memory_order_relaxed);
    }
    return found;
}

/* The narrowest of 16 brackets: what the clock said, and the ticks in the middle of it. */
static uint64_t sample(clockid_t id, uint64_t *ret_ticks) {
    uint64_t narrowest = UINT64_MAX, ns = 0;
    for (int i = 0; i < 16; i++) {
        uint64_t before = sonde__clock_counter(), now = system_ns(id), width = sonde__clock_counter() - before;
        if (width < narrowest) {
            narrowest = width;
            ns = now;
            *ret_ticks = before + width / 2;
        }
    }
    return ns;
}

static uint64_t ticks_of(uint64_t ns, uint64_t mult) {
    return (uint64_t)(((unsigned __int128)ns << 32) / mult);
}

static void publish(uint64_t mult, uint64_t period) {
    struct sonde__clock *c = &sonde__clock;
    uint64_t ticks = 0, ns = sample(CLOCK_REALTIME, &ticks);
    /* | 1: a writer that died in a fork() may have left it odd. */
    uint32_t sequence = atomic_load_explicit(&c->sequence, memory_order_relaxed) | 1;
    atomic_store_explicit(&c->sequence, sequence, memory_order_relaxed);
    atomic_thread_fence(memory_order_release); /* odd before the fields, for whoever reads a new field */
    atomic_store_explicit(&c->mult, mult, memory_order_relaxed);
    atomic_store_explicit(&c->base_ns, ns, memory_order_relaxed);
    atomic_store_explicit(&c->base_ticks, ticks, memory_order_relaxed);
    atomic_store_explicit(&c->period, period, memory_order_relaxed);
    atomic_store_explicit(&c->sequence, sequence + 1, memory_order_release);
}

/* Takes a sample and publishes the rate since the last one, when that is far enough back. Under the lock. */
static void calibrate(void) {
    if (sample_ticks && system_ns(CLOCK_MONOTONIC) - sample_monotonic_ns < FIRST_SPAN_NS)
        return;
    uint64_t ticks = 0, ns = sample(CLOCK_MONOTONIC, &ticks);
    uint64_t old_mult = atomic_load_explicit(&sonde__clock.mult, memory_order_relaxed), mult = 0;
    if (sample_ticks && ticks > sample_ticks)
        mult = (uint64_t)(((unsigned __int128)(ns - sample_monotonic_ns) << 32) / (ticks - sample_ticks));
    sample_ticks = ticks;
    sample_monotonic_ns = ns;
    if (!mult)
        return;
    uint64_t jump = mult > old_mult ? mult - old_mult : old_mult - mult;
    if (old_mult && jump > RATE_JUMP(old_mult))
        publish(0, 0);
    else
        publish(mult, ticks_of(old_mult ? NS_PER_S : FIRST_PERIOD_NS, mult));
}

/* Time by the published calibration; false when there is none that covers the ticks. */
static int read_published(uint64_t ticks, uint64_t *ret_ns) {
    struct sonde__clock *c = &sonde__clock;
    for (int i = 0; i < 100; i++) {
        uint32_t sequence = atomic_load_explicit(&c->sequence, memory_order_acquire);
        uint64_t mult = atomic_load_explicit(&c->mult, memory_order_relaxed);
        uint64_t ns = atomic_load_explicit(&c->base_ns, memory_order_relaxed);
        int64_t since = (int64_t)(ticks - atomic_load_explicit(&c->base_ticks, memory_order_relaxed));
        int64_t period = (int64_t)atomic_load_explicit(&c->period, memory_order_relaxed);
        atomic_thread_fence(memory_order_acquire);
        if ((sequence & 1) || sequence != atomic_load_explicit(&c->sequence, memory_order_relaxed))
            continue;
        if (since >= period || -since >= period) /* before the base: another core calibrated meanwhile */
            return 0;
        *ret_ns = ns + (uint64_t)(int64_t)(((__int128)since * (__int128)mult) >> 32);
        return 1;
    }
    return 0;
}

uint64_t sonde__clock_now_slow(uint64_t *ret_ticks) {
    if (source_get() == SOURCE_SYSTEM)
        return *ret_ticks = system_ns(CLOCK_REALTIME);
    uint64_t ns, ticks = *ret_ticks = sonde__clock_counter();
    if (read_published(ticks, &ns))
        return ns;
    uint64_t held = atomic_load_explicit(&calibrating, memory_order_relaxed);
    if ((!held || ticks - held > LOCK_STALE_TICKS) &&
        atomic_compare_exchange_strong_explicit(&calibrating, &held, ticks | 1, memory_order_acquire,
                                                memory_order_relaxed)) {
        calibrate();
        atomic_store_explicit(&calibrating, 0, memory_order_release);
    }
    ticks = *ret_ticks = sonde__clock_counter();
    return read_published(ticks, &ns) ? ns : system_ns(CLOCK_REALTIME);
}

/* No rate yet: that since the first sample serves, which lies before every span. */
uint64_t sonde__clock_duration_slow(uint64_t start_ticks, uint64_t end_ticks) {
    if (end_ticks <= start_ticks)
        return 0;
    if (source_get() == SOURCE_SYSTEM)
        return end_ticks - start_ticks;
    uint64_t ticks = 0, now = sample(CLOCK_MONOTONIC, &ticks), first = sample_ticks;
    if (!first || ticks <= first)
        return 0;
    return (uint64_t)((unsigned __int128)(now - sample_monotonic_ns) * (end_ticks - start_ticks) / (ticks - first));
}

uint64_t sonde__clock_ticks_slow(void) {
    return source_get() == SOURCE_TSC ? sonde__clock_counter() : system_ns(CLOCK_REALTIME);
}

int sonde__clock_is_tsc(void) {
    return source_get() == SOURCE_TSC;
}

void sonde__clock_use(int tsc) {
    atomic_store(&source, tsc ? SOURCE_TSC : SOURCE_SYSTEM);
    sample_ticks = sample_monotonic_ns = 0;
    publish(0, 0);
}
