/* SPDX-License-Identifier: Apache-2.0 */
/* What instrumented consumers measured stands beside a collector's own seconds, group by group. */
#include "agent/collect/family.h"
#include "agent/process/processor.h"
#include "exporters/prometheus/text.h"
#include "instrumentation/metric/attributes.h"
#include "instrumentation/ring/cells.h"
#include "tests/lib/fakes.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
/* cmocka.h needs those four first */
#include <cmocka.h>

#define RESOURCE ((struct sonde_bytes){(const uint8_t *)"", 0})

extern const struct sonde_processor_ops sonde_processor_lag_time;

/* A consumer: its scripted shared memory has one histogram with one series. */
struct consumer {
    uint8_t *process, *threads;
    struct sonde_series_source *source;
};
struct fixture {
    struct fakes fakes;
    struct sonde_seams seams;
    struct sonde_series_store *store;
    struct sonde_series_source *broker;
    struct consumer consumer;
    void *processor;
    char *text;
    size_t text_size;
};

static int consumer_read(void *self, uint32_t memory, uint64_t offset, void *buffer, size_t size) {
    struct consumer *consumer = self;
    uint8_t *from = memory == 0 ? consumer->process : memory == 1 ? consumer->threads : NULL;
    if (!from || offset + size > (memory ? SONDE__THREADS_SIZE : SONDE__PROCESS_SIZE))
        return -ENOENT;
    memcpy(buffer, from + offset, size);
    return 0;
}

static void describe(struct consumer *consumer, enum sonde__descriptor_type type, const void *body, uint32_t body_size,
                     const void *extra, uint32_t extra_size) {
    struct sonde__process *process = (void *)consumer->process;
    struct sonde__descriptor head = {.size = (uint32_t)((sizeof head + body_size + extra_size + 7) & ~7u),
                                     .type = (uint16_t)type,
                                     .index = 1,
                                     .body_size = body_size,
                                     .extra_size = extra_size};
    uint8_t *at = consumer->process + SONDE__DESCRIPTORS_AT + process->descriptors_head;
    memcpy(at, &head, sizeof head);
    memcpy(at + sizeof head, body, body_size);
    if (extra_size)
        memcpy(at + sizeof head + body_size, extra, extra_size);
    process->descriptors_head += head.size;
}

static struct sonde__histogram *histogram_of(struct consumer *consumer) {
    return (void *)(consumer->threads + SONDE__HISTOGRAMS_AT);
}

static void consumer_start(struct fixture *f, const char *system, const char *destination, const char *group) {
    static const char name[] = "sonde.messaging.queue.time";
    struct consumer *consumer = &f->consumer;
    consumer->process = calloc(1, SONDE__PROCESS_SIZE);
    consumer->threads = calloc(1, SONDE__THREADS_SIZE);
    ((struct sonde__region *)(void *)(consumer->threads + SONDE__CONTROL_AT))->state = SONDE__REGION_ATTACHED;
    uint8_t body[128], attributes[SONDE_SERIES_ATTRIBUTES_SIZE_MAX];
    struct sonde__instrument_descriptor d = {
        .kind = SONDE_HISTOGRAM, .number = 1, .name_size = sizeof name - 1, .unit_size = 1};
    memcpy(body, &d, sizeof d);
    memcpy(body + sizeof d, name, d.name_size);
    body[sizeof d + d.name_size] = 's';
    describe(consumer, SONDE__DESCRIPTOR_INSTRUMENT, body, (uint32_t)sizeof d + d.name_size + 1u, NULL, 0);
    const struct sonde_attribute of[] = {sonde_attribute_string(SONDE_KEY("messaging.system"), system),
                                         sonde_attribute_string(SONDE_KEY("messaging.destination.name"), destination),
                                         sonde_attribute_string(SONDE_KEY("messaging.consumer.group.name"), group)};
    size_t size, left_out;
    assert_int_equal(sonde__attributes_encode(of, group ? 3 : 2, attributes, &size, &left_out), 0);
    struct sonde__series_descriptor series = {.instrument = 1, .start_unix_ns = 2000};
    describe(consumer, SONDE__DESCRIPTOR_SERIES, &series, sizeof series, attributes, (uint32_t)size);
    struct sonde__histogram *histogram = histogram_of(consumer);
    histogram->series = 1;
    histogram->active = 1;
    struct sonde__histogram_block *block = (void *)(consumer->threads + SONDE__HISTOGRAMS_AT + 64);
    block->capacity = 4;
    ((_Atomic uint64_t *)(void *)(consumer->threads + SONDE__CELLS_AT))[1] = 1;
    struct sonde__metric_memory memory = {.read = consumer_read, .self = consumer};
    assert_int_equal(sonde_series_service_add(f->store, &memory, RESOURCE, 1000, &consumer->source), 0);
}

static void consumer_end(struct fixture *f) {
    sonde_series_source_destroy(f->consumer.source);
    free(f->consumer.process);
    free(f->consumer.threads);
    f->consumer = (struct consumer){NULL, NULL, NULL};
}

/* As of now it has had `count` messages that were under way for `sum` seconds together. */
static void consumer_has(struct fixture *f, uint64_t count, double sum) {
    struct sonde__histogram *histogram = histogram_of(&f->consumer);
    struct sonde__histogram_block *block = (void *)(f->consumer.threads + SONDE__HISTOGRAMS_AT + 64);
    memcpy(&histogram->sum, &sum, sizeof sum);
    block->buckets[0] = count;
}

static int setup(void **state) {
    struct fixture *f = calloc(1, sizeof *f);
    fakes_init(&f->fakes);
    f->seams = fakes_seams(&f->fakes);
    *state = f;
    if (sonde_series_store_create(&f->seams, &f->store) || sonde_series_source_create(f->store, RESOURCE, &f->broker))
        return 1;
    struct sonde_processor_env env = {.name = "lag_time", .seams = &f->seams, .series = f->store};
    return sonde_processor_lag_time.create("", &env, &f->processor, NULL, 0);
}
static int teardown(void **state) {
    struct fixture *f = *state;
    sonde_processor_lag_time.destroy(f->processor);
    sonde_series_store_destroy(f->store);
    free(f->consumer.process);
    free(f->consumer.threads);
    free(f->text);
    int leaked = f->fakes.live != 0;
    free(f);
    return leaked;
}

/* A poll: the broker's lag of a group, and the collector's estimate of the seconds unless negative. */
static void polled(struct fixture *f, const char *group, double seconds, const char *estimate) {
    const struct sonde_attribute common[] = {sonde_attribute_string(SONDE_KEY("messaging.system"), "kafka"),
                                             sonde_attribute_string(SONDE_KEY("server.address"), "k1"),
                                             sonde_attribute_int64(SONDE_KEY("server.port"), 9092)};
    struct sonde__messaging_of of = {.destination = {"orders", 6}};
    if (group)
        of.group = (struct sonde_string){group, strlen(group)};
    assert_int_equal(sonde__messaging_set(f->broker, common, 3, SONDE__MESSAGING_LAG, &of, 5, 0), 0);
    of.estimate = estimate;
    if (seconds >= 0)
        assert_int_equal(sonde__messaging_set(f->broker, common, 3, SONDE__MESSAGING_LAG_TIME, &of, seconds, 0), 0);
    sonde_series_sweep(f->broker);
}

static int sink_write(void *self, const char *text, size_t size) {
    return fwrite(text, 1, size, self) == size ? 0 : -EIO;
}
/* The lines of the lag in seconds. */
static const char *shown(struct fixture *f) {
    free(f->text);
    FILE *out = open_memstream(&f->text, &f->text_size);
    struct sonde_prometheus_sink sink = {sink_write, out};
    struct sonde_metric_feed feed = sonde_series_feed(f->store);
    struct sonde_prometheus_stats stats;
    assert_int_equal(sonde_prometheus_write(&feed, &f->seams.alloc, &sink, &stats), 0);
    (void)fclose(out);
    const char *type = strstr(f->text, "# TYPE sonde_messaging_consumer_lag_time_seconds gauge\n");
    return type ? strchr(type, '\n') + 1 : "";
}
/* "" = there is none of that estimate. */
static void assert_shows(struct fixture *f, const char *estimate, const char *value) {
    char line[400];
    int size = snprintf(line, sizeof line,
                        "sonde_messaging_consumer_lag_time_seconds{estimate=\"%s\",messaging_consumer_group_name="
                        "\"billing\",messaging_destination_name=\"orders\",messaging_system=\"kafka\",server_address="
                        "\"k1\",server_port=\"9092\"} ",
                        estimate);
    const char *at = strstr(shown(f), line);
    if (!*value) {
        assert_null(at);
        return;
    }
    assert_non_null(at);
    at += size;
    assert_int_equal(strcspn(at, "\n"), strlen(value));
    assert_memory_equal(at, value, strlen(value));
}

static void what_was_measured_since_the_last_poll_stands_beside_the_estimate(void **state) {
    struct fixture *f = *state;
    consumer_start(f, "kafka", "orders", "billing");
    consumer_has(f, 100, 900);
    polled(f, "billing", 3, "interpolated");
    assert_shows(f, "measured", ""); /* what was before the first look says nothing of now */
    consumer_has(f, 104, 902);
    polled(f, "billing", 3600, "interpolated"); /* a partition stands still beside those that are fast */
    assert_shows(f, "measured", "0.5");
    assert_shows(f, "interpolated", "3600");
    consumer_has(f, 105, 909);
    polled(f, "billing", 3, "floor");
    assert_shows(f, "measured", "7");
    polled(f, "billing", 20, "floor"); /* nothing was delivered: only the broker knows */
    assert_shows(f, "measured", "");
    assert_shows(f, "floor", "20");
    consumer_has(f, 106, 939);
    polled(f, "billing", -1, NULL); /* where the collector has no seconds at all */
    assert_shows(f, "measured", "30");
}

static void consumers_count_from_when_they_are_seen(void **state) {
    struct fixture *f = *state;
    polled(f, "billing", 3, "interpolated");
    consumer_start(f, "kafka", "orders", "billing"); /* it began long ago, and comes to us only now */
    consumer_has(f, 1000, 5000);
    polled(f, "billing", 3, "interpolated");
    assert_shows(f, "measured", "");
    consumer_has(f, 1001, 5002);
    polled(f, "billing", 3, "interpolated");
    assert_shows(f, "measured", "2");
    consumer_end(f);
    consumer_start(f, "kafka", "orders", "billing");
    consumer_has(f, 2000, 9000);
    polled(f, "billing", 3, "interpolated");
    assert_shows(f, "measured", ""); /* nor does the next at its place in memory */
}

static void lags_of_one_name_are_not_joined(void **state) {
    struct fixture *f = *state;
    consumer_start(f, "kafka", "orders", "billing");
    for (int round = 0; round < 3; round++) {
        for (int64_t port = 9092; port < 9094; port++) {
            const struct sonde_attribute common[] = {sonde_attribute_string(SONDE_KEY("messaging.system"), "kafka"),
                                                     sonde_attribute_int64(SONDE_KEY("server.port"), port)};
            struct sonde__messaging_of of = {.destination = {"orders", 6}, .group = {"billing", 7}};
            assert_int_equal(sonde__messaging_set(f->broker, common, 2, SONDE__MESSAGING_LAG, &of, 5, 0), 0);
        }
        consumer_has(f, (uint64_t)round + 1, 5.0 * round);
        sonde_series_sweep(f->broker);
        assert_string_equal(shown(f), "");
    }
}

static void groups_are_joined_by_system_destination_and_group_alone(void **state) {
    static const char *const others[][3] = {{"kafka", "orders", "audit"},
                                            {"kafka", "returns", "billing"},
                                            {"redis", "orders", "billing"},
                                            {"kafka", "orders", NULL}};
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        consumer_start(f, others[i][0], others[i][1], others[i][2]);
        polled(f, "billing", 3, "interpolated");
        consumer_has(f, 10, 100);
        polled(f, "billing", 3, "interpolated");
        assert_shows(f, "measured", "");
        consumer_end(f);
    }
}

static void a_queue_without_groups_joins_consumers_without(void **state) {
    struct fixture *f = *state;
    consumer_start(f, "kafka", "orders", NULL);
    polled(f, NULL, -1, NULL);
    consumer_has(f, 4, 6);
    polled(f, NULL, -1, NULL);
    assert_non_null(strstr(shown(f), "estimate=\"measured\""));
    assert_non_null(strstr(shown(f), "} 1.5\n"));
}

static void totals_that_fall_say_nothing(void **state) {
    struct fixture *f = *state;
    consumer_start(f, "kafka", "orders", "billing");
    consumer_has(f, 100, 900);
    polled(f, "billing", 3, "interpolated");
    consumer_has(f, 5, 10);
    polled(f, "billing", 3, "interpolated");
    assert_shows(f, "measured", "");
    consumer_has(f, 6, 12);
    polled(f, "billing", 3, "interpolated");
    assert_shows(f, "measured", "2");
}

static void groups_that_are_gone_are_forgotten(void **state) {
    struct fixture *f = *state;
    struct sonde_processor_figure figures[SONDE_PROCESSOR_FIGURES_MAX];
    char name[16];
    for (int i = 0; i < 100; i++) {
        (void)snprintf(name, sizeof name, "group-%d", i);
        polled(f, name, -1, NULL);
        assert_int_equal(sonde_processor_lag_time.figures(f->processor, figures), 2);
        assert_int_equal(figures[0].value, 1);
    }
    sonde_series_source_destroy(f->broker);
    (void)sonde_processor_lag_time.figures(f->processor, figures);
    assert_int_equal(figures[0].value, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_was_measured_since_the_last_poll_stands_beside_the_estimate, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(consumers_count_from_when_they_are_seen, setup, teardown),
        cmocka_unit_test_setup_teardown(lags_of_one_name_are_not_joined, setup, teardown),
        cmocka_unit_test_setup_teardown(groups_are_joined_by_system_destination_and_group_alone, setup, teardown),
        cmocka_unit_test_setup_teardown(a_queue_without_groups_joins_consumers_without, setup, teardown),
        cmocka_unit_test_setup_teardown(totals_that_fall_say_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(groups_that_are_gone_are_forgotten, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
