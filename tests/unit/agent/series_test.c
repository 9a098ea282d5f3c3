/* SPDX-License-Identifier: Apache-2.0 */
/* The store of series: pushed sources and a service's (scripted) shared memory, out as Prometheus text and as records.
 */
#include "agent/series/series.h"
#include "exporters/prometheus/text.h"
#include "instrumentation/ring/cells.h"
#include "tests/lib/fakes.h"
#include <errno.h>
#include <setjmp.h>
#include <sonde/err.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
/* cmocka.h needs those four first */
#include <cmocka.h>

struct fixture {
    struct fakes fakes;
    struct sonde_seams seams;
    struct sonde_series_store *store;
    struct sonde_queue *queue;
    struct sonde_ledger ledger;
    char *text;
    size_t text_size;
    FILE *out;
};

static int setup(void **state) {
    struct fixture *f = calloc(1, sizeof *f);
    fakes_init(&f->fakes);
    f->seams = fakes_seams(&f->fakes);
    struct sonde_queue_options options = {.size_max = 64 << 20};
    sonde_ledger_init(&f->ledger);
    *state = f;
    return sonde_series_store_create(&f->seams, &f->store) || sonde_queue_create(&options, &f->seams, &f->queue);
}
static int teardown(void **state) {
    struct fixture *f = *state;
    sonde_series_store_destroy(f->store);
    sonde_queue_destroy(f->queue);
    free(f->text);
    int leaked = f->fakes.live != 0;
    free(f);
    return leaked;
}

static int sink_write(void *self, const char *text, size_t size) {
    return fwrite(text, 1, size, self) == size ? 0 : -EIO;
}

/* The store's text, NUL-terminated, until the next call. */
static const char *scrape(struct fixture *f, struct sonde_prometheus_stats *stats) {
    free(f->text);
    FILE *out = open_memstream(&f->text, &f->text_size);
    assert_non_null(out);
    struct sonde_prometheus_sink sink = {sink_write, out};
    struct sonde_metric_feed feed = sonde_series_feed(f->store);
    sonde_series_refresh(f->store);
    assert_int_equal(sonde_prometheus_write(&feed, &f->seams.alloc, &sink, stats), 0);
    (void)fclose(out);
    return f->text;
}

/* Resource with service.name, service.instance.id and host.name. */
static const uint8_t resource[] = "\x0A\x18\x0A\x0Cservice.name\x12\x08\x0A\x06orders"
                                  "\x0A\x1B\x0A\x13service.instance.id\x12\x04\x0A\x02i1"
                                  "\x0A\x15\x0A\x09host.name\x12\x08\x0A\x06\"node\\";
#define RESOURCE ((struct sonde_bytes){resource, sizeof resource - 1})

static void push(struct sonde_series_source *source, enum sonde_instrument_kind kind, const char *name,
                 const char *unit, const char *label, int64_t value) {
    struct sonde_attribute attribute = sonde_attribute_string(SONDE_KEY("queue.name"), label ? label : "");
    struct sonde_series_value v = {.kind = kind,
                                   .name = name,
                                   .unit = unit,
                                   .description = "A \\ test\nof text",
                                   .attributes = &attribute,
                                   .attribute_count = label != NULL,
                                   .int64 = value,
                                   .start_unix_ns = 1000};
    assert_int_equal(sonde_series_set(source, &v), 0);
}

static void pushed_series_become_text(void **state) {
    struct fixture *f = *state;
    struct sonde_series_source *source;
    struct sonde_prometheus_stats stats;
    assert_int_equal(sonde_series_source_create(f->store, RESOURCE, &source), 0);
    push(source, SONDE_COUNTER, "sonde.agent.records", "{record}", "a\"b", 5);
    push(source, SONDE_GAUGE, "sonde.agent.queue.usage", "By", NULL, -3);
    assert_string_equal(scrape(f, &stats),
                        "# HELP target_info Attributes of the resource that job and instance name\n"
                        "# TYPE target_info gauge\n"
                        "target_info{host_name=\"\\\"node\\\\\",instance=\"i1\",job=\"orders\"} 1\n"
                        "# HELP sonde_agent_queue_usage_bytes A \\\\ test\\nof text\n"
                        "# TYPE sonde_agent_queue_usage_bytes gauge\n"
                        "sonde_agent_queue_usage_bytes{instance=\"i1\",job=\"orders\"} -3\n"
                        "# HELP sonde_agent_records_total A \\\\ test\\nof text\n"
                        "# TYPE sonde_agent_records_total counter\n"
                        "sonde_agent_records_total{instance=\"i1\",job=\"orders\",queue_name=\"a\\\"b\"} 5\n");
    assert_int_equal(stats.families, 2);
    assert_int_equal(stats.series, 2);
}

static void sweep_removes_what_was_not_set_again(void **state) {
    struct fixture *f = *state;
    struct sonde_series_source *source;
    struct sonde_prometheus_stats stats;
    char label[16];
    assert_int_equal(sonde_series_source_create(f->store, RESOURCE, &source), 0);
    for (int i = 0; i < 100; i++) {
        (void)snprintf(label, sizeof label, "g%d", i);
        push(source, SONDE_GAUGE, "lag", "1", label, i);
    }
    sonde_series_sweep(source);
    push(source, SONDE_GAUGE, "lag", "1", "g42", 7);
    sonde_series_sweep(source);
    (void)scrape(f, &stats);
    assert_int_equal(stats.series, 1);
    assert_non_null(strstr(f->text, "lag_ratio{instance=\"i1\",job=\"orders\",queue_name=\"g42\"} 7\n"));
}

static void conflicts_keep_the_first_and_equal_series_are_added(void **state) {
    struct fixture *f = *state;
    struct sonde_series_source *a, *b;
    struct sonde_prometheus_stats stats;
    assert_int_equal(sonde_series_source_create(f->store, RESOURCE, &a), 0);
    assert_int_equal(sonde_series_source_create(f->store, RESOURCE, &b), 0);
    push(a, SONDE_COUNTER, "jobs", NULL, NULL, 5);
    push(b, SONDE_COUNTER, "jobs", NULL, NULL, 6);
    push(a, SONDE_GAUGE, "x.y", NULL, NULL, 1);
    push(a, SONDE_GAUGE, "jobs.total", NULL, NULL, 1);
    struct sonde_series_value wrong = {.kind = SONDE_GAUGE, .name = "jobs"};
    assert_int_equal(sonde_series_set(a, &wrong), SONDE_EINVALID);
    (void)scrape(f, &stats);
    assert_int_equal(stats.type_conflicts, 1);
    assert_int_equal(stats.families, 2);
    assert_non_null(strstr(f->text, "\njobs_total{instance=\"i1\",job=\"orders\"} 11\n"));
}

/* ---- a service ---- */

struct service {
    uint8_t *process, *threads;
};

static int service_read(void *self, uint32_t memory, uint64_t offset, void *buffer, size_t size) {
    struct service *s = self;
    uint8_t *from = memory == 0 ? s->process : memory == 1 ? s->threads : NULL;
    if (!from || offset + size > (memory ? SONDE__THREADS_SIZE : SONDE__PROCESS_SIZE))
        return -ENOENT;
    memcpy(buffer, from + offset, size);
    return 0;
}

static void describe(struct service *s, enum sonde__descriptor_type type, uint16_t index, const void *body,
                     uint32_t body_size, const void *extra, uint32_t extra_size) {
    struct sonde__process *process = (void *)s->process;
    struct sonde__descriptor head = {.size = (uint32_t)((sizeof head + body_size + extra_size + 7) & ~7u),
                                     .type = (uint16_t)type,
                                     .index = index,
                                     .body_size = body_size,
                                     .extra_size = extra_size};
    uint8_t *at = s->process + SONDE__DESCRIPTORS_AT + process->descriptors_head;
    memcpy(at, &head, sizeof head);
    memcpy(at + sizeof head, body, body_size);
    if (extra_size)
        memcpy(at + sizeof head + body_size, extra, extra_size);
    process->descriptors_head += head.size;
}

static void instrument(struct service *s, uint16_t index, enum sonde_instrument_kind kind, uint16_t scope,
                       const char *name, const double *bounds, uint16_t bound_count) {
    uint8_t body[512];
    struct sonde__instrument_descriptor d = {.kind = (uint8_t)kind,
                                             .number = kind == SONDE_HISTOGRAM,
                                             .scope = scope,
                                             .name_size = (uint16_t)strlen(name),
                                             .unit_size = 1,
                                             .bound_count = bound_count};
    memcpy(body, &d, sizeof d);
    memcpy(body + sizeof d, name, d.name_size);
    body[sizeof d + d.name_size] = 's';
    describe(s, SONDE__DESCRIPTOR_INSTRUMENT, index, body, (uint32_t)sizeof d + d.name_size + 1u, bounds,
             bound_count * 8u);
}

static void series(struct service *s, uint16_t index, uint16_t of, const char *attributes) {
    struct sonde__series_descriptor d = {.instrument = of, .start_unix_ns = 2000};
    describe(s, SONDE__DESCRIPTOR_SERIES, index, &d, sizeof d, attributes, (uint32_t)strlen(attributes));
}

/* A histogram at `unit` of region 0's arena with its block behind it. */
static void histogram(struct service *s, uint32_t number, uint32_t unit, int32_t scale, int32_t offset,
                      uint32_t bound_count, const uint64_t *buckets, uint32_t count) {
    uint8_t *at = s->threads + SONDE__HISTOGRAMS_AT + unit * 64;
    struct sonde__histogram *h = (void *)at;
    double sum = 6.5, min = 0, max = 4;
    h->series = number;
    h->bound_count = bound_count;
    h->active = unit + 1;
    h->zero_count = bound_count ? 0 : 1;
    memcpy(&h->sum, &sum, 8);
    memcpy(&h->min, &min, 8);
    memcpy(&h->max, &max, 8);
    struct sonde__histogram_block *block = (void *)(at + 64);
    block->scale = scale;
    block->offset = offset;
    block->capacity = count;
    memcpy(block->buckets, buckets, count * 8);
    _Atomic uint64_t *cells = (void *)(s->threads + SONDE__CELLS_AT);
    cells[number] = unit + 1;
}

static void service_init(struct service *s) {
    static const double bounds[] = {0.5, 2};
    static const uint64_t counts[] = {1, 2, 3, 0}, explicit_counts[] = {4, 5, 6};
    s->process = calloc(1, SONDE__PROCESS_SIZE);
    s->threads = calloc(1, SONDE__THREADS_SIZE);
    ((struct sonde__region *)(void *)(s->threads + SONDE__CONTROL_AT))->state = SONDE__REGION_ATTACHED;
    describe(s, SONDE__DESCRIPTOR_SCOPE, 1,
             "\x0A\x03lib\x12\x01"
             "9",
             8, NULL, 0);
    instrument(s, 1, SONDE_COUNTER, 1, "calls", NULL, 0);
    instrument(s, 2, SONDE_HISTOGRAM, 0, "wait.time", NULL, 0);
    instrument(s, 3, SONDE_HISTOGRAM, 0, "advised.time", bounds, 2);
    series(s, 1, 1, "\x0A\x08\x0A\x01k\x12\x03\x0A\x01v");
    series(s, 2, 2, "");
    series(s, 3, 3, "");
    ((_Atomic uint64_t *)(void *)(s->threads + SONDE__CELLS_AT))[1] = 40;
    ((struct sonde__shared_cell *)(void *)(s->process + SONDE__SHARED_CELLS_AT))[1].value = 2;
    histogram(s, 2, 0, 1, 0, 0, counts, 4); /* scale 1: (1, sqrt2] (sqrt2, 2] (2, 2.83] */
    histogram(s, 3, 32, 0, 0, 2, explicit_counts, 3);
}
static void service_deinit(struct service *s) {
    free(s->process);
    free(s->threads);
}

static const char service_text[] = "# HELP advised_time_seconds OpenTelemetry metric advised.time\n"
                                   "# TYPE advised_time_seconds histogram\n"
                                   "advised_time_seconds_bucket{instance=\"i1\",job=\"orders\",le=\"0.5\"} 4\n"
                                   "advised_time_seconds_bucket{instance=\"i1\",job=\"orders\",le=\"2\"} 9\n"
                                   "advised_time_seconds_bucket{instance=\"i1\",job=\"orders\",le=\"+Inf\"} 15\n"
                                   "advised_time_seconds_sum{instance=\"i1\",job=\"orders\"} 6.5\n"
                                   "advised_time_seconds_count{instance=\"i1\",job=\"orders\"} 15\n"
                                   "# HELP calls_seconds_total OpenTelemetry metric calls\n"
                                   "# TYPE calls_seconds_total counter\n"
                                   "calls_seconds_total{instance=\"i1\",job=\"orders\",k=\"v\",otel_scope_name=\"lib\","
                                   "otel_scope_version=\"9\"} 42\n"
                                   "# HELP wait_time_seconds OpenTelemetry metric wait.time\n"
                                   "# TYPE wait_time_seconds histogram\n"
                                   "wait_time_seconds_bucket{instance=\"i1\",job=\"orders\",le=\"2\"} 4\n"
                                   "wait_time_seconds_bucket{instance=\"i1\",job=\"orders\",le=\"4\"} 7\n"
                                   "wait_time_seconds_bucket{instance=\"i1\",job=\"orders\",le=\"+Inf\"} 7\n"
                                   "wait_time_seconds_sum{instance=\"i1\",job=\"orders\"} 6.5\n"
                                   "wait_time_seconds_count{instance=\"i1\",job=\"orders\"} 7\n";

static void service_series_become_text_and_outlive_it(void **state) {
    struct fixture *f = *state;
    struct service s;
    struct sonde_series_source *source;
    struct sonde_prometheus_stats stats;
    service_init(&s);
    struct sonde__metric_memory memory = {service_read, &s};
    assert_int_equal(sonde_series_service_add(f->store, &memory, RESOURCE, 1000, &source), 0);
    const char *text = scrape(f, &stats);
    assert_non_null(strstr(text, "# HELP adv"));
    assert_string_equal(strstr(text, "# HELP adv"), service_text);
    ((_Atomic uint64_t *)(void *)(s.threads + SONDE__CELLS_AT))[1] = 41;
    sonde_series_service_remove(source); /* final value 43 */
    service_deinit(&s);
    fakes_advance(&f->fakes, SONDE_SERIES_DEAD_NS - 1);
    assert_non_null(strstr(scrape(f, &stats), "otel_scope_version=\"9\"} 43\n"));
    fakes_advance(&f->fakes, 1);
    assert_string_equal(scrape(f, &stats), "");
}

static void dead_values_wait_for_the_export(void **state) {
    struct fixture *f = *state;
    struct service s;
    struct sonde_series_source *source;
    uint32_t cursor, sources;
    uint64_t count;
    assert_int_equal(sonde_queue_cursor_create(f->queue, 1u << SONDE_SIGNAL_METRICS, &cursor), 0);
    assert_int_equal(sonde_series_export(f->store, f->queue, &f->ledger), 0); /* somebody exports */
    service_init(&s);
    struct sonde__metric_memory memory = {service_read, &s};
    assert_int_equal(sonde_series_service_add(f->store, &memory, RESOURCE, 1000, &source), 0);
    sonde_series_service_remove(source);
    service_deinit(&s);
    fakes_advance(&f->fakes, 2 * SONDE_SERIES_DEAD_NS);
    sonde_series_refresh(f->store);
    sonde_series_counts(f->store, &sources, &count);
    assert_int_equal(sources, 1);
    assert_int_equal(count, 3);
    assert_int_equal(sonde_series_export(f->store, f->queue, &f->ledger), 0);
    assert_int_equal(f->ledger.intake[SONDE_SIGNAL_METRICS].appended, 3);
    assert_int_equal(sonde_series_export(f->store, f->queue, &f->ledger), 0);
    assert_int_equal(f->ledger.intake[SONDE_SIGNAL_METRICS].appended, 3); /* once */
    sonde_series_counts(f->store, &sources, &count);
    assert_int_equal(sources, 0);
}

static void export_makes_records_of_one_scope_each(void **state) {
    struct fixture *f = *state;
    struct service s;
    struct sonde_series_source *source;
    struct sonde_record_view view;
    uint32_t cursor;
    service_init(&s);
    struct sonde__metric_memory memory = {service_read, &s};
    assert_int_equal(sonde_queue_cursor_create(f->queue, 1u << SONDE_SIGNAL_METRICS, &cursor), 0);
    assert_int_equal(sonde_series_service_add(f->store, &memory, RESOURCE, 1000, &source), 0);
    assert_int_equal(sonde_series_export(f->store, f->queue, &f->ledger), 0);
    struct sonde_record_log log = sonde_queue_log(f->queue);
    assert_true(log.next(log.self, cursor, 0, &view));
    assert_int_equal(view.signal, SONDE_SIGNAL_METRICS);
    assert_int_equal(view.count, 1);
    assert_int_equal(view.uid, 1000);
    assert_int_equal(view.scope.size, 8);
    assert_memory_equal(view.resource.data, resource, sizeof resource - 1);
    static const uint8_t head[] = "\x12\x37\x0A\x05"
                                  "calls\x1A\x01s\x3A\x2B\x0A\x25\x3A\x08\x0A\x01k\x12\x03\x0A\x01v\x11\xD0\x07";
    assert_memory_equal(view.data.data, head, sizeof head - 1);
    assert_int_equal(view.data.size, 2 + 0x37);
    assert_true(log.next(log.self, cursor, view.sequence, &view));
    assert_int_equal(view.count, 2);
    assert_int_equal(view.scope.size, 0);
    assert_false(log.next(log.self, cursor, view.sequence, &view));
    const char *path = getenv("SONDE_TEST_KEEP"); /* for looking at with an outside decoder */
    if (path) {
        assert_true(log.next(log.self, cursor, 0, &view));
        FILE *out = fopen(path, "w");
        do
            (void)fwrite(view.data.data, 1, view.data.size, out);
        while (log.next(log.self, cursor, view.sequence, &view));
        (void)fclose(out);
    }
    service_deinit(&s);
}

/* An exemplar of series 1 (a counter), at `index` of a reservoir of two. */
static void exemplar(struct service *s, uint32_t index, uint32_t period, uint64_t value, const char *attributes) {
    uint8_t *arena = s->process + SONDE__EXEMPLAR_ARENA_AT;
    *(uint32_t *)(void *)(s->process + SONDE__EXEMPLARS_AT + 4) = 1;
    *(struct sonde__reservoir *)(void *)arena = (struct sonde__reservoir){
        .series = 1, .lanes = 1, .per_lane = 2, .slot_size = SONDE__EXEMPLAR_SIZE_WITH_ATTRIBUTES};
    struct sonde__exemplar *slot =
        (void *)(arena + sizeof(struct sonde__reservoir) + (size_t)index * SONDE__EXEMPLAR_SIZE_WITH_ATTRIBUTES);
    slot->sequence = 2;
    slot->collection = period;
    slot->time_unix_ns = 0x0102030405060708;
    slot->value = value;
    memset(slot->trace_id, 0x77, sizeof slot->trace_id);
    memset(slot->span_id, 0x66, sizeof slot->span_id);
    slot->attributes_size = (uint16_t)strlen(attributes);
    memcpy(slot->attributes, attributes, slot->attributes_size);
}
static void period_end(void *self, uint32_t collection) {
    struct service *s = self;
    ((struct sonde__process *)(void *)s->process)->collection = collection + 1;
}
/* Exports; what there is of `bytes` in the first record of the export. */
static const void *exported(struct fixture *f, uint32_t cursor, uint64_t *after, const char *bytes, size_t size) {
    struct sonde_record_view view;
    struct sonde_record_log log = sonde_queue_log(f->queue);
    assert_int_equal(sonde_series_export(f->store, f->queue, &f->ledger), 0);
    const void *found = NULL;
    for (bool is_first = true; log.next(log.self, cursor, *after, &view); is_first = false) {
        if (is_first)
            found = memmem(view.data.data, view.data.size, bytes, size);
        *after = view.sequence;
    }
    return found;
}
/* NumberDataPoint.exemplars: time, as_int, span_id, trace_id, filtered_attributes. */
#define EXEMPLAR_HEAD "\x11\x08\x07\x06\x05\x04\x03\x02\x01\x31"
#define EXEMPLAR_IDS                                                                                                   \
    "\x22\x08"                                                                                                         \
    "ffffffff\x2A\x10"                                                                                                 \
    "wwwwwwwwwwwwwwww"
#define FIRST_EXEMPLAR  "\x2A\x38" EXEMPLAR_HEAD "\x09\0\0\0\0\0\0\0" EXEMPLAR_IDS "\x3A\x08\x0A\x01u\x12\x03\x0A\x01w"
#define SECOND_EXEMPLAR "\x2A\x2E" EXEMPLAR_HEAD "\x0A\0\0\0\0\0\0\0" EXEMPLAR_IDS
#define EXPORTED(text)  exported(f, cursor, &after, text, sizeof text - 1)

static void exemplars_are_exported_once(void **state) {
    struct fixture *f = *state;
    struct service s;
    struct sonde_series_source *source;
    struct sonde_metric metric;
    struct sonde_metric_point point;
    struct sonde_metric_cursor at_metric = {0};
    uint32_t cursor, at = 0;
    uint64_t after = 0;
    service_init(&s);
    exemplar(&s, 0, 0, 9, "\x0A\x08\x0A\x01u\x12\x03\x0A\x01w");
    struct sonde__metric_memory memory = {service_read, &s};
    assert_int_equal(sonde_queue_cursor_create(f->queue, 1u << SONDE_SIGNAL_METRICS, &cursor), 0);
    assert_int_equal(sonde_series_service_add(f->store, &memory, RESOURCE, 1000, &source), 0);
    sonde_series_service_on_export(source, period_end);
    assert_non_null(EXPORTED(FIRST_EXEMPLAR));
    assert_int_equal(((struct sonde__process *)(void *)s.process)->collection, 1);
    assert_null(EXPORTED(EXEMPLAR_HEAD));
    exemplar(&s, 1, 2, 10, "");
    struct sonde_metric_feed feed = sonde_series_feed(f->store); /* the old one is still there to be looked at */
    assert_non_null(EXPORTED(SECOND_EXEMPLAR));
    assert_true(feed.next_metric(feed.self, &at_metric, &metric) && feed.next_point(feed.self, &metric, &at, &point));
    assert_int_equal(point.exemplar_count, 2);
    assert_true(!point.exemplars[0].is_new && point.exemplars[1].is_new);
    service_deinit(&s);
}

static void exemplars_of_the_dead_are_exported(void **state) {
    struct fixture *f = *state;
    struct service s;
    struct sonde_series_source *source;
    uint32_t cursor;
    uint64_t after = 0;
    service_init(&s);
    struct sonde__metric_memory memory = {service_read, &s};
    assert_int_equal(sonde_queue_cursor_create(f->queue, 1u << SONDE_SIGNAL_METRICS, &cursor), 0);
    assert_int_equal(sonde_series_service_add(f->store, &memory, RESOURCE, 1000, &source), 0);
    sonde_series_service_on_export(source, period_end);
    exemplar(&s, 1, 0, 10, "");
    sonde_series_service_remove(source);
    service_deinit(&s);
    assert_non_null(EXPORTED(SECOND_EXEMPLAR));
}

static void export_splits_what_is_larger_than_a_record(void **state) {
    struct fixture *f = *state;
    struct sonde_series_source *source;
    struct sonde_record_view view = {0};
    uint32_t cursor, records = 0;
    uint64_t points = 0, after = 0;
    char label[2000];
    memset(label, 'x', sizeof label);
    assert_int_equal(sonde_queue_cursor_create(f->queue, 1u << SONDE_SIGNAL_METRICS, &cursor), 0);
    assert_int_equal(sonde_series_source_create(f->store, RESOURCE, &source), 0);
    for (int i = 0; i < 1500; i++) {
        (void)snprintf(label, sizeof label, "%01900d", i);
        push(source, SONDE_GAUGE, "large", NULL, label, i);
    }
    assert_int_equal(sonde_series_export(f->store, f->queue, &f->ledger), 0);
    struct sonde_record_log log = sonde_queue_log(f->queue);
    for (; log.next(log.self, cursor, after, &view); after = view.sequence) {
        assert_true(view.data.size <= SONDE_QUEUE_RECORD_SIZE_MAX);
        records++;
        points += view.count;
    }
    assert_int_equal(records, 3);
    assert_int_equal(points, 1500);
    assert_int_equal(f->ledger.intake[SONDE_SIGNAL_METRICS].appended, 1500);
}

static void out_of_memory_is_told_and_nothing_leaks(void **state) {
    struct fixture *f = *state;
    struct service s;
    service_init(&s);
    struct sonde__metric_memory memory = {service_read, &s};
    FILE *out = fopen("/dev/null", "w");
    struct sonde_prometheus_sink sink = {sink_write, out};
    struct sonde_prometheus_stats stats;
    int successes = 0;
    for (int64_t budget = 0; budget < 200 && successes < 3; budget++) {
        struct sonde_series_source *source = NULL;
        f->fakes.allocations_until_failure = budget;
        int err = sonde_series_service_add(f->store, &memory, RESOURCE, 1, &source);
        struct sonde_metric_feed feed = sonde_series_feed(f->store);
        if (!err) {
            sonde_series_refresh(f->store);
            err = sonde_prometheus_write(&feed, &f->seams.alloc, &sink, &stats);
        }
        assert_true(err == 0 || err == -ENOMEM);
        successes += err == 0 && stats.series == 3;
        f->fakes.allocations_until_failure = -1;
        sonde_series_source_destroy(source);
    }
    assert_int_equal(successes, 3);
    (void)fclose(out);
    service_deinit(&s);
}

/* promtool knows the format better than we do. */
static void text_passes_promtool(void **state) {
    struct fixture *f = *state;
    struct service s;
    struct sonde_series_source *source, *agent;
    struct sonde_prometheus_stats stats;
    if (system("promtool --version >/dev/null 2>&1") != 0)
        skip();
    service_init(&s);
    struct sonde__metric_memory memory = {service_read, &s};
    assert_int_equal(sonde_series_service_add(f->store, &memory, RESOURCE, 1000, &source), 0);
    assert_int_equal(sonde_series_source_create(f->store, RESOURCE, &agent), 0);
    push(agent, SONDE_COUNTER, "sonde.agent.records", "{record}", "odd \" \\ \n label", 5);
    push(agent, SONDE_UP_DOWN_COUNTER, "sonde.agent.connections", NULL, NULL, 2);
    push(agent, SONDE_GAUGE, "sonde.agent.queue.usage", "By", NULL, 3);
    (void)scrape(f, &stats);
    FILE *promtool = popen("promtool check metrics 2>&1 | { ! grep .; }", "w");
    assert_non_null(promtool);
    assert_int_equal(fwrite(f->text, 1, f->text_size, promtool), f->text_size);
    assert_int_equal(pclose(promtool), 0);
    service_deinit(&s);
}

static struct sonde_metric_point only_point(struct fixture *f) {
    struct sonde_metric_feed feed = sonde_series_feed(f->store);
    struct sonde_metric_cursor cursor = {0};
    struct sonde_metric metric;
    struct sonde_metric_point point;
    uint32_t at = 0;
    assert_true(feed.next_metric(feed.self, &cursor, &metric));
    assert_true(feed.next_point(feed.self, &metric, &at, &point));
    return point;
}

static void totals_of_others_begin_when_they_are_seen_and_when_they_fall(void **state) {
    struct fixture *f = *state;
    struct sonde_series_source *source;
    struct sonde_series_value value = {
        .kind = SONDE_COUNTER, .name = "c_total", .is_double = true, .float64 = 100, .start_is_unknown = true};
    assert_int_equal(sonde_series_source_create(f->store, (struct sonde_bytes){NULL, 0}, &source), 0);
    uint64_t begun = f->fakes.unix_ns;
    assert_int_equal(sonde_series_set(source, &value), 0);
    assert_int_equal(only_point(f).start_unix_ns, begun);
    fakes_advance(&f->fakes, 1000);
    value.float64 = 105;
    assert_int_equal(sonde_series_set(source, &value), 0);
    assert_int_equal(only_point(f).start_unix_ns, begun);
    value.float64 = 3;
    assert_int_equal(sonde_series_set(source, &value), 0);
    assert_int_equal(only_point(f).start_unix_ns, begun + 1000);
    sonde_series_start(source, "c_total", NULL, 0, 7); /* told, after all */
    assert_int_equal(sonde_series_set(source, &value), 0);
    assert_int_equal(only_point(f).start_unix_ns, 7);
}

static void what_others_had_counted_before_is_no_delta(void **state) {
    struct fixture *f = *state;
    struct sonde_series_source *source;
    struct sonde_series_value value = {
        .kind = SONDE_COUNTER, .name = "c_total", .is_double = true, .float64 = 100, .start_is_unknown = true};
    sonde_series_store_set_temporality(f->store, SONDE_TEMPORALITY_DELTA);
    assert_int_equal(sonde_series_source_create(f->store, (struct sonde_bytes){NULL, 0}, &source), 0);
    assert_int_equal(sonde_series_set(source, &value), 0);
    assert_int_equal(sonde_series_export(f->store, f->queue, &f->ledger), 0);
    assert_int_equal(sonde_queue_appended(f->queue, SONDE_SIGNAL_METRICS), 0);
    fakes_advance(&f->fakes, 1000);
    value.float64 = 105;
    assert_int_equal(sonde_series_set(source, &value), 0);
    assert_int_equal(sonde_series_export(f->store, f->queue, &f->ledger), 0);
    assert_int_equal(sonde_queue_appended(f->queue, SONDE_SIGNAL_METRICS), 1);
}

static void a_name_that_went_may_come_back_as_another_kind(void **state) {
    struct fixture *f = *state;
    struct sonde_series_source *source;
    struct sonde_series_value values[] = {{.kind = SONDE_COUNTER, .name = "first", .int64 = 1},
                                          {.kind = SONDE_COUNTER, .name = "second", .int64 = 2},
                                          {.kind = SONDE_COUNTER, .name = "third", .int64 = 3}};
    assert_int_equal(sonde_series_source_create(f->store, (struct sonde_bytes){NULL, 0}, &source), 0);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(sonde_series_set(source, &values[i]), 0);
    sonde_series_sweep(source);
    assert_int_equal(sonde_series_set(source, &values[2]), 0);
    sonde_series_sweep(source);
    values[0].kind = SONDE_GAUGE;
    values[2].int64 = 4;
    assert_int_equal(sonde_series_set(source, &values[0]), 0);
    assert_int_equal(sonde_series_set(source, &values[2]), 0);
    sonde_series_sweep(source);
    uint32_t sources;
    uint64_t series;
    sonde_series_counts(f->store, &sources, &series);
    assert_int_equal(series, 2); /* not a second `third` */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(pushed_series_become_text, setup, teardown),
        cmocka_unit_test_setup_teardown(sweep_removes_what_was_not_set_again, setup, teardown),
        cmocka_unit_test_setup_teardown(conflicts_keep_the_first_and_equal_series_are_added, setup, teardown),
        cmocka_unit_test_setup_teardown(service_series_become_text_and_outlive_it, setup, teardown),
        cmocka_unit_test_setup_teardown(dead_values_wait_for_the_export, setup, teardown),
        cmocka_unit_test_setup_teardown(export_makes_records_of_one_scope_each, setup, teardown),
        cmocka_unit_test_setup_teardown(exemplars_are_exported_once, setup, teardown),
        cmocka_unit_test_setup_teardown(exemplars_of_the_dead_are_exported, setup, teardown),
        cmocka_unit_test_setup_teardown(export_splits_what_is_larger_than_a_record, setup, teardown),
        cmocka_unit_test_setup_teardown(out_of_memory_is_told_and_nothing_leaks, setup, teardown),
        cmocka_unit_test_setup_teardown(text_passes_promtool, setup, teardown),
        cmocka_unit_test_setup_teardown(totals_of_others_begin_when_they_are_seen_and_when_they_fall, setup, teardown),
        cmocka_unit_test_setup_teardown(what_others_had_counted_before_is_no_delta, setup, teardown),
        cmocka_unit_test_setup_teardown(a_name_that_went_may_come_back_as_another_kind, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
