/* SPDX-License-Identifier: Apache-2.0 */
/* The one way the library says anything: the user's hook. Without one it is silent. */
#include "instrumentation/resource/report.h"

#include <stdarg.h>
#include <stdio.h>
#include <time.h>

#define REPORTS_PER_SECOND 10u

static _Atomic(sonde_report_fn) hook;
static void *_Atomic hook_user;

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

void sonde__report(const char *format, ...) {
    sonde_report_fn report = atomic_load_explicit(&hook, memory_order_acquire);
    if (!report || !within_rate())
        return;
    char message[256];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    report(atomic_load_explicit(&hook_user, memory_order_relaxed), message);
}
