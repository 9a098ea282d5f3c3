/* SPDX-License-Identifier: Apache-2.0 */
/* Log records: encoded straight into this thread's ring. The room asked for is a guess that nearly always holds; when
 * repaired text or many lengths break it, the record is written again with all the room there may be, then cut. */
#include "instrumentation/context/clock.h"
#include "instrumentation/resource/settings.h"
#include "instrumentation/ring/producer.h"
#include "instrumentation/ring/steering.h"
#include "instrumentation/wire/block.h"
#include "instrumentation/wire/encode.h"
#include "instrumentation/wire/exception.h"
#include "instrumentation/wire/writer.h"
#include <sonde/log.h>
#include <string.h>

/* Fields of LogRecord. Source: logs/v1/logs.proto. */
enum {
    LOG_SEVERITY = 2,
    LOG_SEVERITY_TEXT = 3,
    LOG_BODY = 5,
    LOG_ATTRIBUTES = 6,
    LOG_DROPPED = 7,
    LOG_EVENT_NAME = 12,
};
/* The fixed part: time 09, observed time 59, severity 10, trace id 4A, span id 52, flags 45. */
#define FIXED_SIZE             64u
#define TAIL_SIZE              16u /* dropped count */
#define SEVERITY_TEXT_SIZE_MAX 64u
/* Tags and lengths of body, event name, severity text; and what a wide store may write past its end. */
#define SLACK_SIZE             256u
#define ATTRIBUTE_OVERHEAD     24u
#define BODY_OVERHEAD          16u /* tags and lengths of the value and its text */

static const struct sonde_log_record no_record = SONDE_LOG_RECORD_INIT;

/* What an attribute takes, if its text is good; array elements counted with their overhead. */
static size_t attribute_guess(const struct sonde_attribute *a) {
    size_t size = ATTRIBUTE_OVERHEAD + a->key.length;
    switch (a->type) {
    case SONDE_VALUE_STRING:
    case SONDE_VALUE_BYTES:
        return size + a->size;
    case SONDE_VALUE_STRING_ARRAY:
        for (size_t i = 0; a->value.strings && i < a->size; i++)
            size += a->value.strings[i].size + 8;
        return size;
    case SONDE_VALUE_BOOL_ARRAY:
    case SONDE_VALUE_INT64_ARRAY:
    case SONDE_VALUE_DOUBLE_ARRAY:
        return size + a->size * 16;
    default:
        return size;
    }
}

/* Those that an exception makes. */
static inline size_t own_attributes(const struct sonde_log_record *record,
                                    struct sonde_attribute ret_own[SONDE__EXCEPTION_ATTRIBUTES]) {
    if (SONDE__LIKELY(!sonde__is_exception(record->exception)))
        return 0;
    return sonde__exception_attributes(record->exception, record->attributes, record->attribute_count, ret_own);
}

static size_t record_guess(const struct sonde_log_record *record) {
    size_t size = FIXED_SIZE + SLACK_SIZE + record->body_size + record->event_name.length;
    struct sonde_attribute own[SONDE__EXCEPTION_ATTRIBUTES];
    for (size_t i = own_attributes(record, own); i-- > 0;)
        size += attribute_guess(&own[i]);
    for (size_t i = 0; record->attributes && i < record->attribute_count && size < SONDE_LOG_SIZE_MAX; i++)
        size += attribute_guess(&record->attributes[i]);
    return size < SONDE_LOG_SIZE_MAX ? size : SONDE_LOG_SIZE_MAX;
}

/* Fills the part with fixed positions. Returns the byte behind it. */
static uint8_t *write_fixed(uint8_t *at, struct sonde__thread *thread, const struct sonde_log_record *record) {
    uint64_t ticks, now = sonde__clock_now(&ticks), words[3];
    uint32_t flags;
    if (record->context) {
        memcpy(words, record->context->trace_id, 16);
        memcpy(words + 2, record->context->span_id, 8);
        flags = record->context->flags;
    } else {
        const struct sonde__stack_entry *entry = &thread->stack[thread->depth];
        words[0] = entry->trace_id[0];
        words[1] = entry->trace_id[1];
        words[2] = entry->span_id;
        flags = entry->flags & 0xFF;
    }
    at[0] = 0x09; /* time_unix_nano */
    sonde__store64(at + 1, record->time_unix_ns ? record->time_unix_ns : now);
    at[9] = 0x59; /* observed_time_unix_nano */
    sonde__store64(at + 10, now);
    at += 18;
    if (record->severity >= 1 && record->severity <= 24) {
        sonde__store16(at, LOG_SEVERITY << 3 | (uint32_t)record->severity << 8);
        at += 2;
    }
    if ((words[0] | words[1]) && words[2]) {
        sonde__store16(at, 0x4A | 16 << 8); /* trace_id */
        sonde__store64(at + 2, words[0]);
        sonde__store64(at + 10, words[1]);
        sonde__store16(at + 18, 0x52 | 8 << 8); /* span_id */
        sonde__store64(at + 20, words[2]);
        at[28] = 0x45; /* flags */
        sonde__store32(at + 29, flags);
        at += 33;
    }
    return at;
}

/* Returns true when the body had to be cut. */
static bool write_body(struct sonde__writer *w, const char *body, size_t size) {
    size_t room = (size_t)(w->end - w->at);
    if (!body || !size)
        return false;
    if (room < BODY_OVERHEAD)
        return true;
    room -= BODY_OVERHEAD;
    if (size < 100 && room >= 128) { /* one byte for each length: 2A, n + 2, 0A, n */
        sonde__store32(w->at, (uint32_t)(LOG_BODY << 3 | 2 | (size + 2) << 8 | 0x0Au << 16 | size << 24));
        if (!sonde__copy_ascii(w->at + 4, (const uint8_t *)body, size)) {
            w->at += 4 + size;
            return false;
        }
    }
    bool cut = size > room || (size > room / 3 && sonde__utf8_repaired_size(body, size) > room);
    uint8_t *any = sonde__write_begin(w, LOG_BODY);
    sonde__write_string(w, 1, body, size, room);
    sonde__write_end(w, any);
    return cut;
}

/* Returns how many were left out. */
static size_t write_attributes(struct sonde__writer *w, const struct sonde_attribute *attributes, size_t count,
                               size_t limit) {
    return sonde__write_attributes(w, LOG_ATTRIBUTES, attributes, count, limit,
                                   sonde__settings.log_attribute_value_length_limit);
}

/* Everything behind the fixed part. Returns the attributes left out. The writer's end leaves TAIL_SIZE free. */
static size_t write_rest(struct sonde__writer *w, const struct sonde_log_record *record, bool *ret_cut) {
    if (record->severity_text && *record->severity_text)
        sonde__write_string(w, LOG_SEVERITY_TEXT, record->severity_text, strlen(record->severity_text),
                            SEVERITY_TEXT_SIZE_MAX);
    if (record->event_name.length && record->event_name.text)
        sonde__write_string(w, LOG_EVENT_NAME, record->event_name.text, record->event_name.length, SONDE_NAME_SIZE_MAX);
    *ret_cut = w->full || write_body(w, record->body, record->body_size);
    size_t limit = sonde__settings.log_attribute_count_limit, dropped = 0;
    struct sonde_attribute own[SONDE__EXCEPTION_ATTRIBUTES];
    size_t count = own_attributes(record, own);
    if (SONDE__UNLIKELY(count)) {
        dropped = write_attributes(w, own, count, limit);
        limit -= count - dropped;
    }
    if (record->attribute_count && record->attributes)
        dropped += write_attributes(w, record->attributes, record->attribute_count, limit);
    if (dropped) {
        w->end += TAIL_SIZE;
        sonde__write_uint(w, LOG_DROPPED, dropped);
    }
    return dropped;
}

static void count_lost(uint64_t count) {
    struct sonde__process *process = sonde__process_get();
    if (process)
        atomic_fetch_add_explicit(&process->attributes_dropped, count, memory_order_relaxed);
}

/* Whether the operator wants records of this severity; unspecified ones always. */
static inline bool is_wanted(int severity) {
    return severity <= 0 || (uint64_t)severity >= sonde__steering_severity();
}

static inline void emit(struct sonde__thread *thread, const struct sonde_log_record *record) {
    struct sonde__writer writer;
    size_t guess = record_guess(record), dropped;
    bool cut;
    if (SONDE__UNLIKELY(!thread->region || sonde__settings.signals_off & 1u << SONDE_SIGNAL_LOGS)) {
        if (!(sonde__settings.signals_off & 1u << SONDE_SIGNAL_LOGS))
            sonde__drop(thread, SONDE_SIGNAL_LOGS, SONDE_DROP_NO_MEMORY);
        return;
    }
    if (SONDE__UNLIKELY(!is_wanted(record->severity)))
        return;
    for (;;) {
        uint8_t *to = sonde__ring_reserve(thread, (uint32_t)guess);
        if (SONDE__UNLIKELY(!to)) {
            sonde__drop(thread, SONDE_SIGNAL_LOGS, SONDE_DROP_RING_FULL);
            return;
        }
        sonde__writer_init(&writer, to, guess - TAIL_SIZE);
        writer.at = write_fixed(to, thread, record);
        dropped = write_rest(&writer, record, &cut);
        if (SONDE__LIKELY(!(dropped || cut)) || guess == SONDE_LOG_SIZE_MAX)
            break;
        guess = SONDE_LOG_SIZE_MAX; /* perhaps only the guess was short */
    }
    if (SONDE__UNLIKELY(dropped || cut))
        count_lost(dropped + cut);
    sonde__ring_commit(thread, (uint32_t)sonde__writer_size(&writer), SONDE__RECORD_LOG,
                       record->scope < SONDE_SCOPES_MAX ? record->scope : 0,
                       record->severity >= SONDE_SEVERITY_ERROR ? SONDE__RECORD_FLAG_ERROR : 0, NULL);
}

static void emit_any(const struct sonde_log_record *record) {
    struct sonde_log_record copy = no_record;
    struct sonde__thread *thread = sonde__thread_enter();
    if (SONDE__UNLIKELY(!thread)) {
        sonde__drop_refused(SONDE_SIGNAL_LOGS);
        return;
    }
    if (SONDE__UNLIKELY(record->size < sizeof copy)) { /* of a caller built against another version */
        memcpy(&copy, record, record->size);
        record = &copy;
    }
    emit(thread, record);
    sonde__thread_leave(thread);
}

void sonde_log_emit(const struct sonde_log_record *record) {
    emit_any(record);
}

void sonde_log(int severity, const char *body, size_t body_size, const struct sonde_attribute *attributes,
               size_t attribute_count) {
    struct sonde_log_record record = {.size = sizeof record,
                                      .severity = severity,
                                      .body = body,
                                      .body_size = body_size,
                                      .attributes = attributes,
                                      .attribute_count = attribute_count};
    emit_any(&record);
}

bool sonde_log_enabled(int severity) {
    struct sonde__thread *thread = sonde__thread_enter();
    if (SONDE__UNLIKELY(!thread))
        return false;
    bool enabled = !(sonde__settings.signals_off & 1u << SONDE_SIGNAL_LOGS) && is_wanted(severity);
    sonde__thread_leave(thread);
    return enabled;
}
