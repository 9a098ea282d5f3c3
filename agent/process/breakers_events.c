/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/process/breakers_events.h"
#include <sonde/err.h>
#include <sonde/log.h>
#include <stdio.h>
#include <string.h>

#define RECORDS_SIZE    65536u
#define RECORD_SIZE_MAX 2048u /* name twice, the rest is short */
#define RECORD_FIELD    2u    /* of the ScopeLogs; see exporters/record_log.h */

static const char event_name[] = "sonde.circuit_breaker.state_change", scope_name[] = "sonde.agent.breakers";

static void drop(struct breakers_events *events, uint32_t count) {
    sonde_ledger_dropped(events->env->ledger, SONDE_SIGNAL_LOGS, SONDE_INTAKE_NO_MEMORY, count);
}

static int append(struct breakers_events *events) {
    struct sonde_queue *queue = events->env->queue;
    uint8_t bytes[64];
    struct sonde__writer scope;
    uint32_t resource_id, scope_id = 0;
    uint64_t sequence;
    sonde__writer_init(&scope, bytes, sizeof bytes);
    sonde__write_string(&scope, 1, scope_name, sizeof scope_name - 1, SIZE_MAX);
    int err = sonde_queue_resource(queue, events->resource, 0, &resource_id);
    if (err)
        return err;
    err = sonde_queue_scope(queue, (struct sonde_bytes){bytes, sonde__writer_size(&scope)}, (struct sonde_bytes){0},
                            &scope_id);
    if (!err)
        err = sonde_queue_append(queue, SONDE_SIGNAL_LOGS, resource_id, scope_id, events->told,
                                 (struct sonde_bytes){events->records, sonde__writer_size(&events->out)}, &sequence);
    if (scope_id)
        sonde_queue_scope_unref(queue, scope_id);
    sonde_queue_resource_unref(queue, resource_id);
    return err;
}

void breakers_events_flush(struct breakers_events *events) {
    if (events->told) {
        if (append(events)) /* a full queue has no room for these either */
            drop(events, events->told);
        else
            sonde_ledger_appended(events->env->ledger, SONDE_SIGNAL_LOGS, events->told);
    }
    events->told = 0;
    sonde_alloc_free(&events->env->seams->alloc, events->records);
    events->records = NULL;
}

/* Room for one more. */
static bool make_room(struct breakers_events *events) {
    if (events->records && RECORDS_SIZE - sonde__writer_size(&events->out) < RECORD_SIZE_MAX)
        breakers_events_flush(events);
    if (events->records)
        return true;
    events->records = sonde_alloc_new(&events->env->seams->alloc, RECORDS_SIZE);
    if (events->records)
        sonde__writer_init(&events->out, events->records, RECORDS_SIZE);
    return events->records != NULL;
}

static void write_text(struct sonde__writer *out, struct sonde_key key, const char *text) {
    const struct sonde_attribute attribute = sonde_attribute_string(key, text);
    sonde__write_attribute(out, 6, &attribute, SIZE_MAX);
}
static void write_ratio(struct sonde__writer *out, struct sonde_key key, const struct breaker *breaker, int sum) {
    const struct sonde_attribute attribute = sonde_attribute_double(key, breaker->sums[sum]);
    if (breaker->present >> sum & 1 && breaker->sums[sum] >= 0)
        sonde__write_attribute(out, 6, &attribute, SIZE_MAX);
}

static void write_body(struct sonde__writer *out, const struct breaker *breaker, const char *from, const char *to) {
    char text[BREAKERS_NAME_SIZE_MAX + 100];
    int size =
        snprintf(text, sizeof text, "circuit breaker %s of %s: %s -> %s", breaker->name, breaker->library, from, to);
    uint8_t *body = sonde__write_begin(out, 5);
    sonde__write_string(out, 1, text, size > 0 ? (size_t)size : 0, SIZE_MAX);
    sonde__write_end(out, body);
}

void breakers_events_add(struct breakers_events *events, const struct breaker *breaker, enum breakers_state from,
                         enum breakers_state to) {
    struct sonde__writer *out = &events->out;
    if (!events->env->queue)
        return;
    if (!make_room(events)) {
        drop(events, 1);
        return;
    }
    const struct sonde_time *time = &events->env->seams->time;
    const uint64_t now_unix_ns = time->unix_ns(time->self);
    const bool is_bad = to == BREAKERS_OPEN || to == BREAKERS_HALF_OPEN || to == BREAKERS_FORCED_OPEN;
    uint8_t *record = sonde__write_begin(out, RECORD_FIELD);
    sonde__write_fixed64(out, 1, now_unix_ns);
    sonde__write_fixed64(out, 11, now_unix_ns);
    sonde__write_uint(out, 2, is_bad ? SONDE_SEVERITY_WARN : SONDE_SEVERITY_INFO);
    sonde__write_string(out, 3, is_bad ? "WARN" : "INFO", 4, SIZE_MAX);
    write_body(out, breaker, from == BREAKERS_STATE_COUNT ? "?" : breakers_state_names[from], breakers_state_names[to]);
    write_text(out, SONDE_KEY("sonde.circuit_breaker.name"), breaker->name);
    write_text(out, SONDE_KEY("sonde.circuit_breaker.source"), breaker->library);
    if (from != BREAKERS_STATE_COUNT)
        write_text(out, SONDE_KEY("sonde.circuit_breaker.from"), breakers_state_names[from]);
    write_text(out, SONDE_KEY("sonde.circuit_breaker.to"), breakers_state_names[to]);
    write_text(out, SONDE_KEY("sonde.circuit_breaker.reason"), "foreign");
    write_ratio(out, SONDE_KEY("sonde.circuit_breaker.failure_ratio"), breaker, BREAKERS_FAILURE_RATIO);
    write_ratio(out, SONDE_KEY("sonde.circuit_breaker.slow_call_ratio"), breaker, BREAKERS_SLOW_RATIO);
    sonde__write_string(out, 12, event_name, sizeof event_name - 1, SIZE_MAX);
    sonde__write_end(out, record);
    events->told++;
}
