/* SPDX-License-Identifier: Apache-2.0 */
/* Where both ends of a queue are instrumented, its time is measured and need not be estimated: consumers record how long
 * each message was on its way (sonde.messaging.queue.time). A stage over the store: when a broker's lags are set, it
 * looks what the consumers of the same system, destination, subscription and group have measured since the broker's last
 * poll, and sets sonde.messaging.consumer.lag.time with estimate="measured" beside what the collector says. Where nobody
 * measured anything since then there is none.
 *
 * The value is the mean of the messages that were delivered between the two polls to consumers that report to this agent.
 * A partition that stands still delivers nothing: the collector's own seconds tell of it, and stay. A consumer counts
 * from when it was first seen; one that names no group joins a broker that has none (RabbitMQ's queues), and no other.
 * What cannot be told apart is not joined: two lags of one broker with the same names (virtual hosts). Two brokers of one
 * system with the same names both get the measurement: a message does not say from which broker it came. */
#include "agent/collect/family.h"
#include "agent/process/processor.h"
#include "exporters/prometheus/value.h"
#include "instrumentation/metric/attributes.h"
#include <errno.h>
#include <sonde/err.h>
#include <stdlib.h>
#include <string.h>

#define JOINS_MAX     65536u
#define ANY_VALUE_INT 0x18 /* AnyValue.int_value, a varint */

#define CONSUMERS_MAX 4096u /* of one group; of more the later ones are not seen */

/* A series of a consumer process, and what it had at the last look. */
struct consumer {
    const void *source;
    uint64_t attributes_hash, count;
    double sum;
    bool is_seen; /* in this look */
};

/* A group of one broker, and what its consumers measured. key: system, destination, subscription, group, NUL behind each.
 */
struct join {
    struct sonde_series_source *source;
    struct consumer *consumers; /* owned */
    uint32_t consumer_count, consumer_capacity;
    uint8_t *attributes; /* owned: of the lag's point, then the key */
    size_t attributes_size, key_size;
    uint64_t hash;           /* of source and key */
    double sum;              /* since the last look */
    uint64_t count;          /* the same */
    uint64_t looked_unix_ns; /* last; 0 = never */
    bool is_seen;            /* in this look */
    bool is_ambiguous;       /* the key is of several lags */
};

struct lag_time {
    struct sonde_processor_env env;
    struct join *joins; /* owned */
    uint32_t *slots;    /* owned; twice the capacity, a power of two: index + 1 by hash, 0 = empty */
    uint32_t count, capacity;
    uint64_t measured;                   /* series set, ever */
    struct sonde_series_source *looking; /* at whose lags */
    bool has_lags;
    struct buffer text;
};

/* ---- keys ---- */

static bool is_named(struct sonde_bytes key, const char *name) {
    return key.size == strlen(name) && memcmp(key.data, name, key.size) == 0;
}

/* Leaves system, destination, subscription and group of a point in lag_time->text. False when it has no system or destination. */
static bool key_make(struct lag_time *lag_time, struct sonde_bytes attributes) {
    static const char *const names[] = {"messaging.system", "messaging.destination.name",
                                        "messaging.destination.subscription.name", "messaging.consumer.group.name"};
    struct sonde_bytes values[4] = {{NULL, 0}}, key, value;
    const uint8_t *at = attributes.data;
    while (sonde_prometheus_next_attribute(attributes, 1, &at, &key, &value))
        for (size_t i = 0; i < 4; i++)
            if (is_named(key, names[i]))
                values[i] = value;
    lag_time->text.size = 0;
    for (size_t i = 0; i < 4; i++) {
        if (values[i].size)
            sonde_prometheus_value(&lag_time->text, values[i]);
        buffer_put(&lag_time->text, "", 1);
    }
    bool ok = !lag_time->text.failed && values[0].size && values[1].size;
    lag_time->text.failed = false;
    return ok;
}

static uint64_t hash_of(const struct lag_time *lag_time) {
    return sonde__bytes_hash(lag_time->text.data, lag_time->text.size, (uint64_t)(uintptr_t)lag_time->looking);
}

static void slot_fill(struct lag_time *lag_time, uint32_t index) {
    uint32_t mask = 2 * lag_time->capacity - 1, slot = (uint32_t)lag_time->joins[index].hash & mask;
    while (lag_time->slots[slot])
        slot = (slot + 1) & mask;
    lag_time->slots[slot] = index + 1;
}

static void slots_rebuild(struct lag_time *lag_time) {
    if (lag_time->capacity)
        memset(lag_time->slots, 0, 2 * lag_time->capacity * sizeof *lag_time->slots);
    for (uint32_t i = 0; i < lag_time->count; i++)
        slot_fill(lag_time, i);
}

static struct join *join_find(struct lag_time *lag_time) {
    if (!lag_time->capacity)
        return NULL;
    uint64_t hash = hash_of(lag_time);
    uint32_t mask = 2 * lag_time->capacity - 1;
    for (uint32_t slot = (uint32_t)hash & mask; lag_time->slots[slot]; slot = (slot + 1) & mask) {
        struct join *join = &lag_time->joins[lag_time->slots[slot] - 1];
        if (join->hash == hash && join->source == lag_time->looking && join->key_size == lag_time->text.size &&
            memcmp(join->attributes + join->attributes_size, lag_time->text.data, join->key_size) == 0)
            return join;
    }
    return NULL;
}

static bool joins_grow(struct lag_time *lag_time) {
    const struct sonde_alloc *alloc = &lag_time->env.seams->alloc;
    uint32_t capacity = lag_time->capacity ? 2 * lag_time->capacity : 16;
    if (capacity > JOINS_MAX)
        return false;
    struct join *joins = alloc->resize(alloc->self, lag_time->joins, capacity * sizeof *joins);
    if (!joins)
        return false;
    lag_time->joins = joins;
    uint32_t *slots = alloc->resize(alloc->self, lag_time->slots, 2 * capacity * sizeof *slots);
    if (!slots)
        return false;
    lag_time->slots = slots;
    lag_time->capacity = capacity;
    slots_rebuild(lag_time);
    return true;
}

static struct join *join_add(struct lag_time *lag_time, struct sonde_bytes attributes) {
    if (lag_time->count == lag_time->capacity && !joins_grow(lag_time))
        return NULL;
    uint8_t *copy = sonde_alloc_new(&lag_time->env.seams->alloc, attributes.size + lag_time->text.size);
    if (!copy)
        return NULL;
    memcpy(copy, attributes.data, attributes.size);
    memcpy(copy + attributes.size, lag_time->text.data, lag_time->text.size);
    struct join *join = &lag_time->joins[lag_time->count];
    *join = (struct join){.source = lag_time->looking,
                          .attributes = copy,
                          .attributes_size = attributes.size,
                          .key_size = lag_time->text.size,
                          .hash = hash_of(lag_time)};
    slot_fill(lag_time, lag_time->count++);
    return join;
}

static void join_free(struct lag_time *lag_time, struct join *join) {
    sonde_alloc_free(&lag_time->env.seams->alloc, join->attributes);
    sonde_alloc_free(&lag_time->env.seams->alloc, join->consumers);
}

static void joins_drop(struct lag_time *lag_time, const struct sonde_series_source *source, bool unseen_only) {
    uint32_t kept = 0, before = lag_time->count;
    for (uint32_t i = 0; i < before; i++) {
        struct join *join = &lag_time->joins[i];
        if (join->source == source && !(unseen_only && join->is_seen))
            join_free(lag_time, join);
        else
            lag_time->joins[kept++] = *join;
    }
    lag_time->count = kept;
    if (kept != before)
        slots_rebuild(lag_time);
}

/* ---- a look ---- */

static bool is_metric(const struct sonde_metric *metric, const char *name) {
    return metric->name.size == strlen(name) && memcmp(metric->name.data, name, metric->name.size) == 0;
}

static void on_lag(void *user, const struct sonde_metric *metric, const struct sonde_metric_point *point) {
    struct lag_time *lag_time = user;
    if (!is_metric(metric, "sonde.messaging.consumer.lag") || !key_make(lag_time, point->attributes))
        return;
    struct join *join = join_find(lag_time);
    if (!join)
        join = join_add(lag_time, point->attributes);
    if (!join)
        return; /* too many, or no memory */
    join->is_ambiguous = join->is_seen;
    join->is_seen = true;
    join->sum = 0;
    join->count = 0;
    lag_time->has_lags = true;
}

static struct consumer *consumer_find(struct lag_time *lag_time, struct join *join, const void *source,
                                      uint64_t attributes_hash, bool *ret_is_new) {
    const struct sonde_alloc *alloc = &lag_time->env.seams->alloc;
    *ret_is_new = false;
    for (uint32_t i = 0; i < join->consumer_count; i++)
        if (join->consumers[i].source == source && join->consumers[i].attributes_hash == attributes_hash)
            return &join->consumers[i];
    if (join->consumer_count == join->consumer_capacity) {
        uint32_t capacity = join->consumer_capacity ? 2 * join->consumer_capacity : 4;
        struct consumer *consumers =
            capacity > CONSUMERS_MAX ? NULL : alloc->resize(alloc->self, join->consumers, capacity * sizeof *consumers);
        if (!consumers)
            return NULL;
        join->consumers = consumers;
        join->consumer_capacity = capacity;
    }
    *ret_is_new = true;
    join->consumers[join->consumer_count] = (struct consumer){.source = source, .attributes_hash = attributes_hash};
    return &join->consumers[join->consumer_count++];
}

/* What a consumer has measured since the last look. A total that fell is another life's: it counts as first seen. */
static void consumer_add(struct lag_time *lag_time, struct join *join, const void *source,
                         const struct sonde_metric_point *point) {
    bool is_new;
    uint64_t hash = sonde__bytes_hash(point->attributes.data, point->attributes.size, 0);
    const struct sonde__metric_histogram *total = point->histogram;
    struct consumer *consumer = consumer_find(lag_time, join, source, hash, &is_new);
    if (!consumer)
        return;
    bool is_young = is_new && join->looked_unix_ns && point->start_unix_ns > join->looked_unix_ns;
    if (is_young || (!is_new && total->count > consumer->count && total->sum >= consumer->sum)) {
        join->sum += total->sum - consumer->sum;
        join->count += total->count - consumer->count;
    }
    consumer->sum = total->sum;
    consumer->count = total->count;
    consumer->is_seen = true;
}

/* Adds up what all consumers have measured since the last look. */
static void measured_add(struct lag_time *lag_time) {
    struct sonde_metric_feed feed = sonde_series_feed(lag_time->env.series);
    struct sonde_metric_cursor cursor = {NULL, 0};
    struct sonde_metric metric;
    while (feed.next_metric(feed.self, &cursor, &metric)) {
        if (metric.kind != SONDE_HISTOGRAM || !is_metric(&metric, "sonde.messaging.queue.time"))
            continue;
        uint32_t at = 0;
        struct sonde_metric_point point;
        while (feed.next_point(feed.self, &metric, &at, &point)) {
            struct join *join = point.histogram && key_make(lag_time, point.attributes) ? join_find(lag_time) : NULL;
            if (join && join->is_seen)
                consumer_add(lag_time, join, metric.source, &point);
        }
    }
}

/* Those of a source that is gone; NULL: those that were not seen in this look, and begins the next. */
static void consumers_drop(struct join *join, const void *source) {
    uint32_t kept = 0;
    for (uint32_t i = 0; i < join->consumer_count; i++)
        if (source ? join->consumers[i].source != source : join->consumers[i].is_seen) {
            join->consumers[kept] = join->consumers[i];
            join->consumers[kept++].is_seen &= source != NULL;
        }
    join->consumer_count = kept;
}

/* The lag's attributes, typed as they were: texts and integers. Returns how many; values in lag_time->text. */
static size_t attributes_take(struct lag_time *lag_time, const struct join *join, struct sonde_attribute *attributes) {
    struct sonde_bytes lag = {join->attributes, join->attributes_size}, key, value;
    size_t count = 0, places[SONDE_SERIES_ATTRIBUTES_MAX][2];
    bool is_int[SONDE_SERIES_ATTRIBUTES_MAX];
    const uint8_t *at = lag.data;
    lag_time->text.size = 0;
    while (count < SONDE_SERIES_ATTRIBUTES_MAX - 1 && sonde_prometheus_next_attribute(lag, 1, &at, &key, &value)) {
        if (is_named(key, "estimate")) /* of the lag in messages */
            continue;
        attributes[count].key = sonde_key_n((const char *)key.data, key.size);
        is_int[count] = value.size && value.data[0] == ANY_VALUE_INT;
        places[count][0] = lag_time->text.size;
        sonde_prometheus_value(&lag_time->text, value);
        places[count++][1] = lag_time->text.size;
        buffer_put(&lag_time->text, "", 1);
    }
    for (size_t i = 0; i < count && !lag_time->text.failed; i++) {
        const char *text = lag_time->text.data + places[i][0];
        attributes[i] = is_int[i] ? sonde_attribute_int64(attributes[i].key, strtoll(text, NULL, 10))
                                  : sonde_attribute_string_n(attributes[i].key, text, places[i][1] - places[i][0]);
    }
    return count;
}

static void measured_set(struct lag_time *lag_time, const struct join *join) {
    struct sonde_attribute attributes[SONDE_SERIES_ATTRIBUTES_MAX];
    struct sonde_series_value value = sonde__messaging_value(SONDE__MESSAGING_LAG_TIME);
    size_t count = attributes_take(lag_time, join, attributes);
    if (lag_time->text.failed) {
        lag_time->text.failed = false;
        return; /* no memory: none this time */
    }
    attributes[count] = sonde_attribute_string(SONDE_KEY("estimate"), "measured");
    value.attributes = attributes;
    value.attribute_count = count + 1;
    value.float64 = join->sum / (double)join->count;
    if (sonde_series_set(join->source, &value) == 0)
        lag_time->measured++;
}

static void look(void *self, struct sonde_series_source *source) {
    struct lag_time *lag_time = self;
    const struct sonde_time *time = &lag_time->env.seams->time;
    lag_time->looking = source;
    lag_time->has_lags = false;
    for (uint32_t i = 0; i < lag_time->count; i++)
        lag_time->joins[i].is_seen = lag_time->joins[i].is_seen && lag_time->joins[i].source != source;
    sonde_series_each(source, on_lag, lag_time);
    if (lag_time->has_lags) {
        sonde_series_refresh(lag_time->env.series);
        measured_add(lag_time);
    }
    for (uint32_t i = 0; i < lag_time->count; i++) {
        struct join *join = &lag_time->joins[i];
        if (join->source != source || !join->is_seen)
            continue;
        if (join->count && !join->is_ambiguous)
            measured_set(lag_time, join);
        join->looked_unix_ns = time->unix_ns(time->self);
        consumers_drop(join, NULL);
    }
    joins_drop(lag_time, source, true);
}

/* A broker's source, or a consumer's: its place in memory may be another's next. */
static void gone(void *self, struct sonde_series_source *source) {
    struct lag_time *lag_time = self;
    joins_drop(lag_time, source, false);
    for (uint32_t i = 0; i < lag_time->count; i++)
        consumers_drop(&lag_time->joins[i], source);
}

/* ---- life ---- */

static size_t figures(void *self, struct sonde_processor_figure *ret_figures) {
    const struct lag_time *lag_time = self;
    ret_figures[0] = (struct sonde_processor_figure){"groups", lag_time->count};
    ret_figures[1] = (struct sonde_processor_figure){"measured", lag_time->measured};
    return 2;
}

static void destroy(void *self) {
    struct lag_time *lag_time = self;
    if (!lag_time)
        return;
    const struct sonde_alloc *alloc = &lag_time->env.seams->alloc;
    sonde_series_stage_remove(lag_time->env.series, lag_time);
    for (uint32_t i = 0; i < lag_time->count; i++)
        join_free(lag_time, &lag_time->joins[i]);
    sonde_alloc_free(alloc, lag_time->joins);
    sonde_alloc_free(alloc, lag_time->slots);
    buffer_deinit(&lag_time->text);
    sonde_alloc_free(alloc, lag_time);
}

static int create(const void *config, const struct sonde_processor_env *env, void **ret_self, char *error_text,
                  size_t error_text_size) {
    (void)config, (void)error_text, (void)error_text_size;
    struct lag_time *lag_time = sonde_alloc_new(&env->seams->alloc, sizeof *lag_time);
    if (!lag_time)
        return -ENOMEM;
    *lag_time = (struct lag_time){.env = *env};
    buffer_init(&lag_time->text, &env->seams->alloc);
    int error = sonde_series_stage_add(env->series, &(struct sonde_series_stage){look, gone, lag_time});
    if (error) {
        destroy(lag_time);
        return error;
    }
    *ret_self = lag_time;
    return 0;
}

static const struct sonde_option options[] = {SONDE_OPTION_END};

const struct sonde_processor_ops sonde_processor_lag_time = {
    .name = "lag_time",
    .summary = "Seconds of lag as instrumented consumers measure them, beside what the broker's figures say.",
    .config_size = 1,
    .options = options,
    .by_default = true,
    .create = create,
    .figures = figures,
    .destroy = destroy,
};
