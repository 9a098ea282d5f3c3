/* SPDX-License-Identifier: Apache-2.0 */
/* Deltas out of the store: the library's own memory as a service, a fake clock, records decoded by protobuf-c and added
 * up again. */
#include "agent/series/source.h"
#include "metrics.pb-c.h"
#include "tests/lib/child.h"
#include "tests/lib/fakes.h"
#include "tests/unit/instrumentation/own_memory.h"
#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <sonde/err.h>
#include <sonde/sonde.h>
#include <stdarg.h>

#include <cmocka.h>

enum { DELTA = 1, CUMULATIVE = 2 };
#define SECOND UINT64_C(1000000000)

/* What arrived of one metric (of one series: these tests have no more). */
struct arrived {
    char name[32];
    int temporality, points;
    bool had_min, had_max; /* in the last point */
    double min, max;
    int64_t int64;
    double float64, sum;
    uint64_t count, buckets[16], start_unix_ns, time_unix_ns;
    struct sonde__metric_histogram exponential;
};

struct rig {
    struct fakes fakes;
    struct sonde_seams seams;
    struct sonde_series_store *store;
    struct sonde_queue *queue;
    struct sonde_ledger ledger;
    struct sonde_series_source *service;
    uint32_t cursor;
    uint64_t drained;
    struct arrived arrived[16];
    size_t arrived_count;
};

/* RESOURCE: service.name = a */
static const uint8_t resource[] = "\x0A\x11\x0A\x0Cservice.name\x12\x03\x0A\x01\x61";

static void deltas_taken(void *self, uint64_t unix_ns) {
    (void)self;
    atomic_store(&((struct sonde__process *)(void *)sonde__registry.process.base)->deltas_taken_ns, unix_ns);
}

static void rig_init(struct rig *rig, enum sonde_temporality temporality, uint64_t queue_size) {
    struct sonde_queue_options options = {.size_max = queue_size};
    const struct sonde__metric_memory memory = {.read = memory_read, .deltas_taken = deltas_taken};
    struct timespec now;
    memset(rig, 0, sizeof *rig);
    fakes_init(&rig->fakes);
    CHECK(clock_gettime(CLOCK_REALTIME, &now) == 0); /* the library's series begin now */
    rig->fakes.unix_ns = (uint64_t)now.tv_sec * SECOND + (uint64_t)now.tv_nsec + SECOND;
    rig->seams = fakes_seams(&rig->fakes);
    sonde_ledger_init(&rig->ledger);
    CHECK(sonde_series_store_create(&rig->seams, &rig->store) == 0);
    sonde_series_store_set_temporality(rig->store, temporality);
    CHECK(sonde_queue_create(&options, &rig->seams, &rig->queue) == 0);
    CHECK(sonde_queue_cursor_create(rig->queue, 1u << SONDE_SIGNAL_METRICS, &rig->cursor) == 0);
    CHECK(sonde_series_service_add(rig->store, &memory, (struct sonde_bytes){resource, sizeof resource - 1}, 0,
                                   &rig->service) == 0);
}
static void rig_deinit(struct rig *rig) {
    sonde_series_store_destroy(rig->store);
    sonde_queue_destroy(rig->queue);
    CHECK(rig->fakes.live == 0);
}

static struct arrived *of(struct rig *rig, const char *name) {
    for (size_t i = 0; i < rig->arrived_count; i++)
        if (strcmp(rig->arrived[i].name, name) == 0)
            return &rig->arrived[i];
    struct arrived *fresh = &rig->arrived[rig->arrived_count++];
    CHECK(rig->arrived_count < sizeof rig->arrived / sizeof *rig->arrived);
    snprintf(fresh->name, sizeof fresh->name, "%s", name);
    return fresh;
}

static void take_times(struct arrived *to, int temporality, uint64_t start, uint64_t time) {
    CHECK(start <= time);
    if (to->points && temporality == DELTA)
        CHECK(start >= to->time_unix_ns); /* intervals do not overlap */
    to->temporality = temporality;
    to->start_unix_ns = start;
    to->time_unix_ns = time;
    to->points++;
}

static void take_number(struct arrived *to, int temporality, const Pb__NumberPoint *point) {
    take_times(to, temporality, point->start_time_unix_nano, point->time_unix_nano);
    bool adds = temporality == DELTA;
    if (point->value_case == PB__NUMBER_POINT__VALUE_AS_INT)
        to->int64 = (adds ? to->int64 : 0) + point->as_int;
    else
        to->float64 = (adds ? to->float64 : 0) + point->as_double;
}

static void take_explicit(struct arrived *to, int temporality, const Pb__HistogramPoint *point) {
    take_times(to, temporality, point->start_time_unix_nano, point->time_unix_nano);
    uint64_t count = 0;
    for (size_t i = 0; i < point->n_bucket_counts; i++) {
        to->buckets[i] = (temporality == DELTA ? to->buckets[i] : 0) + point->bucket_counts[i];
        count += point->bucket_counts[i];
    }
    if (point->n_bucket_counts || point->n_explicit_bounds) /* else only count and sum are known */
        CHECK(count == point->count && point->n_bucket_counts == point->n_explicit_bounds + 1);
    to->count = (temporality == DELTA ? to->count : 0) + point->count;
    to->sum = (temporality == DELTA ? to->sum : 0) + point->sum;
    to->had_min = point->has_min_case == PB__HISTOGRAM_POINT__HAS_MIN_MIN;
    to->had_max = point->has_max_case == PB__HISTOGRAM_POINT__HAS_MAX_MAX;
    to->min = point->min;
    to->max = point->max;
}

static void take_exponential(struct arrived *to, int temporality, const Pb__ExponentialPoint *point) {
    take_times(to, temporality, point->start_time_unix_nano, point->time_unix_nano);
    const Pb__Buckets *positive = point->positive;
    if (temporality == CUMULATIVE)
        memset(&to->exponential, 0, sizeof to->exponential);
    uint64_t count = point->zero_count;
    for (size_t i = 0; positive && i < positive->n_bucket_counts; i++)
        count += positive->bucket_counts[i];
    CHECK(count == point->count);
    if (positive)
        sonde__metric_histogram_merge(&to->exponential, point->scale, positive->offset, positive->bucket_counts,
                                      (uint32_t)positive->n_bucket_counts);
    to->exponential.zero_count += point->zero_count;
    to->exponential.count += point->count;
    to->exponential.sum += point->sum;
    to->had_min = point->has_min_case == PB__EXPONENTIAL_POINT__HAS_MIN_MIN;
    to->had_max = point->has_max_case == PB__EXPONENTIAL_POINT__HAS_MAX_MAX;
    to->min = point->min;
    to->max = point->max;
}

static void take_metric(struct rig *rig, const Pb__Metric *metric) {
    struct arrived *to = of(rig, metric->name);
    for (size_t i = 0; metric->data_case == PB__METRIC__DATA_GAUGE && i < metric->gauge->n_data_points; i++)
        take_number(to, 0, metric->gauge->data_points[i]);
    for (size_t i = 0; metric->data_case == PB__METRIC__DATA_SUM && i < metric->sum->n_data_points; i++)
        take_number(to, metric->sum->aggregation_temporality, metric->sum->data_points[i]);
    for (size_t i = 0; metric->data_case == PB__METRIC__DATA_HISTOGRAM && i < metric->histogram->n_data_points; i++)
        take_explicit(to, metric->histogram->aggregation_temporality, metric->histogram->data_points[i]);
    if (metric->data_case == PB__METRIC__DATA_EXPONENTIAL_HISTOGRAM)
        for (size_t i = 0; i < metric->exponential_histogram->n_data_points; i++)
            take_exponential(to, metric->exponential_histogram->aggregation_temporality,
                             metric->exponential_histogram->data_points[i]);
}

/* Adds up what is in the queue. Returns how many points came. */
static uint32_t drain(struct rig *rig) {
    struct sonde_record_log log = sonde_queue_log(rig->queue);
    struct sonde_record_view view;
    uint32_t points = 0;
    while (log.next(log.self, rig->cursor, rig->drained, &view)) {
        Pb__MetricsRecord *record = pb__metrics_record__unpack(NULL, view.data.size, view.data.data);
        CHECK(record);
        for (size_t i = 0; i < record->n_metrics; i++)
            take_metric(rig, record->metrics[i]);
        pb__metrics_record__free_unpacked(record, NULL);
        points += view.count;
        rig->drained = view.sequence;
        log.release(log.self, rig->cursor, view.sequence);
    }
    return points;
}

static int export_only(struct rig *rig) {
    fakes_advance(&rig->fakes, SECOND);
    return sonde_series_export(rig->store, rig->queue, &rig->ledger);
}
static uint32_t cycle(struct rig *rig) {
    CHECK(export_only(rig) == 0);
    return drain(rig);
}

/* A histogram of somebody else: its bucket up to 1, and the one above; bounds NULL = count and sum alone. */
static void push_histogram(struct sonde_series_source *source, const char *name, const double *bounds, uint64_t low,
                           uint64_t high, double sum) {
    const uint64_t counts[] = {low, high}, all[] = {low + high};
    const struct sonde_series_value value = {.kind = SONDE_HISTOGRAM,
                                             .name = name,
                                             .is_double = true,
                                             .float64 = sum,
                                             .start_is_unknown = true,
                                             .bounds = bounds,
                                             .bound_count = bounds ? 1 : 0,
                                             .counts = bounds ? counts : all};
    CHECK(sonde_series_set(source, &value) == 0);
}

/* ---- instruments ---- */

static struct sonde_series series_of(enum sonde_instrument_kind kind, enum sonde_number number, const char *name,
                                     const double *bounds, size_t bound_count) {
    struct sonde_instrument_options options = {.size = sizeof options,
                                               .kind = kind,
                                               .number = number,
                                               .name = name,
                                               .bounds = bounds,
                                               .bound_count = bound_count};
    struct sonde_instrument instrument;
    CHECK(sonde_instrument_create(&options, &instrument) == 0);
    return sonde_series_bind(instrument, NULL, 0);
}

/* The exponential histogram as the reader has it now. */
static const struct sonde__metric_histogram *cumulative_histogram(struct rig *rig, const char *name) {
    struct sonde__metric_instrument instrument;
    struct sonde__metric_series series;
    for (uint32_t i = 1; i <= sonde__metric_reader_instrument_max(rig->service->reader); i++) {
        uint32_t at = 0;
        CHECK(sonde__metric_reader_instrument(rig->service->reader, i, &instrument));
        if (instrument.name.size == strlen(name) && memcmp(instrument.name.data, name, strlen(name)) == 0 &&
            sonde__metric_reader_series(rig->service->reader, i, &at, &series))
            return series.histogram;
    }
    return NULL;
}

static void check_same_buckets(const struct sonde__metric_histogram *a, const struct sonde__metric_histogram *b) {
    CHECK(a->scale == b->scale && a->count == b->count && a->zero_count == b->zero_count);
    CHECK(fabs(a->sum - b->sum) <= 1e-9 * fabs(b->sum));
    for (int64_t at = -5000; at < 5000; at++) {
        int64_t i = at - a->offset, j = at - b->offset;
        uint64_t in_a = i >= 0 && i < (int64_t)a->bucket_count ? a->buckets[i] : 0;
        uint64_t in_b = j >= 0 && j < (int64_t)b->bucket_count ? b->buckets[j] : 0;
        CHECK(in_a == in_b);
    }
}

/* ---- cases ---- */

static void delta_temporality_sums_to_the_cumulative_values(void) {
    static const double bounds[] = {1, 10, 100};
    struct rig rig;
    struct sonde_series c = series_of(SONDE_COUNTER, SONDE_NUMBER_INT64, "c", NULL, 0);
    struct sonde_series d = series_of(SONDE_COUNTER, SONDE_NUMBER_DOUBLE, "d", NULL, 0);
    struct sonde_series u = series_of(SONDE_UP_DOWN_COUNTER, SONDE_NUMBER_INT64, "u", NULL, 0);
    struct sonde_series g = series_of(SONDE_GAUGE, SONDE_NUMBER_INT64, "g", NULL, 0);
    struct sonde_series e = series_of(SONDE_HISTOGRAM, SONDE_NUMBER_DOUBLE, "e", NULL, 0);
    struct sonde_series x = series_of(SONDE_HISTOGRAM, SONDE_NUMBER_DOUBLE, "x", bounds, 3);
    int64_t count = 0, up_down = 0;
    uint64_t in_bucket[4] = {0};
    double sum = 0;
    rig_init(&rig, SONDE_TEMPORALITY_DELTA, 64 << 20);
    for (unsigned round = 0; round < 40; round++) {
        for (unsigned i = 0; i < round % 7 * 3; i++) {                             /* also none at all */
            double value = pow(2, (double)(round * i % 60) - 20) * (1 + i / 10.0); /* ever wider: the scale falls */
            sonde_counter_add(c, i);
            sonde_counter_add_double(d, 0.5);
            sonde_up_down_counter_add(u, round % 2 ? 3 : -5);
            sonde_gauge_set(g, round);
            sonde_histogram_record(e, i % 5 ? value : 0);
            sonde_histogram_record(x, value);
            count += i;
            sum += 0.5;
            up_down += round % 2 ? 3 : -5;
            in_bucket[value <= 1 ? 0 : value <= 10 ? 1 : value <= 100 ? 2 : 3]++;
        }
        (void)cycle(&rig);
        CHECK(of(&rig, "c")->int64 == count && of(&rig, "u")->int64 == up_down);
    }
    CHECK(of(&rig, "c")->temporality == DELTA && of(&rig, "d")->temporality == DELTA);
    CHECK(of(&rig, "e")->temporality == DELTA && of(&rig, "x")->temporality == DELTA);
    CHECK(of(&rig, "u")->temporality == CUMULATIVE && of(&rig, "u")->points == 40);
    CHECK(of(&rig, "d")->float64 == sum && of(&rig, "g")->int64 == 39);
    CHECK(of(&rig, "c")->points < 36); /* nothing is sent of an interval in which nothing was added */
    check_same_buckets(&of(&rig, "e")->exponential, cumulative_histogram(&rig, "e"));
    CHECK(cumulative_histogram(&rig, "e")->scale < 3); /* it did rescale */
    CHECK(memcmp(of(&rig, "x")->buckets, in_bucket, sizeof in_bucket) == 0);
    rig_deinit(&rig);
}

static void delta_starts_where_the_last_export_ended(void) {
    struct rig rig;
    struct sonde_series c = series_of(SONDE_COUNTER, SONDE_NUMBER_INT64, "c", NULL, 0);
    rig_init(&rig, SONDE_TEMPORALITY_DELTA, 64 << 20);
    sonde_counter_add(c, 1);
    CHECK(cycle(&rig) == 1);
    uint64_t first = of(&rig, "c")->time_unix_ns;
    CHECK(of(&rig, "c")->start_unix_ns < rig.store->since_unix_ns && first == rig.fakes.unix_ns);
    CHECK(cycle(&rig) == 0);
    sonde_counter_add(c, 2);
    CHECK(cycle(&rig) == 1);
    CHECK(of(&rig, "c")->start_unix_ns == first + SECOND && of(&rig, "c")->time_unix_ns == first + 2 * SECOND);
    rig.fakes.unix_ns -= 100 * SECOND; /* somebody set the clock back */
    sonde_counter_add(c, 4);
    CHECK(cycle(&rig) == 1 && of(&rig, "c")->int64 == 7);
    CHECK(of(&rig, "c")->start_unix_ns == first + 2 * SECOND && of(&rig, "c")->time_unix_ns == first + 2 * SECOND);
    rig_deinit(&rig);
}

static void delta_tells_extremes_only_where_they_are_known(void) {
    static const double bounds[] = {10};
    struct rig rig;
    struct sonde_series e = series_of(SONDE_HISTOGRAM, SONDE_NUMBER_DOUBLE, "e", NULL, 0);
    struct sonde_series x = series_of(SONDE_HISTOGRAM, SONDE_NUMBER_DOUBLE, "x", bounds, 1);
    static const struct {
        double value;
        bool min, max;
    } rounds[] = {{5, true, true}, {6, false, true}, {2, true, false}, {3, false, false}, {6, false, false}};
    rig_init(&rig, SONDE_TEMPORALITY_DELTA, 64 << 20);
    for (size_t i = 0; i < sizeof rounds / sizeof *rounds; i++) {
        sonde_histogram_record(e, rounds[i].value);
        sonde_histogram_record(x, rounds[i].value);
        CHECK(cycle(&rig) == 2);
        const struct arrived *both[] = {of(&rig, "e"), of(&rig, "x")};
        for (int j = 0; j < 2; j++) {
            CHECK(both[j]->had_min == rounds[i].min && both[j]->had_max == rounds[i].max);
            CHECK(!rounds[i].min || both[j]->min == rounds[i].value);
            CHECK(!rounds[i].max || both[j]->max == rounds[i].value);
        }
    }
    rig_deinit(&rig);
}

static void delta_loses_nothing_when_the_queue_is_full(void) {
    struct rig rig;
    struct sonde_series c = series_of(SONDE_COUNTER, SONDE_NUMBER_INT64, "c", NULL, 0);
    struct sonde_series e = series_of(SONDE_HISTOGRAM, SONDE_NUMBER_DOUBLE, "e", NULL, 0);
    int full = 0;
    rig_init(&rig, SONDE_TEMPORALITY_DELTA, 600);
    for (int i = 1; i <= 40; i++) {
        sonde_counter_add(c, 1);
        sonde_histogram_record(e, i);
        int err = export_only(&rig);
        CHECK(err == 0 || err == SONDE_EFULL);
        full += err != 0;
        if (i % 8 == 0)
            (void)drain(&rig);
    }
    CHECK(full > 5);
    (void)cycle(&rig);
    CHECK(of(&rig, "c")->int64 == 40 && of(&rig, "e")->exponential.count == 40);
    check_same_buckets(&of(&rig, "e")->exponential, cumulative_histogram(&rig, "e"));
    rig_deinit(&rig);
}

static void push(struct sonde_series_source *source, enum sonde_instrument_kind kind, const char *name, int64_t value,
                 uint64_t start_unix_ns) {
    struct sonde_series_value v = {.kind = kind, .name = name, .int64 = value, .start_unix_ns = start_unix_ns};
    CHECK(sonde_series_set(source, &v) == 0);
}

static void delta_begins_anew_after_a_reset(void) {
    struct rig rig;
    struct sonde_series_source *source;
    rig_init(&rig, SONDE_TEMPORALITY_DELTA, 64 << 20);
    CHECK(sonde_series_source_create(rig.store, (struct sonde_bytes){resource, sizeof resource - 1}, &source) == 0);
    uint64_t start = rig.fakes.unix_ns;
    push(source, SONDE_COUNTER, "p", 100, start);
    CHECK(cycle(&rig) == 1 && of(&rig, "p")->int64 == 100 && of(&rig, "p")->start_unix_ns == start);
    push(source, SONDE_COUNTER, "p", 7, start); /* fell: it was restarted, nobody knows when */
    CHECK(cycle(&rig) == 1 && of(&rig, "p")->int64 == 107);
    uint64_t restart = rig.fakes.unix_ns + SECOND / 2;
    fakes_advance(&rig.fakes, SECOND);
    push(source, SONDE_COUNTER, "p", 9, restart); /* rose, and yet is another count */
    CHECK(cycle(&rig) == 1 && of(&rig, "p")->int64 == 116 && of(&rig, "p")->start_unix_ns == restart);
    push(source, SONDE_COUNTER, "q", 1, start); /* a sweep moves the others: what was sent of them moves along */
    sonde_series_sweep(source);
    push(source, SONDE_COUNTER, "q", 5, start);
    sonde_series_sweep(source);
    CHECK(cycle(&rig) == 1 && of(&rig, "q")->int64 == 5);
    rig_deinit(&rig);
}

static void last_delta_of_a_dead_service_is_exported_once(void) {
    struct rig rig;
    struct sonde_series c = series_of(SONDE_COUNTER, SONDE_NUMBER_INT64, "c", NULL, 0);
    rig_init(&rig, SONDE_TEMPORALITY_DELTA, 64 << 20);
    sonde_counter_add(c, 3);
    CHECK(cycle(&rig) == 1);
    sonde_counter_add(c, 4);
    sonde_series_service_remove(rig.service);
    CHECK(cycle(&rig) == 1 && of(&rig, "c")->int64 == 7);
    CHECK(cycle(&rig) == 0 && of(&rig, "c")->int64 == 7);
    rig_deinit(&rig);
}

static void delta_of_a_series_that_another_agent_exported_begins_at_what_is_there(void) {
    struct rig first, second;
    struct sonde_series c = series_of(SONDE_COUNTER, SONDE_NUMBER_INT64, "c", NULL, 0);
    rig_init(&first, SONDE_TEMPORALITY_DELTA, 64 << 20);
    sonde_counter_add(c, 3);
    CHECK(cycle(&first) == 1 && of(&first, "c")->int64 == 3); /* the first agent sends what was before it came */
    rig_deinit(&first);
    rig_init(&second, SONDE_TEMPORALITY_DELTA, 64 << 20);
    CHECK(cycle(&second) == 0);
    sonde_counter_add(c, 4);
    CHECK(cycle(&second) == 1 && of(&second, "c")->int64 == 4);
    rig_deinit(&second);
}

static void delta_survives_a_lack_of_memory(void) {
    struct rig rig;
    struct sonde_series c = series_of(SONDE_COUNTER, SONDE_NUMBER_INT64, "c", NULL, 0);
    struct sonde_series e = series_of(SONDE_HISTOGRAM, SONDE_NUMBER_DOUBLE, "e", NULL, 0);
    rig_init(&rig, SONDE_TEMPORALITY_DELTA, 64 << 20);
    for (int i = 0; i < 30; i++) {
        sonde_counter_add(c, 1);
        sonde_histogram_record(e, 1);
        rig.fakes.allocations_until_failure = i;
        (void)export_only(&rig);
        rig.fakes.allocations_until_failure = -1;
        (void)drain(&rig);
    }
    (void)cycle(&rig);
    CHECK(of(&rig, "c")->int64 == 30 && of(&rig, "e")->exponential.count == 30);
    rig_deinit(&rig);
}

static void delta_of_histograms_that_are_pushed(void) {
    static const double bounds[] = {1};
    struct rig rig;
    struct sonde_series_source *source;
    rig_init(&rig, SONDE_TEMPORALITY_DELTA, 1 << 20);
    CHECK(sonde_series_source_create(rig.store, (struct sonde_bytes){NULL, 0}, &source) == 0);
    push_histogram(source, "h", bounds, 5, 2, 30);
    push_histogram(source, "s", NULL, 5, 2, 30);
    CHECK(cycle(&rig) == 0); /* what was there before is no news */
    push_histogram(source, "h", bounds, 6, 4, 50);
    push_histogram(source, "s", NULL, 6, 4, 50);
    CHECK(cycle(&rig) == 2);
    const struct arrived *h = of(&rig, "h"), *none = of(&rig, "s");
    CHECK(h->count == 3 && h->buckets[0] == 1 && h->buckets[1] == 2 && fabs(h->sum - 20) < 1e-9);
    CHECK(none->count == 3 && fabs(none->sum - 20) < 1e-9 && none->temporality == DELTA);
    CHECK(!h->had_min && !h->had_max && !none->had_min);
    CHECK(cycle(&rig) == 0);                        /* nothing new */
    push_histogram(source, "h", bounds, 1, 0, 0.5); /* it began anew */
    CHECK(cycle(&rig) == 1 && h->count == 4 && h->buckets[0] == 2 && fabs(h->sum - 20.5) < 1e-9);
    rig_deinit(&rig);
}
CHILD_TEST(delta_of_histograms_that_are_pushed)

static void low_memory_temporality_leaves_what_is_observed_cumulative(void **state) {
    (void)state;
    static const struct {
        enum sonde_temporality temporality;
        enum sonde_instrument_kind kind;
        bool is_service, is_observed, wanted;
    } cases[] = {
        {SONDE_TEMPORALITY_CUMULATIVE, SONDE_COUNTER, true, false, false},
        {SONDE_TEMPORALITY_CUMULATIVE, SONDE_HISTOGRAM, true, false, false},
        {SONDE_TEMPORALITY_DELTA, SONDE_COUNTER, true, false, true},
        {SONDE_TEMPORALITY_DELTA, SONDE_COUNTER, true, true, true},
        {SONDE_TEMPORALITY_DELTA, SONDE_COUNTER, false, false, true},
        {SONDE_TEMPORALITY_DELTA, SONDE_HISTOGRAM, true, false, true},
        {SONDE_TEMPORALITY_DELTA, SONDE_UP_DOWN_COUNTER, true, false, false},
        {SONDE_TEMPORALITY_DELTA, SONDE_UP_DOWN_COUNTER, true, true, false},
        {SONDE_TEMPORALITY_DELTA, SONDE_GAUGE, true, false, false},
        {SONDE_TEMPORALITY_LOW_MEMORY, SONDE_COUNTER, true, false, true},
        {SONDE_TEMPORALITY_LOW_MEMORY, SONDE_COUNTER, true, true, false},
        {SONDE_TEMPORALITY_LOW_MEMORY, SONDE_COUNTER, false, false, false},
        {SONDE_TEMPORALITY_LOW_MEMORY, SONDE_HISTOGRAM, true, false, true},
        {SONDE_TEMPORALITY_LOW_MEMORY, SONDE_UP_DOWN_COUNTER, true, false, false},
        {SONDE_TEMPORALITY_LOW_MEMORY, SONDE_GAUGE, true, false, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct sonde_series_store store = {.temporality = cases[i].temporality};
        struct sonde_series_source source = {.store = &store, .reader = cases[i].is_service ? (void *)&store : NULL};
        struct sonde_metric metric = {.kind = cases[i].kind, .is_observed = cases[i].is_observed};
        assert_int_equal(series_delta_wanted(&source, &metric), cases[i].wanted);
    }
}

static void low_memory_knows_an_observable_counter_of_a_service(void) {
    struct rig rig;
    struct sonde_instrument_options options = {.size = sizeof options, .kind = SONDE_OBSERVABLE_COUNTER, .name = "o"};
    struct sonde_instrument instrument;
    struct sonde_series c = series_of(SONDE_COUNTER, SONDE_NUMBER_INT64, "c", NULL, 0);
    struct sonde_metric_cursor at = {NULL, 0};
    struct sonde_metric metric;
    int seen = 0;
    CHECK(sonde_instrument_create(&options, &instrument) == 0);
    sonde_counter_add(c, 1);
    rig_init(&rig, SONDE_TEMPORALITY_LOW_MEMORY, 64 << 20);
    sonde_series_refresh(rig.store);
    struct sonde_metric_feed feed = sonde_series_feed(rig.store);
    while (feed.next_metric(feed.self, &at, &metric)) {
        bool is_o = metric.name.data[0] == 'o';
        CHECK(metric.kind == SONDE_COUNTER && metric.is_observed == is_o);
        CHECK(series_delta_wanted(rig.service, &metric) == !is_o);
        seen++;
    }
    CHECK(seen == 2);
    rig_deinit(&rig);
}

CHILD_TEST(low_memory_knows_an_observable_counter_of_a_service)
CHILD_TEST(delta_temporality_sums_to_the_cumulative_values)
CHILD_TEST(delta_starts_where_the_last_export_ended)
CHILD_TEST(delta_tells_extremes_only_where_they_are_known)
CHILD_TEST(delta_loses_nothing_when_the_queue_is_full)
CHILD_TEST(delta_begins_anew_after_a_reset)
CHILD_TEST(last_delta_of_a_dead_service_is_exported_once)
CHILD_TEST(delta_of_a_series_that_another_agent_exported_begins_at_what_is_there)
CHILD_TEST(delta_survives_a_lack_of_memory)

int main(void) {
    setenv("SONDE_AGENT_SOCKET", "/nonexistent/agent.sock", 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(delta_temporality_sums_to_the_cumulative_values_test),
        cmocka_unit_test(delta_starts_where_the_last_export_ended_test),
        cmocka_unit_test(delta_tells_extremes_only_where_they_are_known_test),
        cmocka_unit_test(delta_loses_nothing_when_the_queue_is_full_test),
        cmocka_unit_test(delta_begins_anew_after_a_reset_test),
        cmocka_unit_test(last_delta_of_a_dead_service_is_exported_once_test),
        cmocka_unit_test(delta_of_a_series_that_another_agent_exported_begins_at_what_is_there_test),
        cmocka_unit_test(delta_survives_a_lack_of_memory_test),
        cmocka_unit_test(low_memory_knows_an_observable_counter_of_a_service_test),
        cmocka_unit_test(delta_of_histograms_that_are_pushed_test),
        cmocka_unit_test(low_memory_temporality_leaves_what_is_observed_cumulative),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
