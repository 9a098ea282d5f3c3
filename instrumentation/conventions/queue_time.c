/* SPDX-License-Identifier: Apache-2.0 */
#include "instrumentation/conventions/queue_time.h"
#include "instrumentation/conventions/seen.h"
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
        const char *text = getenv("SONDE_MESSAGING_SEND_TIME");
        is = text && strcasecmp(text, "false") == 0 ? 2 : 1;
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

/* The number of the sub-key s. */
static uint64_t parse(const char *at, const char *end) {
    while (end - at >= 3) {
        const char *next = memchr(at, ';', (size_t)(end - at)), *stop = next ? next : end;
        if (at[0] == 's' && at[1] == ':') {
            uint64_t us = 0;
            size_t size = (size_t)(stop - at) - 2;
            if (size > DIGITS_MAX)
                return 0;
            for (at += 2; at < stop; at++) {
                uint32_t digit = (uint32_t)(*at - '0'), letter = (uint32_t)(*at - 'a');
                if (digit > 9 && letter > 5)
                    return 0;
                us = us << 4 | (digit <= 9 ? digit : letter + 10);
            }
            return us;
        }
        at = next ? next + 1 : end;
    }
    return 0;
}

uint64_t sonde__queue_time_take(struct sonde_context *context) {
    struct sonde_string value;
    const char *list = context->tracestate;
    uint32_t length = context->tracestate_length;
    if (length <= KEY_SIZE)
        return 0;
    if (memcmp(list, KEY "=", KEY_SIZE + 1) == 0 && !memchr(list, ',', length)) { /* the usual list: ours alone */
        context->tracestate_length = 0;
        return parse(list + KEY_SIZE + 1, list + length);
    }
    if (!sonde_tracestate_get(context, KEY, KEY_SIZE, &value))
        return 0;
    uint64_t us = parse(value.data, value.data + value.size);
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
