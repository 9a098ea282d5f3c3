/* SPDX-License-Identifier: Apache-2.0 */
/* The `baggage` propagator: W3C Baggage through a carrier. Several headers are one list. The text that came in goes out
 * as it is, but for white space and empty, bad and repeated members. A context without baggage leaves a fresh carrier
 * alone: a `baggage` header that the application wrote itself is its own. In one that was used before it is stale, and
 * goes (registry.c). Source: W3C Baggage, 3. */
#include "instrumentation/context/baggage.h"
#include "instrumentation/propagation/propagator.h"

static int baggage_inject(const struct sonde_context *context, const struct sonde_carrier *carrier) {
    uint32_t size = context->baggage_length;
    if (size == 0 || size > SONDE_BAGGAGE_SIZE_MAX)
        return 0;
    return sonde__carrier_set(carrier, SONDE__FIELD_BAGGAGE, context->baggage, size);
}

static bool visit(void *user, struct sonde_string text) {
    sonde__baggage_reader_feed(user, text.data, text.size);
    return true;
}

static enum sonde_extract_reason baggage_extract(const struct sonde__source *source, struct sonde_context *context) {
    struct sonde__baggage_reader reader;
    if (source->gathered & SONDE__FIELD_BIT(SONDE__FIELD_BAGGAGE) & ~source->present)
        return SONDE_EXTRACT_ABSENT;
    sonde__baggage_reader_init(&reader, context);
    sonde__source_each(source, SONDE__FIELD_BAGGAGE, visit, &reader);
    if (reader.partial)
        return SONDE_EXTRACT_BAGGAGE_PART;
    return reader.scanned ? SONDE_EXTRACT_BAGGAGE : SONDE_EXTRACT_ABSENT;
}

const struct sonde__propagator sonde__propagator_baggage = {
    .name = "baggage",
    .summary = "W3C Baggage: baggage",
    .reads = SONDE__FIELD_BIT(SONDE__FIELD_BAGGAGE),
    .writes = SONDE__FIELD_BIT(SONDE__FIELD_BAGGAGE),
    .inject = baggage_inject,
    .extract = baggage_extract,
};
