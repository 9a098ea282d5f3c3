/* SPDX-License-Identifier: Apache-2.0 */
/* The small shared parts; see shop.h. */
#include "shop.h"
#include <signal.h>
#include <stdlib.h>
#include <time.h>

const char *shop_env(const char *name, const char *fallback) {
    const char *value = getenv(name);
    return value && value[0] ? value : fallback;
}

double shop_env_number(const char *name, double fallback) {
    const char *value = getenv(name);
    char *end = NULL;
    double number = value ? strtod(value, &end) : 0;
    return value && end != value ? number : fallback;
}

static void stop_signals(sigset_t *ret_set) {
    sigemptyset(ret_set);
    sigaddset(ret_set, SIGTERM);
    sigaddset(ret_set, SIGINT);
}

void shop_stop_prepare(void) {
    sigset_t set;
    stop_signals(&set);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
}

void shop_stop_wait(void) {
    sigset_t set;
    int signal_number = 0;
    stop_signals(&set);
    (void)sigwait(&set, &signal_number);
}

bool shop_stop_requested(int timeout_ms) {
    sigset_t set;
    stop_signals(&set);
    struct timespec timeout = {timeout_ms / 1000, (long)(timeout_ms % 1000) * 1000000L};
    return sigtimedwait(&set, NULL, &timeout) > 0;
}

double shop_seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

void shop_span_fail(struct sonde_span *span, const char *type, const char *message) {
    sonde_span_record_exception(span, type, message, NULL);
    sonde_span_set_cstr(span, SONDE_KEY("error.type"), type);
    sonde_span_set_status(span, SONDE_STATUS_ERROR, message);
}
