/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/view/self_metrics.h"
#include "agent/view/status.h"
#include "instrumentation/ring/own.h"
#include "instrumentation/wire/writer.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum metric {
    RECEIVED,
    APPENDED,
    DROPPED,
    EARLY_RELEASED,
    EVICTIONS,
    PULLS,
    PULLS_LATE,
    QUEUE_SIZE,
    QUEUE_LIMIT,
    EXPORTER_APPENDED,
    EXPORTER_DELIVERED,
    EXPORTER_DROPPED,
    EXPORTER_REFUSED,
    EXPORTER_QUEUED,
    EXPORTER_IN_FLIGHT,
    EXPORTER_REQUESTS,
    EXPORTER_ERRORS,
    EXPORTER_RETRIES,
    EXPORTER_SENT,
    EXPORTER_PLAIN,
    EXPORTER_FAILING,
    EXPORTER_LAST_SUCCESS,
    PEERS,
    RINGS,
    SERIES,
    WAKEUPS,
    UPTIME,
    SCRAPES,
    LEFT_OUT,
    BUILD,
    BALANCED,
    METRIC_COUNT,
};

#define COUNTER(name_, unit_, text_)                                                                                   \
    { .name = "sonde.agent." name_, .unit = unit_, .description = text_, .kind = SONDE_COUNTER }
#define GAUGE(name_, unit_, text_)                                                                                     \
    { .name = "sonde.agent." name_, .unit = unit_, .description = text_, .kind = SONDE_GAUGE }

const struct sonde__self_metric sonde__self_metrics[METRIC_COUNT + 1] = {
    [RECEIVED] = COUNTER("received.records", "{record}",
                         "Records that reached the agent, or that a service had to drop before."),
    [APPENDED] = COUNTER("appended.records", "{record}", "Records that the queue took."),
    [DROPPED] = COUNTER("dropped.records", "{record}", "Records that did not reach the queue, by reason."),
    [EARLY_RELEASED] =
        COUNTER("early_released.records", "{record}",
                "Records whose place in the service's ring was given back before every exporter had them."),
    [EVICTIONS] = COUNTER("evictions", "{peer}", "Services cut off because their shared memory lied three times."),
    [PULLS] = COUNTER("pulls", "{pull}", "Times a service was asked for the values of its observable instruments."),
    [PULLS_LATE] = COUNTER("late.pulls", "{pull}",
                           "Scrapes and intervals that had a service's last values, because its callbacks took longer "
                           "than 250 ms."),
    [QUEUE_SIZE] = GAUGE("queue.size", "By", "Bytes that the queue holds."),
    [QUEUE_LIMIT] = GAUGE("queue.limit", "By", "Bytes that the queue may hold."),
    [EXPORTER_APPENDED] = COUNTER("exporter.appended.records", "{record}", "Records offered to the exporter."),
    [EXPORTER_DELIVERED] = COUNTER("exporter.delivered.records", "{record}", "Records that the backend took."),
    [EXPORTER_DROPPED] =
        COUNTER("exporter.dropped.records", "{record}", "Records that the exporter gave up, by reason."),
    [EXPORTER_REFUSED] =
        COUNTER("exporter.refused.records", "{record}", "Records that the backend refused (partial success)."),
    [EXPORTER_QUEUED] = GAUGE("exporter.queued.records", "{record}", "Records that wait for the exporter."),
    [EXPORTER_IN_FLIGHT] = GAUGE("exporter.in_flight.records", "{record}", "Records in requests under way."),
    [EXPORTER_REQUESTS] = COUNTER("exporter.requests", "{request}", "Requests sent."),
    [EXPORTER_ERRORS] = COUNTER("exporter.request.errors", "{request}", "Requests that failed."),
    [EXPORTER_RETRIES] = COUNTER("exporter.retries", "{request}", "Requests that were a repetition."),
    [EXPORTER_SENT] = COUNTER("exporter.sent", "By", "Bytes of request bodies sent, compressed."),
    [EXPORTER_PLAIN] = COUNTER("exporter.sent.uncompressed", "By", "Bytes of request bodies sent, before compression."),
    [EXPORTER_FAILING] = GAUGE("exporter.failing", NULL, "1 while the last attempt failed, else 0."),
    [EXPORTER_LAST_SUCCESS] =
        GAUGE("exporter.last_success.time", "s", "When a request last succeeded, Unix time; absent before."),
    [PEERS] = GAUGE("peers", "{peer}", "Services connected."),
    [RINGS] = GAUGE("rings", "{ring}", "Rings of services in use, one per thread."),
    [SERIES] = GAUGE("series", "{series}", "Metric series held, at the last look."),
    [WAKEUPS] = COUNTER("wakeups", "{wakeup}", "Times the event loop came back from waiting."),
    [UPTIME] = GAUGE("uptime", "s", "Time since the agent started."),
    [SCRAPES] = COUNTER("scrapes", "{scrape}",
                        "Scrapes of /metrics: done, broken off (the scraper went away or was too slow), refused."),
    [LEFT_OUT] = GAUGE("scrape.left_out", NULL,
                       "What the last scrape left out: metrics and labels that another type's name, no name, or "
                       "buckets that cannot be added stood in the way of."),
    [BUILD] = GAUGE("build.info", NULL, "1; the labels tell the build."),
    [BALANCED] = GAUGE("ledger.balanced", NULL, "1 while every record is accounted for, else 0."),
};

static const char *const signals[SONDE_SIGNAL_COUNT] = {"traces", "logs", "metrics"};

struct writer {
    struct sonde_daemon *daemon;
    struct sonde_attribute attributes[3];
    size_t attribute_count;
};

static void label(struct writer *writer, const char *key, const char *value) {
    writer->attributes[writer->attribute_count++] = sonde_attribute_string(sonde_key_cstr(key), value);
}

static void set(struct writer *writer, enum metric metric, uint64_t number) {
    const struct sonde__self_metric *row = &sonde__self_metrics[metric];
    const struct sonde_series_value value = {.kind = row->kind,
                                             .name = row->name,
                                             .unit = row->unit,
                                             .description = row->description,
                                             .attributes = writer->attributes,
                                             .attribute_count = writer->attribute_count,
                                             .int64 = (int64_t)number,
                                             .start_unix_ns = writer->daemon->start_unix_ns};
    (void)sonde_series_set(writer->daemon->own_series, &value); /* out of memory: absent this time */
}

static void set_intake(struct writer *writer) {
    const struct sonde_ledger *ledger = &writer->daemon->ledger;
    for (unsigned s = 0; s < SONDE_SIGNAL_COUNT; s++) {
        writer->attribute_count = 0;
        label(writer, "signal", signals[s]);
        set(writer, RECEIVED, ledger->intake[s].received);
        set(writer, APPENDED, ledger->intake[s].appended);
        for (unsigned r = 0; r < SONDE_INTAKE_DROP_COUNT; r++) {
            writer->attribute_count = 1;
            label(writer, "reason", sonde_intake_drop_name(r));
            set(writer, DROPPED, ledger->intake[s].dropped[r]);
        }
    }
    writer->attribute_count = 0;
    set(writer, EARLY_RELEASED, ledger->early_released);
    set(writer, EVICTIONS, ledger->evictions);
    set(writer, PULLS, ledger->pulls);
    set(writer, PULLS_LATE, ledger->pulls_late);
}

static void set_accounts(struct writer *writer, const struct sonde__outlet *outlet) {
    for (unsigned s = 0; s < SONDE_SIGNAL_COUNT; s++) {
        const struct sonde_ledger_exporter *account = &writer->daemon->ledger.exporters[outlet->cursor][s];
        if (!(outlet->signals & (1u << s)))
            continue;
        writer->attribute_count = 1;
        label(writer, "signal", signals[s]);
        set(writer, EXPORTER_APPENDED, account->appended);
        set(writer, EXPORTER_DELIVERED, account->delivered);
        set(writer, EXPORTER_REFUSED, account->refused);
        set(writer, EXPORTER_QUEUED, sonde_ledger_queued(account));
        set(writer, EXPORTER_IN_FLIGHT, account->in_flight);
        for (unsigned r = 0; r < SONDE_EXPORT_DROP_COUNT; r++) {
            writer->attribute_count = 2;
            label(writer, "reason", sonde_export_drop_name(r));
            set(writer, EXPORTER_DROPPED, account->dropped[r]);
        }
    }
}

static void set_exporter(struct writer *writer, const struct sonde__outlet *outlet) {
    struct sonde_exporter_status status = {0};
    outlet->ops->status(outlet->self, &status);
    writer->attribute_count = 0;
    label(writer, "exporter", outlet->name);
    set(writer, EXPORTER_REQUESTS, status.requests);
    set(writer, EXPORTER_ERRORS, status.request_errors);
    set(writer, EXPORTER_RETRIES, status.retries);
    set(writer, EXPORTER_SENT, status.bytes_sent);
    set(writer, EXPORTER_PLAIN, status.bytes_uncompressed);
    set(writer, EXPORTER_FAILING, status.failing);
    if (status.last_success_unix_ns)
        set(writer, EXPORTER_LAST_SUCCESS, status.last_success_unix_ns / 1000000000u);
    set_accounts(writer, outlet);
}

static void set_agent(struct writer *writer) {
    struct sonde_daemon *daemon = writer->daemon;
    struct sonde__peer_sums sums;
    char text[300];
    uint32_t sources;
    uint64_t series;
    sonde__peers_sum(daemon, &sums);
    sonde_series_counts(daemon->series, &sources, &series);
    writer->attribute_count = 0;
    set(writer, QUEUE_SIZE, sonde_queue_size(daemon->queue));
    set(writer, QUEUE_LIMIT, daemon->config->queue.size);
    set(writer, PEERS, sums.connected);
    set(writer, RINGS, sums.rings);
    set(writer, SERIES, series);
    set(writer, WAKEUPS, sonde_loop_wakeups(daemon->loop));
    set(writer, UPTIME, (daemon->seams->time.monotonic_ns(daemon->seams->time.self) - daemon->start_ns) / 1000000000u);
    set(writer, BALANCED, sonde__ledger_check(daemon, text, sizeof text));
    label(writer, "version", SONDE_VERSION);
    set(writer, BUILD, 1);
}

static void set_scraping(struct writer *writer) {
    static const char *const outcomes[SONDE__SCRAPE_COUNT] = {"done", "broken", "refused"};
    static const char *const reasons[SONDE__LEFT_OUT_COUNT] = {"type_conflict", "no_name", "buckets"};
    const struct sonde__scraping *scraping = &writer->daemon->scraping;
    for (unsigned i = 0; i < SONDE__SCRAPE_COUNT; i++) {
        writer->attribute_count = 0;
        label(writer, "outcome", outcomes[i]);
        set(writer, SCRAPES, scraping->scrapes[i]);
    }
    for (unsigned i = 0; i < SONDE__LEFT_OUT_COUNT; i++) {
        writer->attribute_count = 0;
        label(writer, "reason", reasons[i]);
        set(writer, LEFT_OUT, scraping->left_out[i]);
    }
}

static void pull(void *user) {
    struct writer writer = {.daemon = user};
    set_intake(&writer);
    for (size_t i = 0; i < writer.daemon->outlet_count; i++)
        if (writer.daemon->outlets[i].self)
            set_exporter(&writer, &writer.daemon->outlets[i]);
    set_scraping(&writer);
    set_agent(&writer);
}

struct sonde_bytes sonde__self_resource(const struct sonde_daemon *daemon,
                                        uint8_t buffer[SONDE__SELF_RESOURCE_SIZE_MAX]) {
    char host[65] = "", instance[40];
    struct sonde__writer out;
    (void)gethostname(host, sizeof host - 1);
    /* Of this run: counters begin again with the next one. */
    (void)snprintf(instance, sizeof instance, "%016" PRIx64 "-%d", daemon->start_unix_ns, (int)getpid());
    const struct sonde_attribute attributes[] = {
        sonde_attribute_string(SONDE_KEY("service.name"), "sonded"),
        sonde_attribute_string(SONDE_KEY("service.version"), SONDE_VERSION),
        sonde_attribute_string(SONDE_KEY("service.instance.id"), instance),
        sonde_attribute_string(SONDE_KEY("host.name"), host),
    };
    sonde__writer_init(&out, buffer, SONDE__SELF_RESOURCE_SIZE_MAX);
    for (size_t i = 0; i < sizeof attributes / sizeof attributes[0]; i++)
        sonde__write_attribute(&out, 1, &attributes[i], SIZE_MAX); /* Resource.attributes */
    return (struct sonde_bytes){buffer, sonde__writer_size(&out)};
}

/* Circuit breakers and retries of the exporters: counted by libsonde, here, and read as a service's are. */
static int kit_create(struct sonde_daemon *daemon, struct sonde_bytes resource) {
    const struct sonde__metric_memory memory = {.read = sonde__own_read};
    sonde__own_begin();
    int error = sonde_series_service_add(daemon->series, &memory, resource, 0, &daemon->kit_series);
    if (!error)
        sonde_series_service_shares_clock(daemon->kit_series);
    return error;
}

int sonde__self_metrics_create(struct sonde_daemon *daemon) {
    uint8_t buffer[SONDE__SELF_RESOURCE_SIZE_MAX];
    struct sonde_bytes resource = sonde__self_resource(daemon, buffer);
    int error = sonde_series_source_create(daemon->series, resource, &daemon->own_series);
    if (!error)
        sonde_series_source_on_pull(daemon->own_series, pull, daemon);
    return error ? error : kit_create(daemon, resource);
}
