/* SPDX-License-Identifier: Apache-2.0 */
/* Google Cloud: x-cloud-trace-context: 32 hex digits "/" span id in decimal [";o=" 0 or 1]. No o: not decided yet.
 * Source: cloud.google.com/trace/docs/trace-context; GoogleCloudPlatform/opentelemetry-operations-go, propagator. */
#include "instrumentation/propagation/number.h"
#include "instrumentation/propagation/propagator.h"
#include "instrumentation/propagation/stale.h"

enum { SPAN_ID_AT = 33, VALUE_SIZE_MAX = 128 };

static inline enum sonde_extract_reason read_value(const char *text, size_t size, struct sonde__ids *ids) {
    ids->state = SONDE__STATE_REMOTE | SONDE__STATE_DECISION(SONDE_DECISION_DEFER);
    if (size <= SPAN_ID_AT || size > VALUE_SIZE_MAX || text[SPAN_ID_AT - 1] != '/')
        return SONDE_EXTRACT_FIELDS;
    bool hex = sonde__hex_read8(text, &ids->high);
    hex &= sonde__hex_read8(text + 16, &ids->low);
    if (!hex)
        return SONDE_EXTRACT_HEX;
    size_t id_size = size - SPAN_ID_AT;
    if (id_size > 4 && text[size - 4] == ';') /* the usual ";o=1" */
        id_size -= 4;
    else if (memchr(text + SPAN_ID_AT, ';', id_size))
        return SONDE_EXTRACT_SAMPLED;
    const char *options = text + SPAN_ID_AT + id_size;
    int bad = sonde__decimal_read(text + SPAN_ID_AT, id_size, &ids->span);
    if (bad)
        return bad == 1 ? SONDE_EXTRACT_FIELDS : SONDE_EXTRACT_RANGE;
    if (options < text + size) {
        if (options[1] != 'o' || options[2] != '=' || options[3] < '0' || options[3] > '9')
            return SONDE_EXTRACT_SAMPLED;
        ids->state = SONDE__STATE_REMOTE | (options[3] == '1' ? SONDE_TRACE_FLAG_SAMPLED : 0);
    }
    if ((ids->high | ids->low) == 0 || ids->span == 0)
        return SONDE_EXTRACT_ZERO_ID;
    ids->span = __builtin_bswap64(ids->span);
    return SONDE_EXTRACT_OK;
}

enum sonde_extract_reason sonde__gcloud_read(const char *text, size_t size, struct sonde_span_context *ret_span) {
    struct sonde__ids ids;
    enum sonde_extract_reason reason = read_value(text, size, &ids);
    if (reason == SONDE_EXTRACT_OK)
        sonde__ids_store(ret_span, &ids);
    return reason;
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
    if (!size)
        return 0;
    sonde__stale_remove_canonical(SONDE__FIELD_BIT(SONDE__FIELD_GCLOUD), carrier);
    return sonde__carrier_set(carrier, SONDE__FIELD_GCLOUD, text, size);
}

static enum sonde_extract_reason gcloud_extract(const struct sonde__source *source, struct sonde_context *context) {
    struct sonde__ids ids;
    struct sonde_string text;
    if (!sonde__source_get(source, SONDE__FIELD_GCLOUD, &text) &&
        !sonde__source_ask_canonical(source, SONDE__FIELD_GCLOUD, &text))
        return SONDE_EXTRACT_ABSENT;
    enum sonde_extract_reason reason = read_value(text.data, text.size, &ids);
    if (reason == SONDE_EXTRACT_OK)
        sonde__context_found(context, &ids);
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
