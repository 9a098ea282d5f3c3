/* SPDX-License-Identifier: Apache-2.0 */
/* Google Cloud: x-cloud-trace-context: 32 hex digits "/" span id in decimal [";o=" 0 or 1]. No o: not decided yet.
 * Source: cloud.google.com/trace/docs/trace-context; GoogleCloudPlatform/opentelemetry-operations-go, propagator. */
#include "instrumentation/propagation/number.h"
#include "instrumentation/propagation/propagator.h"

enum { SPAN_ID_AT = 33, VALUE_SIZE_MAX = 128 };

enum sonde_extract_reason sonde__gcloud_read(const char *text, size_t size, struct sonde_span_context *ret_span) {
    struct sonde_span_context span = {.is_remote = 1, .decision = SONDE_DECISION_DEFER};
    uint64_t high, low, id;
    if (size <= SPAN_ID_AT || size > VALUE_SIZE_MAX || text[SPAN_ID_AT - 1] != '/')
        return SONDE_EXTRACT_FIELDS;
    if (!sonde__hex_read8(text, &high) || !sonde__hex_read8(text + 16, &low))
        return SONDE_EXTRACT_HEX;
    const char *options = memchr(text + SPAN_ID_AT, ';', size - SPAN_ID_AT);
    size_t id_size = (options ? (size_t)(options - text) : size) - SPAN_ID_AT;
    int bad = sonde__decimal_read(text + SPAN_ID_AT, id_size, &id);
    if (bad)
        return bad == 1 ? SONDE_EXTRACT_FIELDS : SONDE_EXTRACT_RANGE;
    if (options) {
        size_t options_size = size - SPAN_ID_AT - id_size;
        if (options_size != 4 || options[1] != 'o' || options[2] != '=' || options[3] < '0' || options[3] > '9')
            return SONDE_EXTRACT_SAMPLED;
        span.decision = SONDE_DECISION_NONE;
        span.flags = options[3] == '1' ? SONDE_TRACE_FLAG_SAMPLED : 0;
    }
    if ((high | low) == 0 || id == 0)
        return SONDE_EXTRACT_ZERO_ID;
    memcpy(span.trace_id, &high, 8);
    memcpy(span.trace_id + 8, &low, 8);
    sonde__id_store(span.span_id, id);
    *ret_span = span;
    return SONDE_EXTRACT_OK;
}

size_t sonde__gcloud_write(const struct sonde_span_context *span, char ret_text[SONDE__GCLOUD_SIZE]) {
    if (!sonde_span_context_is_valid(span))
        return 0;
    sonde__hex_write8(span->trace_id, ret_text);
    sonde__hex_write8(span->trace_id + 8, ret_text + 16);
    ret_text[SPAN_ID_AT - 1] = '/';
    size_t size = SPAN_ID_AT + sonde__decimal_write(sonde__id_number(span->span_id), ret_text + SPAN_ID_AT);
    if (span->decision == SONDE_DECISION_DEFER)
        return size;
    memcpy(ret_text + size, ";o=", 3);
    ret_text[size + 3] = span->flags & SONDE_TRACE_FLAG_SAMPLED ? '1' : '0';
    return size + 4;
}

static int gcloud_inject(const struct sonde_context *context, const struct sonde_carrier *carrier) {
    char text[SONDE__GCLOUD_SIZE];
    size_t size = sonde__gcloud_write(&context->span, text);
    return size ? sonde__carrier_set(carrier, SONDE__FIELD_GCLOUD, text, size) : 0;
}

static enum sonde_extract_reason gcloud_extract(const struct sonde__source *source, struct sonde_context *context) {
    struct sonde_span_context span;
    struct sonde_string text;
    if (!sonde__source_get(source, SONDE__FIELD_GCLOUD, &text))
        return SONDE_EXTRACT_ABSENT;
    enum sonde_extract_reason reason = sonde__gcloud_read(text.data, text.size, &span);
    if (reason == SONDE_EXTRACT_OK)
        sonde__context_found(context, &span);
    return reason;
}

const struct sonde__propagator sonde__propagator_gcloud = {
    .name = "gcloud",
    .summary = "Google Cloud: x-cloud-trace-context",
    .reads = SONDE__FIELD_BIT(SONDE__FIELD_GCLOUD),
    .writes = SONDE__FIELD_BIT(SONDE__FIELD_GCLOUD),
    .inject = gcloud_inject,
    .extract = gcloud_extract,
};
