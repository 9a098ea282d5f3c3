/* SPDX-License-Identifier: Apache-2.0 */
/* OpenTracing's basic tracers: ot-tracer-traceid, -spanid, -sampled (true or false; absent: not decided), and
 * ot-baggage-<key> with plain values. The format has 64 bits of trace id: the high half is lost on the way out.
 * Source: opentracing/basictracer-go; open-telemetry/opentelemetry-go-contrib, propagators/ot. */
#include "instrumentation/context/baggage.h"
#include "instrumentation/propagation/number.h"
#include "instrumentation/propagation/propagator.h"

enum { VALUE_SIZE_MAX = 1024 };

static int inject_baggage(const struct sonde_context *context, const struct sonde_carrier *carrier) {
    char name[11 + SONDE__REST_MAX] = "ot-baggage-", value[VALUE_SIZE_MAX];
    struct sonde_baggage_entry entry;
    int first_error = 0;
    for (uint32_t at = 0; context->baggage_length && sonde_baggage_next(context, &at, &entry);) {
        size_t size = sonde_baggage_decode(entry.value, value, sizeof value);
        /* There is no coding: what a header cannot hold as it is stays here. */
        if (entry.key.size > SONDE__REST_MAX || size > sizeof value || !sonde__is_plain(value, size) ||
            !carrier->ops->set)
            continue;
        for (size_t i = 0; i < entry.key.size; i++)
            name[11 + i] = sonde__lower(entry.key.data[i]);
        int error = carrier->ops->set(carrier->self, (struct sonde_string){name, 11 + entry.key.size},
                                      (struct sonde_string){value, size});
        if (first_error == 0)
            first_error = error;
    }
    return first_error;
}

static int ot_inject(const struct sonde_context *context, const struct sonde_carrier *carrier) {
    const struct sonde_span_context *span = &context->span;
    char text[16];
    int error = 0;
    bool valid = sonde_span_context_is_valid(span);
    /* The half that goes out must be an id of its own. */
    if (valid && !sonde__id_number(span->trace_id + 8)) {
        sonde__carrier_remove(carrier, SONDE__FIELD_OT_TRACE_ID); /* of an earlier send */
    } else if (valid) {
        sonde__hex_write8(span->trace_id + 8, text);
        if ((error = sonde__carrier_set(carrier, SONDE__FIELD_OT_TRACE_ID, text, sizeof text)))
            return error;
        sonde__hex_write8(span->span_id, text);
        error = sonde__carrier_set(carrier, SONDE__FIELD_OT_SPAN_ID, text, sizeof text);
        bool sampled = span->flags & SONDE_TRACE_FLAG_SAMPLED;
        if (!error && span->decision == SONDE_DECISION_DEFER)
            sonde__carrier_remove(carrier, SONDE__FIELD_OT_SAMPLED);
        else if (!error)
            error = sonde__carrier_set(carrier, SONDE__FIELD_OT_SAMPLED, sampled ? "true" : "false", sampled ? 4 : 5);
        if (error) {
            sonde__carrier_remove(carrier, SONDE__FIELD_OT_TRACE_ID);
            return error;
        }
    }
    return inject_baggage(context, carrier);
}

static bool read_sampled(struct sonde_string text, bool *ret_sampled) {
    *ret_sampled = (text.size == 4 && memcmp(text.data, "true", 4) == 0) || (text.size == 1 && text.data[0] == '1');
    return *ret_sampled || (text.size == 5 && memcmp(text.data, "false", 5) == 0) ||
           (text.size == 1 && text.data[0] == '0');
}

static enum sonde_extract_reason read_ids(const struct sonde__source *source, struct sonde__ids *ids) {
    struct sonde_string trace_id, span_id, text;
    bool sampled;
    ids->high = 0;
    if (!sonde__source_get(source, SONDE__FIELD_OT_TRACE_ID, &trace_id) ||
        !sonde__source_get(source, SONDE__FIELD_OT_SPAN_ID, &span_id))
        return SONDE_EXTRACT_ABSENT;
    if ((trace_id.size != 16 && trace_id.size != 32) || span_id.size != 16)
        return SONDE_EXTRACT_LENGTH;
    if ((trace_id.size == 32 && !sonde__hex_read8(trace_id.data, &ids->high)) ||
        !sonde__hex_read8(trace_id.data + trace_id.size - 16, &ids->low) || !sonde__hex_read8(span_id.data, &ids->span))
        return SONDE_EXTRACT_HEX;
    if ((ids->high | ids->low) == 0 || ids->span == 0)
        return SONDE_EXTRACT_ZERO_ID;
    ids->state = SONDE__STATE_REMOTE;
    if (!sonde__source_get(source, SONDE__FIELD_OT_SAMPLED, &text))
        ids->state |= SONDE__STATE_DECISION(SONDE_DECISION_DEFER);
    else if (!read_sampled(text, &sampled))
        return SONDE_EXTRACT_SAMPLED;
    else
        ids->state |= sampled ? SONDE_TRACE_FLAG_SAMPLED : 0;
    return SONDE_EXTRACT_OK;
}

static void add_plain(void *user, struct sonde_string key, struct sonde_string value) {
    (void)sonde_baggage_set(user, key, value, SONDE__TEXT("")); /* a bad key, or no room: left out */
}

static enum sonde_extract_reason ot_extract(const struct sonde__source *source, struct sonde_context *context) {
    struct sonde__ids ids;
    uint32_t before = context->baggage_length;
    sonde__source_prefixed(source, SONDE__TEXT("ot-baggage-"), SONDE_BAGGAGE_ENTRIES_MAX, add_plain, context);
    enum sonde_extract_reason reason = read_ids(source, &ids);
    if (reason == SONDE_EXTRACT_OK)
        sonde__context_found(context, &ids);
    return reason == SONDE_EXTRACT_ABSENT && context->baggage_length != before ? SONDE_EXTRACT_BAGGAGE : reason;
}

const struct sonde__propagator sonde__propagator_ottrace = {
    .name = "ottrace",
    .summary = "OpenTracing: ot-tracer-*, ot-baggage-*; 64-bit trace ids",
    .reads = SONDE__FIELD_BIT(SONDE__FIELD_OT_TRACE_ID) | SONDE__FIELD_BIT(SONDE__FIELD_OT_SPAN_ID) |
             SONDE__FIELD_BIT(SONDE__FIELD_OT_SAMPLED),
    .writes = SONDE__FIELD_BIT(SONDE__FIELD_OT_TRACE_ID) | SONDE__FIELD_BIT(SONDE__FIELD_OT_SPAN_ID) |
              SONDE__FIELD_BIT(SONDE__FIELD_OT_SAMPLED),
    .prefix = {"ot-baggage-", 11},
    .inject = ot_inject,
    .extract = ot_extract,
};
