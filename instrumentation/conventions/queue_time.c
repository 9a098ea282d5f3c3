/* SPDX-License-Identifier: Apache-2.0 */
#include "instrumentation/conventions/queue_time.h"
#include "instrumentation/conventions/seen.h"
#include "instrumentation/propagation/hex.h"
#include "instrumentation/resource/environment.h"
#include <sonde/propagation.h>
#include <stdlib.h>
#include <strings.h>

#define KEY        "sonde"
#define KEY_SIZE   5u
#define DIGITS_MAX 15u /* 2^60 us: beyond any date, below any overflow */

static uint64_t now_us(void) {
    uint64_t ticks;
    return sonde__clock_now(&ticks) / 1000;
}

bool sonde__queue_time_is_wanted(void) {
    static _Atomic uint8_t known; /* 1 = yes, 2 = no */
    uint8_t is = atomic_load_explicit(&known, memory_order_relaxed);
    if (__builtin_expect(!is, 0)) {
        const char *text = sonde__environment_text("SONDE_MESSAGING_SEND_TIME");
        is = text && strcasecmp(text, "false") == 0 ? 2 : 1;
        if (text && is == 1 && strcasecmp(text, "true") != 0)
            sonde__environment_refused("SONDE_MESSAGING_SEND_TIME", text, "true, false");
        atomic_store_explicit(&known, is, memory_order_relaxed);
    }
    return is == 1;
}

void sonde__queue_time_put(struct sonde_context *context) {
    char value[2 + 16], *at = value + sizeof value;
    uint64_t us = now_us();
    do
        *--at = "0123456789abcdef"[us & 15];
    while ((us >>= 4) != 0);
    *--at = ':';
    *--at = 's';
    (void)sonde_tracestate_set(context, KEY, KEY_SIZE, at, (size_t)(value + sizeof value - at)); /* always valid */
}

/* 0 when it is no number, or a longer one than there can be. Before it stand at least eight bytes of the list. */
static uint64_t number(const char *at, size_t size) {
    uint64_t value = 0;
    if (size > DIGITS_MAX)
        return 0;
    if (size >= 8)
        return sonde__hex_tail(at + size, size, &value) ? value : 0;
    return size && sonde__hex_tail_plain(at + size, size, &value) ? value : 0;
}

/* The number of the sub-key s. */
static uint64_t parse(const char *at, const char *end) {
    while (end - at >= 3) {
        const char *next = memchr(at, ';', (size_t)(end - at)), *stop = next ? next : end;
        if (at[0] == 's' && at[1] == ':')
            return number(at + 2, (size_t)(stop - at) - 2);
        at = next ? next + 1 : end;
    }
    return 0;
}

bool sonde__queue_time_is_all(const struct sonde_context *context, uint64_t *ret_us) {
    const char *list = context->tracestate;
    uint32_t length = context->tracestate_length;
    *ret_us = 0;
    if (length == 0)
        return true;
    if (length <= KEY_SIZE + 3 || length > SONDE_TRACESTATE_SIZE_MAX || memcmp(list, KEY "=s:", KEY_SIZE + 3) != 0)
        return false;
    *ret_us = number(list + KEY_SIZE + 3, length - KEY_SIZE - 3); /* to the end: nothing else is there */
    return *ret_us != 0;
}

uint64_t sonde__queue_time_take(struct sonde_context *context) {
    struct sonde_string value;
    uint64_t us;
    if (sonde__queue_time_is_all(context, &us)) {
        context->tracestate_length = 0;
        return us;
    }
    if (!sonde_tracestate_get(context, KEY, KEY_SIZE, &value))
        return 0;
    us = parse(value.data, value.data + value.size);
    sonde_tracestate_remove(context, KEY, KEY_SIZE);
    return us;
}

void sonde__queue_time_measure(struct sonde__queue_time *queue, uint64_t sent_us, const struct sonde__set *set) {
    if (!queue->now_us) {
        queue->now_us = now_us();
        queue->time = sonde__series_of(SONDE__METRIC_QUEUE_TIME, set);
    }
    if (sent_us > queue->now_us) {
        queue->skewed++;
        sent_us = queue->now_us;
    }
    sonde_histogram_record(queue->time, (double)(queue->now_us - sent_us) * 1e-6);
}

void sonde__queue_time_finish(const struct sonde__queue_time *queue, const struct sonde__set *set) {
    if (queue->skewed)
        sonde_counter_add(sonde__series_of(SONDE__METRIC_QUEUE_TIME_SKEWED, set), queue->skewed);
}
