/* SPDX-License-Identifier: Apache-2.0 */
/* The skimmer on bytes that nobody validated: what it gives lies inside the input, and what is valid can be skimmed. */
#include "instrumentation/wire/skim.h"
#include "instrumentation/wire/validate.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint8_t *input;
static size_t input_size;

static void require(int condition) {
    if (!condition)
        abort();
}

static void inside(const uint8_t *bytes, size_t size) {
    require(!bytes || (bytes >= input && size <= input_size && bytes + size <= input + input_size));
}

static void check_values(const struct sonde__value *values, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        require(values[i].type <= SONDE__VALUE_BYTES);
        inside(values[i].data, values[i].size);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char *const names[] = {"k", "http.route", "sonde.crashed", "a.key.of.more.than.sixteen.bytes"};
    struct sonde__skim_keys keys;
    sonde__skim_keys_init(&keys);
    for (int i = 0; i < 4; i++)
        require(sonde__skim_keys_add(&keys, names[i]) == i);
    input = data;
    input_size = size;
    struct sonde__span_fields span;
    bool skimmed = sonde__span_skim(data, size, &keys, &span);
    if (skimmed) {
        inside(span.trace_id, 16);
        inside(span.span_id, 8);
        inside(span.parent_id, 8);
        inside(span.name, span.name_size);
        inside(span.tracestate, span.tracestate_size);
        check_values(span.values, keys.count);
    }
    require(skimmed || !sonde__span_is_valid(data, size));
    struct sonde__log_fields log;
    skimmed = sonde__log_skim(data, size, &keys, &log);
    if (skimmed) {
        check_values(log.values, keys.count);
        check_values(&log.body, 1);
        inside(log.event_name, log.event_name_size);
    }
    require(skimmed || !sonde__log_is_valid(data, size));
    struct sonde__value values[SONDE__SKIM_KEYS_MAX];
    if (sonde__attributes_skim(data, size, 1, &keys, values))
        check_values(values, keys.count);
    return 0;
}
