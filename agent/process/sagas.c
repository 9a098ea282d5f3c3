/* SPDX-License-Identifier: Apache-2.0 */
/* The processor `sagas`: sees every record of a saga that services hand in, keeps a table of them, counts, and tells of
 * those that got stuck. What one service sees of its sagas the library counts there (sonde.saga.started, .ended,
 * .duration, .step.duration, .compensation); this is what only one who sees all services can tell. An agent that sees
 * some of them (one on each node) cannot tell a stuck saga from one that went on elsewhere: sees_all is false there, and
 * only what was seen to end is counted. */
#include "agent/process/processor.h"
#include "agent/process/saga_table.h"
#include "exporters/option.h"
#include "instrumentation/wire/writer.h"
#include <errno.h>
#include <inttypes.h>
#include <sonde/err.h>
#include <sonde/log.h>
#include <stdio.h>
#include <string.h>

#define STUCK_AT_ONCE    256u /* told in one record of the queue */
#define STUCK_SIZE_MAX   512u /* of a log record: three texts of 64 bytes, ids, times, keys */
#define LOOK_NS_MIN      UINT64_C(50000000)
#define RECORD_FIELD     2u /* of the ScopeLogs; see exporters/record_log.h */
#define SCOPE_FIELD_NAME 1u

struct sonde_sagas_config {
    uint64_t timeout_ns, forget_ns;
    int64_t sagas_max;
    bool sees_all;
};
#define ROW(type_, field, key_, ...)                                                                                   \
    { .key = key_, .type = SONDE_OPTION_##type_, .offset = offsetof(struct sonde_sagas_config, field), __VA_ARGS__ }

static const struct sonde_option options[] = {
    ROW(DURATION, timeout_ns, "timeout", .default_text = "5m", .min = 100, .max = 7.0 * 86400000,
        .sentence =
            "Time without a record of a saga after which it counts as stuck, and that one that ended is kept to "
            "tell late records by."),
    ROW(DURATION, forget_ns, "forget_after", .default_text = "24h", .min = 100, .max = 366.0 * 86400000,
        .sentence = "Time without a record of a saga after which it is no longer waited for; more than timeout."),
    ROW(INT, sagas_max, "sagas_max", .default_text = "100000", .min = 1, .max = 10000000,
        .sentence = "Sagas that are kept, some 210 bytes each; when there are more the ones that ended go first, then "
                    "those that were quiet for longest."),
    ROW(BOOL, sees_all, "sees_all", .default_text = "true",
        .sentence =
            "Whether all services of a saga send to this agent. With false, as on nodes that each have an agent, "
            "sagas are counted where they end, and none is active, stuck or expired: it may go on elsewhere."),
    SONDE_OPTION_END,
};

struct sagas {
    struct sonde_processor_env env;
    struct sonde__saga_table *table;
    struct sonde_timer *timer;
    bool timer_set, sees_all;
    uint64_t start_unix_ns, timeout_ns;
    uint32_t resource_id, scope_id; /* of the queue, 0 = none */
    uint8_t *logs;                  /* STUCK_AT_ONCE records, while some are told */
    struct sonde__writer out;
    uint32_t told;
};

static uint64_t now_of(const struct sagas *sagas) {
    return sagas->env.seams->time.monotonic_ns(sagas->env.seams->time.self);
}
static uint64_t unix_of(const struct sagas *sagas) {
    return sagas->env.seams->time.unix_ns(sagas->env.seams->time.self);
}

/* ---- series ---- */

#define TYPE_LABELS 1u
struct writer {
    struct sagas *sagas;
    uint64_t start_unix_ns;
    struct sonde_attribute attributes[3];
};

static void label(struct writer *writer, unsigned i, const char *key, const char *value) {
    writer->attributes[i] = sonde_attribute_string(sonde_key_cstr(key), value);
}

struct metric {
    const char *name, *unit, *description;
    enum sonde_instrument_kind kind;
    bool is_double;
};
static const struct metric
    active = {"sonde.saga.active", "{saga}", "Sagas that have not ended and are not stuck.", SONDE_UP_DOWN_COUNTER,
              false},
    stuck = {"sonde.saga.stuck", "{saga}", "Sagas that have not ended and of which nothing was heard for the timeout.",
             SONDE_UP_DOWN_COUNTER, false},
    oldest = {"sonde.saga.oldest.age", "s", "Age of the oldest saga that has not ended; absent without one.",
              SONDE_GAUGE, true},
    ended = {"sonde.saga.assembled", "{saga}", "Sagas that ended, by outcome, wherever their services run.",
             SONDE_COUNTER, false},
    steps = {"sonde.saga.assembled.steps", "{step}", "Steps of sagas that were seen to end.", SONDE_COUNTER, false},
    step_time = {"sonde.saga.assembled.step.time", "s", "Time that these steps took together.", SONDE_COUNTER, true},
    lost = {"sonde.saga.lost", "{saga}", "Sagas that were lost sight of, and records of sagas that could not be kept.",
            SONDE_COUNTER, false};

static void set(struct writer *writer, const struct metric *metric, size_t labels, uint64_t number, double real) {
    const struct sonde_series_value value = {.kind = metric->kind,
                                             .name = metric->name,
                                             .unit = metric->unit,
                                             .description = metric->description,
                                             .attributes = writer->attributes,
                                             .attribute_count = labels,
                                             .is_double = metric->is_double,
                                             .int64 = (int64_t)number,
                                             .float64 = real,
                                             .start_unix_ns = writer->start_unix_ns};
    (void)sonde_series_set(writer->sagas->env.source, &value); /* out of memory: absent this time */
}

static void set_steps(struct writer *writer, const struct sonde__saga_type *type) {
    for (uint32_t i = 0; i < type->step_count; i++) {
        const struct sonde__saga_step *step = &type->steps[i];
        for (unsigned action = 0; action < SONDE__SAGA_ACTIONS; action++) {
            if (step->count[action] == 0)
                continue;
            label(writer, TYPE_LABELS, "sonde.saga.step", step->name);
            label(writer, TYPE_LABELS + 1, "sonde.saga.action", sonde__saga_action_name(action));
            set(writer, &steps, TYPE_LABELS + 2, step->count[action], 0);
            set(writer, &step_time, TYPE_LABELS + 2, 0, (double)step->time_ns[action] * 1e-9);
        }
    }
}

static bool is_seen(const struct sonde__saga_type *type) {
    uint64_t sum = type->kept[SONDE__SAGA_ACTIVE] + type->kept[SONDE__SAGA_STUCK] + type->step_count - 1;
    for (unsigned outcome = 0; outcome < SONDE__SAGA_OUTCOMES; outcome++)
        sum += type->ended[outcome];
    return sum > 0;
}

static void set_kept(struct writer *writer, const struct sonde__saga_type *type, uint64_t now_unix_ns) {
    set(writer, &active, TYPE_LABELS, type->kept[SONDE__SAGA_ACTIVE], 0);
    set(writer, &stuck, TYPE_LABELS, type->kept[SONDE__SAGA_STUCK], 0);
    if (type->oldest_unix_ns) {
        uint64_t age_ns = now_unix_ns > type->oldest_unix_ns ? now_unix_ns - type->oldest_unix_ns : 0;
        set(writer, &oldest, TYPE_LABELS, 0, (double)age_ns * 1e-9);
    }
}

static void set_type(struct writer *writer, const struct sonde__saga_type *type, uint64_t now_unix_ns) {
    label(writer, 0, "sonde.saga.type", type->name);
    writer->start_unix_ns = type->start_unix_ns ? type->start_unix_ns : writer->sagas->start_unix_ns;
    if (writer->sagas->sees_all)
        set_kept(writer, type, now_unix_ns);
    for (unsigned outcome = 0; outcome < SONDE__SAGA_OUTCOMES; outcome++) {
        label(writer, TYPE_LABELS, "sonde.saga.outcome", sonde__saga_outcome_name(outcome));
        set(writer, &ended, TYPE_LABELS + 1, type->ended[outcome], 0);
    }
    set_steps(writer, type);
}

static void pull(void *user) {
    static const char *const reasons[SONDE__SAGA_LOST_COUNT] = {"full", "expired", "bad_id", "no_memory"};
    struct writer writer = {.sagas = user};
    const struct sonde__saga_table *table = writer.sagas->table;
    const struct sonde__saga_type *type;
    sonde__saga_table_oldest(writer.sagas->table);
    for (uint32_t i = 0; (type = sonde__saga_table_type(table, i)) != NULL; i++)
        if (is_seen(type))
            set_type(&writer, type, unix_of(writer.sagas));
    writer.start_unix_ns = writer.sagas->start_unix_ns;
    for (unsigned reason = 0; reason < SONDE__SAGA_LOST_COUNT; reason++) {
        if (reason == SONDE__SAGA_LOST_EXPIRED && !writer.sagas->sees_all)
            continue;
        label(&writer, 0, "reason", reasons[reason]);
        set(&writer, &lost, 1, sonde__saga_table_lost(table, reason), 0);
    }
    sonde_series_sweep(writer.sagas->env.source);
}

/* ---- those that got stuck ---- */

static void write_text(struct sonde__writer *out, struct sonde_key key, const char *text, size_t size) {
    const struct sonde_attribute attribute = sonde_attribute_string_n(key, text, size);
    sonde__write_attribute(out, 6, &attribute, SIZE_MAX);
}

/* A LogRecord, framed as the queue's. */
static void tell(void *user, const struct sonde__saga *saga) {
    static const uint8_t zeros[16];
    struct sagas *sagas = user;
    struct sonde__writer *out = &sagas->out;
    if (!sagas->sees_all)
        return;
    if (!sagas->logs) { /* no memory */
        sonde_ledger_dropped(sagas->env.ledger, SONDE_SIGNAL_LOGS, SONDE_INTAKE_NO_MEMORY, 1);
        return;
    }
    const struct sonde__saga_type *type = sonde__saga_table_type(sagas->table, saga->type);
    const char *step = sonde__saga_step_name(sagas->table, saga);
    static const char text[] = "Nothing was heard of this saga for longer than it may be quiet.";
    uint8_t *record = sonde__write_begin(out, RECORD_FIELD);
    uint64_t now_unix_ns = unix_of(sagas);
    sonde__write_fixed64(out, 1, now_unix_ns);
    sonde__write_fixed64(out, 11, now_unix_ns);
    sonde__write_uint(out, 2, SONDE_SEVERITY_WARN);
    uint8_t *body = sonde__write_begin(out, 5);
    sonde__write_string(out, 1, text, sizeof text - 1, SIZE_MAX);
    sonde__write_end(out, body);
    write_text(out, SONDE_KEY("sonde.saga.id"), saga->id, saga->id_size);
    write_text(out, SONDE_KEY("sonde.saga.type"), type->name, strlen(type->name));
    if (step[0])
        write_text(out, SONDE_KEY("sonde.saga.step"), step, strlen(step));
    if (memcmp(saga->trace_id, zeros, sizeof zeros) != 0) {
        sonde__write_bytes(out, 9, saga->trace_id, sizeof saga->trace_id);
        sonde__write_bytes(out, 10, saga->span_id, sizeof saga->span_id);
    }
    sonde__write_string(out, 12, "sonde.saga.stuck", sizeof "sonde.saga.stuck" - 1, SIZE_MAX);
    sonde__write_end(out, record);
    sagas->told++;
}

static void tell_end(struct sagas *sagas) {
    struct sonde_ledger *ledger = sagas->env.ledger;
    uint64_t sequence;
    if (sagas->told == 0)
        return;
    int error =
        sonde_queue_append(sagas->env.queue, SONDE_SIGNAL_LOGS, sagas->resource_id, sagas->scope_id, sagas->told,
                           (struct sonde_bytes){sagas->logs, sonde__writer_size(&sagas->out)}, &sequence);
    if (error) /* a full queue has no room for ours either */
        sonde_ledger_dropped(ledger, SONDE_SIGNAL_LOGS, SONDE_INTAKE_NO_MEMORY, sagas->told);
    else
        sonde_ledger_appended(ledger, SONDE_SIGNAL_LOGS, sagas->told);
}

static void look(void *user) {
    struct sagas *sagas = user;
    const struct sonde_alloc *alloc = &sagas->env.seams->alloc;
    uint64_t now_ns = now_of(sagas);
    sagas->timer_set = false;
    sagas->told = 0;
    sagas->logs = sonde_alloc_new(alloc, STUCK_AT_ONCE * STUCK_SIZE_MAX);
    sonde__writer_init(&sagas->out, sagas->logs, sagas->logs ? STUCK_AT_ONCE * STUCK_SIZE_MAX : 0);
    uint64_t next_ns = sonde__saga_table_age(sagas->table, now_ns, STUCK_AT_ONCE, tell, sagas);
    tell_end(sagas);
    sonde_alloc_free(alloc, sagas->logs);
    sagas->logs = NULL;
    if (next_ns == UINT64_MAX)
        return;
    sagas->timer_set = true;
    sonde_timer_set(sagas->timer, next_ns > now_ns + LOOK_NS_MIN ? next_ns : now_ns + LOOK_NS_MIN);
}

static void record(void *self, enum sonde_signal signal, struct sonde_bytes body) {
    struct sagas *sagas = self;
    struct sonde__saga_event event;
    if (!sonde__saga_read(signal, body, &event))
        return;
    uint64_t now_ns = now_of(sagas);
    sonde__saga_table_take(sagas->table, &event, now_ns, unix_of(sagas));
    if (sagas->timer_set)
        return;
    sagas->timer_set = true; /* this one at the earliest; those before it are waited for already */
    sonde_timer_set(sagas->timer, now_ns + sagas->timeout_ns);
}

static size_t figures(void *self, struct sonde_processor_figure *ret_figures) {
    const struct sagas *sagas = self;
    uint64_t gone = 0;
    for (unsigned reason = 0; reason < SONDE__SAGA_LOST_COUNT; reason++)
        if (reason != SONDE__SAGA_LOST_EXPIRED || sagas->sees_all)
            gone += sonde__saga_table_lost(sagas->table, reason);
    const struct sonde_processor_figure all[] = {
        {"active", sonde__saga_table_count(sagas->table, SONDE__SAGA_ACTIVE)},
        {"stuck", sonde__saga_table_count(sagas->table, SONDE__SAGA_STUCK)},
        {"completed", sonde__saga_table_ended(sagas->table, SONDE__SAGA_COMPLETED)},
        {"compensated", sonde__saga_table_ended(sagas->table, SONDE__SAGA_COMPENSATED)},
        {"failed", sonde__saga_table_ended(sagas->table, SONDE__SAGA_FAILED)},
        {"lost", gone},
    };
    memcpy(ret_figures, all, sizeof all);
    return sizeof all / sizeof all[0];
}

static void destroy(void *self) {
    struct sagas *sagas = self;
    if (!sagas)
        return;
    const struct sonde_alloc alloc = sagas->env.seams->alloc;
    sonde_timer_destroy(sagas->timer);
    sonde_series_source_on_pull(sagas->env.source, NULL, NULL);
    if (sagas->resource_id)
        sonde_queue_resource_unref(sagas->env.queue, sagas->resource_id);
    if (sagas->scope_id)
        sonde_queue_scope_unref(sagas->env.queue, sagas->scope_id);
    sonde__saga_table_destroy(sagas->table);
    sonde_alloc_free(&alloc, sagas);
}

static int open_queue(struct sagas *sagas) {
    uint8_t bytes[64];
    struct sonde__writer scope;
    sonde__writer_init(&scope, bytes, sizeof bytes);
    sonde__write_string(&scope, SCOPE_FIELD_NAME, "sonde.agent.sagas", sizeof "sonde.agent.sagas" - 1, SIZE_MAX);
    int error = sonde_queue_resource(sagas->env.queue, sagas->env.resource, 0, &sagas->resource_id);
    if (!error)
        error = sonde_queue_scope(sagas->env.queue, (struct sonde_bytes){bytes, sonde__writer_size(&scope)},
                                  (struct sonde_bytes){0}, &sagas->scope_id);
    return error;
}

static int create(const void *config, const struct sonde_processor_env *env, void **ret_self, char *error_text,
                  size_t error_text_size) {
    const struct sonde_sagas_config *wanted = config;
    const struct sonde_seams *seams = env->seams;
    const struct sonde__saga_table_options table = {.sagas_max = (uint32_t)wanted->sagas_max,
                                                    .timeout_ns = wanted->timeout_ns,
                                                    .forget_ns =
                                                        wanted->sees_all ? wanted->forget_ns : wanted->timeout_ns + 1,
                                                    .seed = seams->random.next(seams->random.self),
                                                    .alloc = seams->alloc};
    if (wanted->forget_ns <= wanted->timeout_ns) {
        (void)snprintf(error_text, error_text_size, "forget_after has to be longer than timeout");
        return SONDE_EINVALID;
    }
    struct sagas *sagas = sonde_alloc_new(&seams->alloc, sizeof *sagas);
    if (!sagas)
        return -ENOMEM;
    *sagas = (struct sagas){.env = *env,
                            .start_unix_ns = seams->time.unix_ns(seams->time.self),
                            .timeout_ns = wanted->timeout_ns,
                            .sees_all = wanted->sees_all};
    int error = sonde__saga_table_create(&table, &sagas->table);
    if (!error)
        error = sonde_timer_create(env->loop, look, sagas, &sagas->timer);
    if (!error)
        error = open_queue(sagas);
    if (error) {
        destroy(sagas);
        return error;
    }
    sonde_series_source_on_pull(env->source, pull, sagas);
    *ret_self = sagas;
    return 0;
}

const struct sonde_processor_ops sonde_processor_sagas = {
    .name = "sagas",
    .summary = "Assembles sagas by id across the services that send to this agent: how many are under way or stuck, "
               "how they end, "
               "how long steps take.",
    .config_size = sizeof(struct sonde_sagas_config),
    .options = options,
    .by_default = true,
    .create = create,
    .record = record,
    .figures = figures,
    .destroy = destroy,
};
