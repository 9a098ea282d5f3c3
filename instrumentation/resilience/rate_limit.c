/* SPDX-License-Identifier: Apache-2.0 */
#include "instrumentation/resilience/rate_limit.h"
#include "instrumentation/context/rate.h"
#include "instrumentation/resilience/clock.h"
#include "instrumentation/resilience/table.h"
#include <sonde/err.h>
#include <string.h>

static struct rate_limit {
    char name[SONDE__KIT_NAME_SIZE_MAX + 1];
    struct sonde__rate rate;
    uint64_t (*clock)(void *user);
    void *user;
    struct sonde_series rejected;
    _Alignas(64) _Atomic uint64_t word; /* the one thing that changes */
} limits[SONDE_RATE_LIMITS_MAX];
static struct sonde__kit_table table = {
    .capacity = SONDE_RATE_LIMITS_MAX, .element_size = sizeof limits[0], .elements = limits};

static void fill(void *at, const void *options) {
    struct rate_limit *limit = at;
    const struct sonde_rate_limit_options *o = options;
    const struct sonde_attribute name = sonde_attribute_string(SONDE_KEY("sonde.resilience.name"), limit->name);
    (void)sonde__rate_set(&limit->rate, o->per_second, o->burst); /* was tried before */
    limit->clock = o->clock;
    limit->user = o->user;
    limit->rejected = sonde_series_bind(sonde__resilience_instrument(SONDE__RESILIENCE_RATE_LIMIT_REJECTED), &name, 1);
}

int sonde_rate_limit_create(const struct sonde_rate_limit_options *options, struct sonde_rate_limit *ret_limit) {
    struct sonde_rate_limit_options o = SONDE_RATE_LIMIT_OPTIONS_INIT;
    struct sonde__rate rate;
    memcpy(&o, options, options->size < sizeof o ? options->size : sizeof o);
    ret_limit->index = 0;
    if (!sonde__rate_set(&rate, o.per_second, o.burst))
        return SONDE_EINVALID;
    return sonde__kit_find_or_make(&table, o.name, fill, &o, &ret_limit->index);
}

bool sonde__rate_limit_admit_at(struct sonde_rate_limit handle, uint64_t now_ns, uint64_t *ret_wait_ns) {
    struct rate_limit *limit = sonde__kit_get(&table, handle.index);
    *ret_wait_ns = 0;
    if (!limit)
        return true;
    if (limit->clock || !now_ns)
        now_ns = sonde__kit_now_by(limit->clock, limit->user);
    if (sonde__rate_take(&limit->rate, &limit->word, now_ns))
        return true;
    *ret_wait_ns = sonde__rate_wait(&limit->rate, &limit->word, now_ns);
    sonde_counter_add(limit->rejected, 1);
    return false;
}

bool sonde_rate_limit_admit(struct sonde_rate_limit limit, uint64_t *ret_wait_ns) {
    uint64_t wait_ns;
    return sonde__rate_limit_admit_at(limit, 0, ret_wait_ns ? ret_wait_ns : &wait_ns);
}
