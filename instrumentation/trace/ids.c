/* SPDX-License-Identifier: Apache-2.0 */
#include "instrumentation/trace/ids.h"

#include "instrumentation/context/clock.h"
#include "instrumentation/ring/fd.h"
#include <string.h>
#include <sys/random.h>

static void draw_trace_id(struct sonde__thread *thread, uint64_t ret_id[2]) {
    if (SONDE__UNLIKELY(!thread->trace_salt) &&
        (getrandom(&thread->trace_salt, sizeof thread->trace_salt, GRND_NONBLOCK) < 0 || !thread->trace_salt))
        thread->trace_salt = sonde__thread_draw(thread) | 1;
    ret_id[0] = sonde__thread_draw(thread) ^ thread->trace_salt;
    ret_id[1] = sonde__thread_draw(thread);
    if (!(ret_id[0] | ret_id[1]))
        ret_id[1] = 1;
}

bool sonde__trace_id_make(struct sonde__thread *thread, uint64_t ret_id[2]) {
    const struct sonde_id_generator *generator = &sonde__settings.id_generator;
    if (SONDE__LIKELY(!generator->trace_id)) {
        draw_trace_id(thread, ret_id);
        return true;
    }
    uint8_t id[16] = {0};
    generator->trace_id(generator->user, id);
    memcpy(ret_id, id, sizeof id);
    if (ret_id[0] | ret_id[1])
        return generator->random;
    sonde__id_replaced_count();
    draw_trace_id(thread, ret_id);
    return true;
}

uint64_t sonde__span_id_make(struct sonde__thread *thread) {
    const struct sonde_id_generator *generator = &sonde__settings.id_generator;
    if (SONDE__LIKELY(!generator->span_id))
        return sonde__thread_draw_span_id(thread);
    uint8_t bytes[8] = {0};
    uint64_t id;
    generator->span_id(generator->user, bytes);
    memcpy(&id, bytes, sizeof id);
    if (id)
        return id;
    sonde__id_replaced_count();
    return sonde__thread_draw_span_id(thread);
}

/* Inside the library there is a thread to draw from; a caller of its own may be anywhere. */
static void xray_trace_id(void *user, uint8_t ret_id[16]) {
    struct sonde__thread *thread = sonde__thread_self;
    uint64_t ticks, id[2];
    (void)user;
    if (thread && thread->busy)
        draw_trace_id(thread, id);
    else
        sonde__random_fill(id, sizeof id);
    uint32_t seconds = __builtin_bswap32((uint32_t)(sonde__clock_now(&ticks) / 1000000000u));
    memcpy(ret_id, id, sizeof id);
    memcpy(ret_id, &seconds, sizeof seconds);
}

const struct sonde_id_generator *sonde_id_generator_xray(void) {
    static const struct sonde_id_generator xray = {.size = sizeof xray, .trace_id = xray_trace_id, .random = true};
    return &xray;
}
