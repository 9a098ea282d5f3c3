/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/process/breakers_table.h"
#include "instrumentation/metric/attributes.h"
#include <math.h>
#include <string.h>

#define NS_PER_S         1e9
#define CHANGES_TOLD_MAX 8 /* into a state, of one look */
/* More labels, name, library, two of an output, one that says how it is known. */
#define ATTRIBUTES_MAX   (BREAKERS_MORE_MAX + 5u)

/* ---- the table ---- */

static bool is_same(const struct breaker *breaker, const struct breakers_identity *identity, uint64_t hash) {
    return breaker->hash == hash && breaker->owner == identity->owner && breaker->library == identity->library &&
           strcmp(breaker->name, identity->name) == 0 && breaker->more_size == identity->more_size &&
           memcmp(breaker->more, identity->more, identity->more_size) == 0;
}

static struct breaker *breaker_create(struct breakers_table *table, const struct breakers_identity *identity) {
    const struct sonde_seams *seams = table->seams;
    size_t name_size = strlen(identity->name);
    struct breaker *breaker = sonde_alloc_new(&seams->alloc, sizeof *breaker + name_size + 1 + identity->more_size);
    if (!breaker)
        return NULL;
    *breaker = (struct breaker){.owner = identity->owner,
                                .library = identity->library,
                                .name = breaker->text,
                                .name_size = name_size,
                                .more = breaker->text + name_size + 1,
                                .more_size = identity->more_size,
                                .state = BREAKERS_STATE_COUNT,
                                .number_state = BREAKERS_STATE_COUNT,
                                .start_unix_ns = seams->time.unix_ns(seams->time.self)};
    memcpy(breaker->text, identity->name, name_size + 1);
    memcpy(breaker->text + name_size + 1, identity->more, identity->more_size);
    return breaker;
}

struct breaker *breakers_table_get(struct breakers_table *table, const struct breakers_identity *identity) {
    uint64_t hash = sonde__bytes_hash(identity->name, strlen(identity->name), (uint64_t)(uintptr_t)identity->owner);
    hash = sonde__bytes_hash(identity->more, identity->more_size, hash);
    struct breaker **bucket = &table->buckets[hash % BREAKERS_BUCKETS], *breaker = *bucket;
    while (breaker && !is_same(breaker, identity, hash))
        breaker = breaker->next;
    if (!breaker) {
        breaker = table->count < BREAKERS_MAX ? breaker_create(table, identity) : NULL;
        if (!breaker) {
            table->left_out++;
            return NULL;
        }
        breaker->hash = hash;
        breaker->next = *bucket;
        *bucket = breaker;
        table->count++;
    }
    if (breaker->look != table->look) {
        breaker->look = table->look;
        breaker->present = 0;
        memset(breaker->sums, 0, sizeof breaker->sums);
    }
    return breaker;
}

static void breaker_destroy(struct breakers_table *table, struct breaker *breaker) {
    sonde_alloc_free(&table->seams->alloc, breaker->duration);
    sonde_alloc_free(&table->seams->alloc, breaker);
    table->count--;
}

void breakers_table_forget(struct breakers_table *table, const struct sonde_series_source *owner) {
    for (uint32_t i = 0; i < BREAKERS_BUCKETS; i++)
        for (struct breaker **at = &table->buckets[i], *breaker; (breaker = *at);) {
            if (owner && breaker->owner != owner) {
                at = &breaker->next;
                continue;
            }
            *at = breaker->next;
            breaker_destroy(table, breaker);
        }
}

void breakers_table_duration(struct breakers_table *table, struct breaker *breaker, const struct sonde_metric *metric,
                             const struct sonde__metric_histogram *histogram, double scale) {
    if (!breaker->duration) {
        breaker->duration = sonde_alloc_new(&table->seams->alloc, sizeof *breaker->duration);
        if (!breaker->duration)
            return;
        breaker->duration->look = 0; /* looks begin at 1 */
    }
    breakers_duration_add(breaker->duration, table->look, metric, histogram, scale);
}

/* ---- states ---- */

static bool has(const struct breaker *breaker, int sum) {
    return breaker->present >> sum & 1;
}

/* Of one look: by what rose when just one did; else by what must have come last: an open that was left as often as it was
 * entered is closed, or being tried. */
enum breakers_state breakers_state_entered(enum breakers_state before_state, const double *before, const double *now,
                                           bool *ret_assumed) {
    static const double none[3];
    double closed = now[0] - (before ? before : none)[0], open = now[1] - (before ? before : none)[1];
    double half_open = now[2] - (before ? before : none)[2];
    if (before && (closed < 0 || open < 0 || half_open < 0)) { /* it began anew */
        closed = now[0];
        open = now[1];
        half_open = now[2];
        before_state = BREAKERS_CLOSED;
    }
    bool nothing = closed <= 0 && open <= 0 && half_open <= 0;
    *ret_assumed = !before && nothing;
    if (nothing)
        return before ? before_state : BREAKERS_CLOSED;
    *ret_assumed = false;
    if (open + (before && before_state == BREAKERS_OPEN ? 1 : 0) > half_open)
        return BREAKERS_OPEN;
    return closed > 0 ? BREAKERS_CLOSED : BREAKERS_HALF_OPEN;
}

static enum breakers_state state_told(const struct breaker *breaker) {
    enum breakers_state found = BREAKERS_STATE_COUNT;
    uint32_t count = 0;
    for (uint32_t state = 0; state < BREAKERS_STATE_COUNT; state++)
        if (breaker->sums[BREAKERS_STATE_IS + state] >= 1) {
            found = (enum breakers_state)state;
            count++;
        }
    if (count == 1)
        return found;
    if (has(breaker, BREAKERS_STATE_OPEN_FLAG))
        return breaker->sums[BREAKERS_STATE_OPEN_FLAG] >= 1 ? BREAKERS_OPEN : BREAKERS_CLOSED;
    if (has(breaker, BREAKERS_STATE_NUMBER))
        return breaker->number_state;
    double members = breaker->sums[BREAKERS_MEMBERS];
    if (has(breaker, BREAKERS_EJECTED) && has(breaker, BREAKERS_MEMBERS))
        return members > 0 && breaker->sums[BREAKERS_EJECTED] >= members ? BREAKERS_OPEN : BREAKERS_CLOSED;
    return BREAKERS_STATE_COUNT; /* none, or several: not known */
}

static void tell(const struct breakers_table *table, const struct breaker *breaker, enum breakers_state from,
                 enum breakers_state to) {
    if (table->changed)
        table->changed(table->changed_user, breaker, from, to);
}

/* By counters of transitions: each that rose, as often as it rose, within reason. Where from is known of a single one. */
static void tell_entered(const struct breakers_table *table, const struct breaker *breaker, const double *now) {
    double rises[3], all = 0;
    bool began_anew = false;
    if (!breaker->has_entered)
        return;
    for (int i = 0; i < 3; i++)
        began_anew |= now[i] < breaker->entered[i];
    for (int i = 0; i < 3; i++) {
        rises[i] = now[i] - (began_anew ? 0 : breaker->entered[i]);
        all += rises[i];
    }
    for (int i = 0; i < 3; i++)
        for (double n = 0; n < rises[i] && n < CHANGES_TOLD_MAX; n++)
            tell(table, breaker, all == 1 && !began_anew ? breaker->state : BREAKERS_STATE_COUNT,
                 (enum breakers_state)i);
}

static enum breakers_state state_find(const struct breakers_table *table, struct breaker *breaker) {
    const double now[3] = {breaker->sums[BREAKERS_TO_CLOSED], breaker->sums[BREAKERS_TO_OPEN],
                           breaker->sums[BREAKERS_TO_HALF_OPEN]};
    if (!has(breaker, BREAKERS_TO_CLOSED) && !has(breaker, BREAKERS_TO_OPEN) && !has(breaker, BREAKERS_TO_HALF_OPEN))
        return state_told(breaker);
    bool assumed;
    enum breakers_state state =
        breakers_state_entered(breaker->state, breaker->has_entered ? breaker->entered : NULL, now, &assumed);
    breaker->is_assumed = assumed || (breaker->is_assumed && breaker->has_entered && state == breaker->state &&
                                      memcmp(now, breaker->entered, sizeof now) == 0);
    tell_entered(table, breaker, now);
    breaker->has_entered = true;
    memcpy(breaker->entered, now, sizeof now);
    return state;
}

/* The time since the last look was spent in the state of the last look, as far as anyone can tell. */
static void state_go_on(struct breakers_table *table, struct breaker *breaker) {
    uint64_t now = table->seams->time.monotonic_ns(table->seams->time.self);
    bool had_entered = breaker->has_entered;
    enum breakers_state before = breaker->state, state = state_find(table, breaker);
    if (before != BREAKERS_STATE_COUNT && breaker->since_ns)
        breaker->times[before] += (double)(now - breaker->since_ns) / NS_PER_S;
    if (before != BREAKERS_STATE_COUNT && state != BREAKERS_STATE_COUNT && before != state && !had_entered) {
        breaker->transitions[before][state]++;
        tell(table, breaker, before, state);
    }
    breaker->state = state;
    breaker->since_ns = now;
}

/* ---- series ---- */

struct attributes {
    struct sonde_attribute items[ATTRIBUTES_MAX];
    size_t count;
};

static void add(struct attributes *attributes, const char *key, const char *value) {
    attributes->items[attributes->count++] =
        sonde_attribute_string((struct sonde_key){key, (uint32_t)strlen(key)}, value);
}

static void attributes_begin(const struct breaker *breaker, const char *name_key, struct attributes *attributes) {
    attributes->count = 0;
    for (const char *at = breaker->more, *end = at + breaker->more_size; at < end;) {
        const char *value = at + strlen(at) + 1;
        add(attributes, at, value);
        at = value + strlen(value) + 1;
    }
    bool is_other = strcmp(name_key, "sonde.resilience.name") == 0;
    add(attributes, name_key, breaker->name);
    add(attributes, is_other ? "sonde.resilience.source" : "sonde.circuit_breaker.source", breaker->library);
}

static void put(struct sonde_series_source *owner, const struct attributes *attributes,
                struct sonde_series_value value) {
    value.attributes = attributes->items;
    value.attribute_count = attributes->count;
    (void)sonde_series_set(owner, &value); /* no memory: absent this time */
}

static void show_sums(struct sonde_series_source *owner, const struct breaker *breaker) {
    struct attributes attributes;
    for (int sum = 0; sum < BREAKERS_OUTPUT_COUNT; sum++) {
        const struct breakers_shown *shown = &breakers_shown[sum];
        double value = breaker->sums[sum];
        bool is_ratio = sum == BREAKERS_FAILURE_RATIO || sum == BREAKERS_SLOW_RATIO;
        if (!has(breaker, sum) || isnan(value) || (is_ratio && value < 0)) /* below the minimum: absent */
            continue;
        attributes_begin(breaker, shown->name_key, &attributes);
        for (size_t i = 0; i < 2 && shown->keys[i]; i++)
            add(&attributes, shown->keys[i], shown->values[i]);
        put(owner, &attributes,
            (struct sonde_series_value){.kind = shown->kind,
                                        .name = shown->metric,
                                        .unit = shown->unit,
                                        .description = shown->description,
                                        .is_double = true,
                                        .float64 = value,
                                        .start_is_unknown = true});
    }
}

static void show_state(struct sonde_series_source *owner, const struct breaker *breaker, int state) {
    static const char name_key[] = "sonde.circuit_breaker.name", state_key[] = "sonde.circuit_breaker.state";
    struct attributes attributes;
    attributes_begin(breaker, name_key, &attributes);
    add(&attributes, state_key, breakers_state_names[state]);
    if (breaker->is_assumed)
        add(&attributes, "sonde.circuit_breaker.assumed", "true");
    put(owner, &attributes,
        (struct sonde_series_value){.kind = SONDE_UP_DOWN_COUNTER,
                                    .name = "sonde.circuit_breaker.state",
                                    .unit = "{breaker}",
                                    .description = "1 for the state that a circuit breaker is in.",
                                    .int64 = (int)breaker->state == state,
                                    .start_unix_ns = breaker->start_unix_ns});
    attributes_begin(breaker, name_key, &attributes);
    add(&attributes, state_key, breakers_state_names[state]);
    add(&attributes, "sonde.circuit_breaker.estimated", "true");
    put(owner, &attributes,
        (struct sonde_series_value){.kind = SONDE_COUNTER,
                                    .name = "sonde.circuit_breaker.state.time",
                                    .unit = "s",
                                    .description = "Time that a circuit breaker was in a state.",
                                    .is_double = true,
                                    .float64 = breaker->times[state],
                                    .start_unix_ns = breaker->start_unix_ns});
}

static void show_transitions(struct sonde_series_source *owner, const struct breaker *breaker) {
    struct attributes attributes;
    for (int from = 0; from < BREAKERS_STATE_COUNT; from++)
        for (int to = 0; to < BREAKERS_STATE_COUNT; to++) {
            if (!breaker->transitions[from][to])
                continue;
            attributes_begin(breaker, "sonde.circuit_breaker.name", &attributes);
            add(&attributes, "sonde.circuit_breaker.from", breakers_state_names[from]);
            add(&attributes, "sonde.circuit_breaker.to", breakers_state_names[to]);
            add(&attributes, "sonde.circuit_breaker.estimated", "true");
            put(owner, &attributes,
                (struct sonde_series_value){.kind = SONDE_COUNTER,
                                            .name = "sonde.circuit_breaker.transition",
                                            .unit = "{transition}",
                                            .description = "Changes of state, by states and reason.",
                                            .is_double = true,
                                            .float64 = (double)breaker->transitions[from][to],
                                            .start_unix_ns = breaker->start_unix_ns});
        }
}

/* Histograms, or else count and sum. */
static void show_duration(const struct breakers_table *table, struct sonde_series_source *owner,
                          const struct breaker *breaker) {
    const struct breakers_duration *told =
        breaker->duration && breaker->duration->look == table->look ? breaker->duration : NULL;
    const double count = breaker->sums[BREAKERS_DURATION_COUNT];
    const uint64_t all = count >= 0 && count < 9e15 ? (uint64_t)count : 0;
    struct attributes attributes;
    if (!told && !(has(breaker, BREAKERS_DURATION_COUNT) && has(breaker, BREAKERS_DURATION_SUM)))
        return;
    attributes_begin(breaker, "sonde.circuit_breaker.name", &attributes);
    put(owner, &attributes,
        (struct sonde_series_value){.kind = SONDE_HISTOGRAM,
                                    .name = "sonde.circuit_breaker.call.duration",
                                    .unit = "s",
                                    .description = "Duration of calls that a circuit breaker admitted.",
                                    .is_double = true,
                                    .float64 = told ? told->sum : breaker->sums[BREAKERS_DURATION_SUM],
                                    .start_is_unknown = true,
                                    .bounds = told ? told->bounds : NULL,
                                    .bound_count = told ? told->bound_count : 0,
                                    .counts = told ? told->counts : &all});
}

/* What follows from others: a limit is what is left of it and what is in use. */
static void set_sum(struct breaker *breaker, int sum, double value) {
    breaker->sums[sum] = value;
    breaker->present |= UINT64_C(1) << sum;
}
static void derive(struct breaker *breaker) {
    static const int in_use[] = {BREAKERS_INFLIGHT_CX, BREAKERS_INFLIGHT_RQ, BREAKERS_QUEUED_RQ_PENDING};
    double members = breaker->sums[BREAKERS_MEMBERS];
    if (has(breaker, BREAKERS_EJECTED) && members > 0)
        set_sum(breaker, BREAKERS_EJECTED_RATIO, breaker->sums[BREAKERS_EJECTED] / members);
    if (has(breaker, BREAKERS_BULKHEAD_LIMIT) && has(breaker, BREAKERS_BULKHEAD_AVAILABLE))
        set_sum(breaker, BREAKERS_BULKHEAD_INFLIGHT,
                breaker->sums[BREAKERS_BULKHEAD_LIMIT] - breaker->sums[BREAKERS_BULKHEAD_AVAILABLE]);
    for (int i = 0; i < 3; i++)
        if (has(breaker, BREAKERS_REMAINING_CX + i) && has(breaker, in_use[i]))
            set_sum(breaker, BREAKERS_LIMIT_CX + i,
                    breaker->sums[BREAKERS_REMAINING_CX + i] + breaker->sums[in_use[i]]);
}

static void show(struct breakers_table *table, struct sonde_series_source *owner, struct breaker *breaker) {
    derive(breaker);
    state_go_on(table, breaker);
    show_sums(owner, breaker);
    show_duration(table, owner, breaker);
    if (breaker->state == BREAKERS_STATE_COUNT)
        return;
    for (int state = 0; state < BREAKERS_STATE_COUNT; state++)
        show_state(owner, breaker, state);
    show_transitions(owner, breaker);
}

void breakers_table_show(struct breakers_table *table, struct sonde_series_source *owner) {
    for (uint32_t i = 0; table->count && i < BREAKERS_BUCKETS; i++)
        for (struct breaker **at = &table->buckets[i], *breaker; (breaker = *at);) {
            if (breaker->owner == owner && breaker->look == table->look) {
                breaker->missed = 0;
                show(table, owner, breaker);
            } else if (breaker->owner == owner) {
                breaker->since_ns = 0; /* nobody knows what it is doing */
                breaker->state = BREAKERS_STATE_COUNT;
                if (++breaker->missed > BREAKERS_MISSED_MAX) {
                    *at = breaker->next;
                    breaker_destroy(table, breaker);
                    continue;
                }
            }
            at = &breaker->next;
        }
}
