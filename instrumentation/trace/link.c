/* SPDX-License-Identifier: Apache-2.0 */
/* Links of a span. */
#include "instrumentation/trace/slot.h"
#include "instrumentation/wire/writer.h"

/* Fields of Span.Link. Source: trace/v1/trace.proto. */
enum { LINK_TRACE_ID = 1, LINK_SPAN_ID, LINK_TRACESTATE, LINK_ATTRIBUTES, LINK_DROPPED, LINK_FLAGS };
#define TAIL_SIZE 24u /* dropped count, flags and the link's own length must not fail */

static void encode(struct sonde__writer *writer, const struct sonde_link *link) {
    const struct sonde_span_context *context = &link->context;
    uint8_t *begin = sonde__write_begin(writer, SONDE__TAG_LINK >> 3);
    sonde__write_bytes(writer, LINK_TRACE_ID, context->trace_id, 16);
    sonde__write_bytes(writer, LINK_SPAN_ID, context->span_id, 8);
    if (link->tracestate.size && link->tracestate.size <= SONDE_TRACESTATE_SIZE_MAX)
        sonde__write_string(writer, LINK_TRACESTATE, link->tracestate.data, link->tracestate.size, SIZE_MAX);
    writer->end -= TAIL_SIZE;
    size_t dropped = sonde__write_attributes(
        writer, LINK_ATTRIBUTES, link->attributes, link->attributes ? link->attribute_count : 0,
        sonde__settings.link_attribute_count_limit, sonde__settings.attribute_value_length_limit);
    writer->end += TAIL_SIZE;
    if (dropped) {
        sonde__write_uint(writer, LINK_DROPPED, dropped);
        sonde__count_attributes_dropped(dropped);
    }
    sonde__write_fixed32(writer, LINK_FLAGS,
                         context->flags | SONDE__SPAN_HAS_IS_REMOTE | (context->is_remote ? SONDE__SPAN_IS_REMOTE : 0));
    sonde__write_end(writer, begin);
}

/* A link to nothing is kept when it says something all the same. Source: trace/api.md#specifying-links. */
static bool says_something(const struct sonde_link *link) {
    return sonde_span_context_is_valid(&link->context) || link->tracestate.size ||
           (link->attributes && link->attribute_count);
}

/* Ids and flags only, as most links are: all at fixed positions. */
#define PLAIN_SIZE 35u
static inline void write_plain(uint8_t *to, const struct sonde_span_context *context) {
    sonde__store32(to, SONDE__TAG_LINK | (PLAIN_SIZE - 2) << 8 | (LINK_TRACE_ID << 3 | 2) << 16 | 16u << 24);
    memcpy(to + 4, context->trace_id, 16);
    sonde__store16(to + 20, (LINK_SPAN_ID << 3 | 2) | 8u << 8);
    memcpy(to + 22, context->span_id, 8);
    to[30] = LINK_FLAGS << 3 | 5;
    sonde__store32(to + 31,
                   context->flags | SONDE__SPAN_HAS_IS_REMOTE | (context->is_remote ? SONDE__SPAN_IS_REMOTE : 0));
}

/* False: there is more to it, or no room in a row. */
static inline bool add_plain(struct sonde__slot *slot, const struct sonde_link *link) {
    uint8_t *to;
    if (link->tracestate.size || (link->attributes && link->attribute_count) ||
        !(to = sonde__slot_room(slot, PLAIN_SIZE)))
        return false;
    write_plain(to, &link->context);
    sonde__slot_publish(slot, sonde__slot_length(slot) + PLAIN_SIZE);
    slot->links++;
    return true;
}

/* As many as the limit allows and there is room for in a row. Returns how many. */
static size_t add_row(struct sonde__slot *slot, const struct sonde_span_context *contexts, size_t count) {
    size_t limit = sonde__settings.span_link_count_limit;
    uint32_t room;
    uint8_t *to = sonde__slot_row(slot, &room);
    if (!to || slot->links >= limit)
        return 0;
    count = count < room / PLAIN_SIZE ? count : room / PLAIN_SIZE;
    count = count < limit - slot->links ? count : limit - slot->links;
    for (size_t i = 0; i < count; i++)
        write_plain(to + i * PLAIN_SIZE, &contexts[i]);
    sonde__slot_publish(slot, sonde__slot_length(slot) + (uint32_t)count * PLAIN_SIZE);
    slot->links = (uint16_t)(slot->links + count);
    return count;
}

void sonde__slot_add_link(struct sonde__thread *thread, struct sonde__slot *slot, const struct sonde_link *link) {
    struct sonde__writer writer;
    if (!says_something(link))
        return;
    if (slot->links < sonde__settings.span_link_count_limit) {
        if (add_plain(slot, link))
            return;
        sonde__writer_init(&writer, thread->scratch, SONDE_SPAN_SIZE_MAX);
        encode(&writer, link);
        if (!writer.full && sonde__slot_append(slot, writer.start, (uint32_t)sonde__writer_size(&writer))) {
            slot->links++;
            return;
        }
    }
    sonde__count16(&slot->links_dropped);
}

void sonde_span_add_link(struct sonde_span *span, const struct sonde_link *link) {
    struct sonde__edit edit;
    if (!sonde__edit_begin(&edit, span))
        return;
    sonde__slot_add_link(edit.thread, edit.slot, link);
    sonde__edit_end(&edit);
}

void sonde__span_add_links(const struct sonde_span *span, const struct sonde_span_context *contexts, size_t count) {
    struct sonde__edit edit;
    if (!sonde__edit_begin(&edit, span))
        return;
    for (size_t i = 0; i < count;) {
        i += add_row(edit.slot, contexts + i, count - i);
        if (i == count)
            break;
        struct sonde_link link = {.context = contexts[i++]}; /* across a border, or over the limit */
        sonde__slot_add_link(edit.thread, edit.slot, &link);
    }
    sonde__edit_end(&edit);
}
