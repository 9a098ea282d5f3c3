/* SPDX-License-Identifier: Apache-2.0 */
#include "instrumentation/conventions/origin.h"
#include "instrumentation/propagation/hex.h"

#define ROOT_SIZE 35u /* 1-8 digits-24 digits */

void sonde__origin_read(struct sonde__origin *ret_origin, const struct sonde_carrier *carrier,
                        const struct sonde_extract_options *entry) {
    struct sonde_extract_options options = SONDE_EXTRACT_OPTIONS_INIT;
    sonde_context_init(&ret_origin->link);
    if (!entry) {
        (void)sonde_extract(carrier, &ret_origin->parent);
        return;
    }
    memcpy(&options, entry, entry->size && entry->size < sizeof options ? entry->size : sizeof options);
    struct sonde_context *told = options.ret_link; /* the caller wants to know, too */
    options.size = sizeof options;
    options.ret_link = &ret_origin->link;
    (void)sonde_extract_with(carrier, &options, &ret_origin->parent);
    if (told)
        sonde_context_copy(told, &ret_origin->link);
}

/* A trace id beside a span id of zero: only X-Ray leaves that. */
static bool is_root_alone(const struct sonde_span_context *span) {
    uint64_t id[3];
    memcpy(id, span->trace_id, sizeof id);
    return (id[0] | id[1]) && !id[2];
}

static void note_root(const struct sonde_span_context *root, struct sonde_span *span) {
    char digits[32], text[ROOT_SIZE] = "1-";
    sonde__hex_write8(root->trace_id, digits);
    sonde__hex_write8(root->trace_id + 8, digits + 16);
    memcpy(text + 2, digits, 8);
    text[10] = '-';
    memcpy(text + 11, digits + 8, 24);
    sonde_span_set_string(span, SONDE_KEY("sonde.xray.root"), text, sizeof text);
}

void sonde__origin_note(const struct sonde__origin *origin, struct sonde_span *span) {
    if (sonde_span_context_is_valid(&origin->link.span)) {
        struct sonde_link link = sonde_link_to(&origin->link);
        sonde_span_add_link(span, &link);
    }
    if (is_root_alone(&origin->parent.span))
        note_root(&origin->parent.span, span);
}
