/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/process/saga_read.h"
#include "instrumentation/metric/attributes.h"
#include "instrumentation/wire/skim.h"
#include <string.h>

enum { ID, TYPE, STEP, INDEX, ACTION, ATTEMPT, OUTCOME, DURATION, KEY_COUNT };
_Static_assert(KEY_COUNT <= SONDE__SKIM_KEYS_MAX, "the skimmer looks for so many at once");
#define EVENT_PREFIX    "sonde.saga."
#define DURATION_MAX_NS (UINT64_C(366) * 86400 * 1000000000u)

static const char *const outcomes[] = {"completed", "compensated", "failed", NULL};
static const char *const actions[] = {"forward", "compensate", NULL};

const char *sonde__saga_outcome_name(enum sonde__saga_outcome outcome) {
    return outcomes[outcome];
}
const char *sonde__saga_action_name(enum sonde__saga_action action) {
    return actions[action];
}

static const struct sonde__skim_keys *keys(void) {
    static const char *const names[KEY_COUNT] = {[ID] = "sonde.saga.id",           [TYPE] = "sonde.saga.type",
                                                 [STEP] = "sonde.saga.step",       [INDEX] = "sonde.saga.step.index",
                                                 [ACTION] = "sonde.saga.action",   [ATTEMPT] = "sonde.saga.attempt",
                                                 [OUTCOME] = "sonde.saga.outcome", [DURATION] = "sonde.saga.duration"};
    static struct sonde__skim_keys made; /* loop thread only */
    for (unsigned i = made.count; i < KEY_COUNT; i++)
        (void)sonde__skim_keys_add(&made, names[i]); /* short, and few enough */
    return &made;
}

static struct sonde_bytes text_of(const struct sonde__value *value) {
    return value->type == SONDE__VALUE_STRING ? (struct sonde_bytes){value->data, value->size}
                                              : (struct sonde_bytes){0};
}

/* Index in names, or of their end. */
static unsigned choice(const struct sonde__value *value, const char *const *names) {
    struct sonde_bytes text = text_of(value);
    unsigned i = 0;
    while (names[i] && (text.size != strlen(names[i]) || memcmp(text.data, names[i], text.size) != 0))
        i++;
    return i;
}

static uint64_t between(uint64_t start_ns, uint64_t end_ns) {
    uint64_t ns = end_ns > start_ns ? end_ns - start_ns : 0;
    return ns < DURATION_MAX_NS ? ns : DURATION_MAX_NS;
}

/* By index, action and attempt where they are told, which the library does; else by the span. */
static uint64_t step_key(const struct sonde__value *values, const struct sonde__saga_event *event) {
    uint64_t numbers[2] = {0, (uint64_t)event->action};
    if (values[INDEX].type == SONDE__VALUE_INT && values[ATTEMPT].type == SONDE__VALUE_INT) {
        numbers[0] = (uint64_t)values[INDEX].integer;
        numbers[1] |= (uint64_t)values[ATTEMPT].integer << 1;
    } else if (event->span_id) {
        memcpy(numbers, event->span_id, sizeof numbers[0]);
    }
    return sonde__bytes_hash(numbers, sizeof numbers, sonde__bytes_hash(event->step.data, event->step.size, 1));
}

static bool values_read(const struct sonde__value *values, struct sonde__saga_event *event) {
    if (values[ID].type != SONDE__VALUE_STRING)
        return false;
    event->id = text_of(&values[ID]);
    event->type = text_of(&values[TYPE]);
    event->step = text_of(&values[STEP]);
    event->action =
        choice(&values[ACTION], actions) == SONDE__SAGA_COMPENSATE ? SONDE__SAGA_COMPENSATE : SONDE__SAGA_FORWARD;
    event->outcome = (enum sonde__saga_outcome)choice(&values[OUTCOME], outcomes);
    return true;
}

static bool span_read(struct sonde_bytes body, struct sonde__saga_event *event) {
    struct sonde__span_fields span;
    if (!sonde__span_skim(body.data, body.size, keys(), &span) || !values_read(span.values, event))
        return false;
    event->trace_id = span.trace_id;
    event->span_id = span.span_id;
    event->start_unix_ns = span.start_unix_ns;
    event->duration_ns = between(span.start_unix_ns, span.end_unix_ns);
    event->is_step = event->step.size > 0;
    event->step_key = event->is_step ? step_key(span.values, event) : 0;
    return true;
}

static bool log_read(struct sonde_bytes body, struct sonde__saga_event *event) {
    struct sonde__log_fields log;
    const size_t prefix = sizeof EVENT_PREFIX - 1;
    if (!sonde__log_skim(body.data, body.size, keys(), &log) || log.event_name_size < prefix ||
        memcmp(log.event_name, EVENT_PREFIX, prefix) != 0 || !values_read(log.values, event))
        return false;
    const struct sonde__value *duration = &log.values[DURATION];
    double seconds = duration->type == SONDE__VALUE_DOUBLE ? duration->real : 0;
    if (seconds > 0) /* false of what is no number */
        event->duration_ns = seconds < 1e-9 * (double)DURATION_MAX_NS ? (uint64_t)(seconds * 1e9) : DURATION_MAX_NS;
    uint64_t time_ns = log.time_unix_ns ? log.time_unix_ns : log.observed_unix_ns;
    event->trace_id = log.trace_id;
    event->span_id = log.span_id;
    event->start_unix_ns = time_ns > event->duration_ns ? time_ns - event->duration_ns : 0;
    event->is_step =
        event->step.size > 0 && log.event_name_size == prefix + 4 && memcmp(log.event_name + prefix, "step", 4) == 0;
    event->step_key = event->is_step ? step_key(log.values, event) : 0;
    return true;
}

bool sonde__saga_read(enum sonde_signal signal, struct sonde_bytes body, struct sonde__saga_event *ret_event) {
    *ret_event = (struct sonde__saga_event){.outcome = SONDE__SAGA_OUTCOMES};
    return signal == SONDE_SIGNAL_TRACES ? span_read(body, ret_event)
                                         : signal == SONDE_SIGNAL_LOGS && log_read(body, ret_event);
}
