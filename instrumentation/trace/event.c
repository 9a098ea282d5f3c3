/* SPDX-License-Identifier: Apache-2.0 */
/* Events of a span, exceptions among them. Encoded in the thread's scratch before the slot is taken, so that other
 * threads wait for the copy only. */
#include "instrumentation/context/clock.h"
#include "instrumentation/trace/slot.h"
#include "instrumentation/wire/exception.h"
#include "instrumentation/wire/writer.h"

/* Fields of Span.Event. Source: trace/v1/trace.proto. */
enum { EVENT_TIME = 1, EVENT_NAME = 2, EVENT_ATTRIBUTES = 3, EVENT_DROPPED = 4 };
/* The dropped count comes last and must not fail: tag and length of up to 5 bytes, and the event's own. */
#define TAIL_SIZE 16u

static uint64_t encode(struct sonde__writer *writer, struct sonde_key name, uint64_t unix_ns,
                       const struct sonde_attribute *attributes, size_t count) {
    uint8_t *event = sonde__write_begin(writer, SONDE__TAG_EVENT >> 3);
    sonde__write_fixed64(writer, EVENT_TIME, unix_ns);
    sonde__write_string(writer, EVENT_NAME, name.text, name.length, SONDE_NAME_SIZE_MAX);
    writer->end -= TAIL_SIZE;
    size_t dropped = sonde__write_attributes(writer, EVENT_ATTRIBUTES, attributes, count,
                                             sonde__settings.event_attribute_count_limit,
                                             sonde__settings.attribute_value_length_limit);
    writer->end += TAIL_SIZE;
    if (dropped)
        sonde__write_uint(writer, EVENT_DROPPED, dropped);
    sonde__write_end(writer, event);
    return dropped;
}

static void append(struct sonde__slot *slot, const struct sonde__writer *writer) {
    if (slot->events < sonde__settings.span_event_count_limit && !writer->full &&
        sonde__slot_append(slot, writer->start, (uint32_t)sonde__writer_size(writer)))
        slot->events++;
    else
        sonde__count16(&slot->events_dropped);
}

void sonde_span_add_event(struct sonde_span *span, struct sonde_key name, uint64_t unix_ns,
                          const struct sonde_attribute *attributes, size_t attribute_count) {
    struct sonde__writer writer;
    struct sonde__edit edit;
    uint64_t ticks;
    struct sonde__thread *thread = span->slot ? sonde__thread_enter() : NULL;
    if (!thread)
        return;
    sonde__writer_init(&writer, thread->scratch, SONDE_SPAN_SIZE_MAX);
    uint64_t dropped = encode(&writer, name, unix_ns ? unix_ns : sonde__clock_now(&ticks), attributes,
                              attributes ? attribute_count : 0);
    if (dropped)
        sonde__count_attributes_dropped(dropped);
    if (!sonde__edit_take(&edit, thread, span))
        return;
    append(edit.slot, &writer);
    sonde__edit_end(&edit);
}

void sonde_span_record_exception_with(struct sonde_span *span, const struct sonde_exception *exception,
                                      const struct sonde_attribute *attributes, size_t attribute_count) {
    struct sonde_attribute all[SONDE__EXCEPTION_ATTRIBUTES + SONDE_EVENT_ATTRIBUTES_MAX];
    if (!sonde__is_exception(exception))
        return;
    size_t count = sonde__exception_attributes(exception, attributes, attribute_count, all);
    if (attributes && attribute_count) { /* past the event's limit: the event counts them as dropped */
        size_t room = sizeof all / sizeof *all - count;
        memcpy(all + count, attributes, (attribute_count < room ? attribute_count : room) * sizeof *all);
        count += attribute_count < room ? attribute_count : room;
    }
    sonde_span_add_event(span, SONDE_NAME("exception"), 0, all, count);
}

void sonde_span_record_exception(struct sonde_span *span, const char *type, const char *message,
                                 const char *stacktrace) {
    const struct sonde_exception exception = {type, message, stacktrace};
    sonde_span_record_exception_with(span, &exception, NULL, 0);
}
