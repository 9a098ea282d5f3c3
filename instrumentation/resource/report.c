/* SPDX-License-Identifier: Apache-2.0 */
/* The one way the library says anything: the user's hook. Without one it is silent, unless OTEL_LOG_LEVEL is set. */
#include "instrumentation/resource/report.h"

#include <stdarg.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define REPORTS_PER_SECOND 10u

static _Atomic(sonde_report_fn) hook;
static void *_Atomic hook_user;
static _Atomic uint32_t reported_level;
static _Atomic bool prints;

void sonde__report_to(sonde_report_fn report, void *user) {
    atomic_store_explicit(&hook_user, user, memory_order_relaxed);
    atomic_store_explicit(&hook, report, memory_order_release);
}

/* One word holds the second and how many reports it had. */
static bool within_rate(void) {
    static _Atomic uint64_t window;
    struct timespec now = {0};
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    uint64_t seen = atomic_load_explicit(&window, memory_order_relaxed), next;
    do {
        uint64_t second = (uint64_t)now.tv_sec << 8;
        next = (seen & ~(uint64_t)0xFF) == second ? seen + 1u : second + 1u;
        if ((next & 0xFF) > REPORTS_PER_SECOND)
            return false;
    } while (!atomic_compare_exchange_weak(&window, &seen, next));
    return true;
}

void sonde__report_level(uint32_t level, bool to_stderr) {
    atomic_store_explicit(&reported_level, level, memory_order_relaxed);
    atomic_store_explicit(&prints, to_stderr, memory_order_relaxed);
}

/* One write for one line, so that those of several processes do not mix; a full or closed pipe is not our business. */
static void print(const char *message) {
    char line[300];
    int size = snprintf(line, sizeof line, "sonde: %s\n", message);
    if (size > 0)
        (void)!write(STDERR_FILENO, line, (size_t)size);
}

/* Messages may hold what somebody set: a terminal obeys. */
static void sanitize(char *message) {
    for (; *message; message++)
        if ((unsigned char)*message < 0x20 || *message == 0x7F)
            *message = '?';
}

static __attribute__((format(printf, 1, 0))) void tell(const char *format, va_list arguments) {
    sonde_report_fn report = atomic_load_explicit(&hook, memory_order_acquire);
    if ((!report && !atomic_load_explicit(&prints, memory_order_relaxed)) || !within_rate())
        return;
    char message[256];
    (void)vsnprintf(message, sizeof message, format, arguments);
    sanitize(message);
    if (report)
        report(atomic_load_explicit(&hook_user, memory_order_relaxed), message);
    else
        print(message);
}

void sonde__report(const char *format, ...) {
    uint32_t level = atomic_load_explicit(&reported_level, memory_order_relaxed);
    va_list arguments;
    va_start(arguments, format);
    if (level != SONDE__LEVEL_NONE && level != SONDE__LEVEL_ERROR)
        tell(format, arguments);
    va_end(arguments);
}

void sonde__report_info(const char *format, ...) {
    uint32_t level = atomic_load_explicit(&reported_level, memory_order_relaxed);
    va_list arguments;
    va_start(arguments, format);
    if (level == SONDE__LEVEL_INFO || level == SONDE__LEVEL_DEBUG)
        tell(format, arguments);
    va_end(arguments);
}
