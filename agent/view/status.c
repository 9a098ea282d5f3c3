/* SPDX-License-Identifier: Apache-2.0 */
/* {"version","pid","uptime_seconds","state","listen","socket","healthy","problems":[text],
 *  "signals":{SIGNAL:{"received","appended","dropped":{REASON:n}}},
 *  "services":[{"name","peers","gone","dropped",SIGNAL:n}], those seen since the start; peers are there, gone were
 *  "peers":[{"service","pid","uid","connected","alive","threads","ring_bytes","ring_bytes_max","dropped","violations",SIGNAL:n}],
 *  "exporters":[{"name","endpoint","failing","last_success_unix_ns","last_error_unix_ns","last_error","requests",
 *                "request_errors","retries","bytes_sent","bytes_uncompressed","requests_in_flight","breaker",
 *                "signals":{SIGNAL:{"appended","queued","in_flight","delivered","refused","dropped":{REASON:n}}}}],
 *  "processors":[{"name","figures":{NAME:n}}],
 *  "discoveries":[{"receiver","source","address","failing","trouble","targets","last_success_unix_ns"}],
 *  "collectors":[{"name","address","failing","trouble","last_success_unix_ns"}], "queue":{"bytes","bytes_max"},
 * "series":{"sources","series"}, "steering":[{"service","ratio","log_level","by"}], ratio and log_level where they are set
 *  "ledger":{"balanced","text","early_released","evictions","exporters":[{"name","signals" as above}]}, "wakeups"}
 * Names of services come from outside; jansson refuses what is not UTF-8, and such a name shows as "?". */
#include "agent/view/status.h"
#include <string.h>
#include <unistd.h>

static const char *const signals[SONDE_SIGNAL_COUNT] = {"traces", "logs", "metrics"};

static json_t *text_of(const char *text) {
    json_t *value = json_string(text);
    return value ? value : json_string("?");
}
static json_t *number(uint64_t value) {
    return json_integer((json_int_t)value);
}
static void put(json_t *object, const char *key, uint64_t value) {
    (void)json_object_set_new(object, key, number(value));
}

static void sum_peer(void *user, const struct sonde_peer_view *peer) {
    struct sonde__peer_sums *sums = user;
    sums->peers++;
    sums->connected += peer->connected;
    sums->rings += peer->threads;
}

static void visit_peers(const struct sonde_daemon *daemon,
                        void (*visit)(void *user, const struct sonde_peer_view *peer), void *user) {
    for (size_t i = 0; i < daemon->inlet_count; i++)
        if (daemon->inlets[i].ops->peers)
            daemon->inlets[i].ops->peers(daemon->inlets[i].self, visit, user);
}

void sonde__peers_sum(const struct sonde_daemon *daemon, struct sonde__peer_sums *ret_sums) {
    *ret_sums = (struct sonde__peer_sums){0};
    visit_peers(daemon, sum_peer, ret_sums);
}

static json_t *signals_json(const struct sonde_ledger *ledger) {
    json_t *all = json_object();
    for (unsigned s = 0; s < SONDE_SIGNAL_COUNT; s++) {
        json_t *one = json_object(), *dropped = json_object();
        put(one, "received", ledger->intake[s].received);
        put(one, "appended", ledger->intake[s].appended);
        for (unsigned r = 0; r < SONDE_INTAKE_DROP_COUNT; r++)
            put(dropped, sonde_intake_drop_name(r), ledger->intake[s].dropped[r]);
        (void)json_object_set_new(one, "dropped", dropped);
        (void)json_object_set_new(all, signals[s], one);
    }
    return all;
}

struct peer_lists {
    json_t *peers, *services;
};

static json_t *service_named(json_t *services, const char *name) {
    size_t i;
    json_t *service;
    json_array_foreach(services, i, service) {
        const char *known = json_string_value(json_object_get(service, "name"));
        if (known && strcmp(known, name) == 0)
            return service;
    }
    service = json_object();
    (void)json_object_set_new(service, "name", json_string(name));
    (void)json_array_append_new(services, service);
    return service;
}

static void add_to(json_t *object, const char *key, uint64_t value) {
    put(object, key, (uint64_t)json_integer_value(json_object_get(object, key)) + value);
}

static void add_peer(void *user, const struct sonde_peer_view *peer) {
    struct peer_lists *lists = user;
    json_t *one = json_object(), *name = text_of(peer->service_name[0] ? peer->service_name : "unknown_service");
    json_t *service = service_named(lists->services, json_string_value(name));
    (void)json_object_set_new(one, "service", name);
    put(one, "pid", peer->pid);
    put(one, "uid", peer->uid);
    (void)json_object_set_new(one, "connected", json_boolean(peer->connected));
    (void)json_object_set_new(one, "alive", json_boolean(peer->alive));
    put(one, "threads", peer->threads);
    put(one, "ring_bytes", peer->ring_bytes);
    put(one, "ring_bytes_max", peer->ring_bytes_max);
    put(one, "dropped", peer->dropped);
    put(one, "violations", peer->violations);
    add_to(service, "peers", 1);
    add_to(service, "gone", 0);
    add_to(service, "dropped", peer->dropped);
    for (unsigned s = 0; s < SONDE_SIGNAL_COUNT; s++) {
        put(one, signals[s], peer->records[s]);
        add_to(service, signals[s], peer->records[s]);
    }
    (void)json_array_append_new(lists->peers, one);
}

static void add_seen(const struct sonde_daemon *daemon, json_t *services) {
    for (size_t i = 0; i < daemon->seen_count; i++) {
        const struct sonde__seen *seen = &daemon->seen[i];
        json_t *name = text_of(seen->name), *service = service_named(services, json_string_value(name));
        json_decref(name);
        add_to(service, "peers", 0);
        add_to(service, "gone", seen->gone);
        add_to(service, "dropped", seen->dropped);
        for (unsigned s = 0; s < SONDE_SIGNAL_COUNT; s++)
            add_to(service, signals[s], seen->records[s]);
    }
}

static json_t *accounts_json(const struct sonde_daemon *daemon, const struct sonde__outlet *outlet) {
    json_t *all = json_object();
    for (unsigned s = 0; s < SONDE_SIGNAL_COUNT; s++) {
        const struct sonde_ledger_exporter *account = &daemon->ledger.exporters[outlet->cursor][s];
        if (!(outlet->signals & (1u << s)))
            continue;
        json_t *one = json_object(), *dropped = json_object();
        put(one, "appended", account->appended);
        put(one, "queued", sonde_ledger_queued(account));
        put(one, "in_flight", account->in_flight);
        put(one, "delivered", account->delivered);
        put(one, "refused", account->refused);
        for (unsigned r = 0; r < SONDE_EXPORT_DROP_COUNT; r++)
            put(dropped, sonde_export_drop_name(r), account->dropped[r]);
        (void)json_object_set_new(one, "dropped", dropped);
        (void)json_object_set_new(all, signals[s], one);
    }
    return all;
}

static json_t *exporter_json(const struct sonde_daemon *daemon, const struct sonde__outlet *outlet, json_t *problems) {
    struct sonde_exporter_status status = {0};
    json_t *one = json_object();
    outlet->ops->status(outlet->self, &status);
    (void)json_object_set_new(one, "name", text_of(outlet->name));
    (void)json_object_set_new(one, "endpoint", text_of(status.endpoint));
    (void)json_object_set_new(one, "failing", json_boolean(status.failing));
    put(one, "last_success_unix_ns", status.last_success_unix_ns);
    put(one, "last_error_unix_ns", status.last_error_unix_ns);
    (void)json_object_set_new(one, "last_error", text_of(status.last_error));
    put(one, "requests", status.requests);
    put(one, "request_errors", status.request_errors);
    put(one, "retries", status.retries);
    put(one, "bytes_sent", status.bytes_sent);
    put(one, "bytes_uncompressed", status.bytes_uncompressed);
    put(one, "requests_in_flight", status.requests_in_flight);
    if (status.breaker && status.breaker[0])
        (void)json_object_set_new(one, "breaker", json_string(status.breaker));
    (void)json_object_set_new(one, "signals", accounts_json(daemon, outlet));
    if (status.failing) {
        json_t *problem = json_sprintf("exporter %s is failing: %s", outlet->name, status.last_error);
        (void)json_array_append_new(problems, problem ? problem : json_sprintf("exporter %s is failing", outlet->name));
    }
    return one;
}

/* A broker that is down is told, and is no fault of the agent: it stays healthy. */
static json_t *collector_json(const struct sonde__probe *probe) {
    struct sonde_collector_status status = {0};
    json_t *one = json_object();
    if (probe->ops->status)
        probe->ops->status(probe->self, &status);
    (void)json_object_set_new(one, "name", text_of(probe->name));
    (void)json_object_set_new(one, "address", text_of(status.address));
    (void)json_object_set_new(one, "failing", json_boolean(status.trouble[0] != '\0'));
    (void)json_object_set_new(one, "trouble", text_of(status.trouble));
    put(one, "last_success_unix_ns", status.last_success_unix_ns);
    return one;
}

/* As with collectors. */
static void add_discovery(void *user, const struct sonde_discovery_view *view) {
    json_t *one = json_object();
    (void)json_object_set_new(one, "receiver", text_of(view->receiver));
    (void)json_object_set_new(one, "source", text_of(view->source));
    (void)json_object_set_new(one, "address", text_of(view->address));
    (void)json_object_set_new(one, "failing", json_boolean(view->trouble[0] != '\0'));
    (void)json_object_set_new(one, "trouble", text_of(view->trouble));
    put(one, "targets", view->targets);
    put(one, "last_success_unix_ns", view->last_success_unix_ns);
    (void)json_array_append_new((json_t *)user, one);
}

static json_t *discoveries_json(const struct sonde_daemon *daemon) {
    json_t *all = json_array();
    for (size_t i = 0; i < daemon->inlet_count; i++)
        if (daemon->inlets[i].ops->discoveries)
            daemon->inlets[i].ops->discoveries(daemon->inlets[i].self, add_discovery, all);
    return all;
}

static json_t *steering_json(const struct sonde_steering *steering) {
    json_t *all = json_array();
    for (size_t i = 0; i < steering->count; i++) {
        const struct sonde_steering_rule *rule = &steering->rules[i];
        json_t *one = json_object();
        (void)json_object_set_new(one, "service", text_of(rule->service));
        if (rule->ratio >= 0)
            (void)json_object_set_new(one, "ratio", json_real(rule->ratio));
        if (rule->severity)
            (void)json_object_set_new(one, "log_level", json_string(sonde_steering_level_name(rule->severity)));
        (void)json_object_set_new(one, "by", json_string(rule->by_command ? "command" : "configuration"));
        (void)json_array_append_new(all, one);
    }
    return all;
}

static json_t *processors_json(const struct sonde_processing *processing) {
    json_t *all = json_array();
    for (size_t i = 0; i < processing->count; i++) {
        const struct sonde_processor *processor = &processing->items[i];
        struct sonde_processor_figure figures[SONDE_PROCESSOR_FIGURES_MAX];
        size_t count = processor->ops->figures ? processor->ops->figures(processor->self, figures) : 0;
        json_t *one = json_object(), *named = json_object();
        for (size_t f = 0; f < count; f++)
            put(named, figures[f].name, figures[f].value);
        (void)json_object_set_new(one, "name", text_of(processor->name));
        (void)json_object_set_new(one, "figures", named);
        (void)json_array_append_new(all, one);
    }
    return all;
}

static json_t *ledger_json(struct sonde_daemon *daemon, json_t *problems) {
    char text[300];
    json_t *ledger = json_object(), *exporters = json_array();
    for (size_t i = 0; i < daemon->outlet_count; i++) {
        const struct sonde__outlet *outlet = &daemon->outlets[i];
        json_t *one = json_pack("{ss}", "name", outlet->name);
        (void)json_object_set_new(one, "signals", accounts_json(daemon, outlet));
        (void)json_array_append_new(exporters, one);
    }
    (void)json_object_set_new(ledger, "exporters", exporters);
    bool balanced = sonde__ledger_check(daemon, text, sizeof text);
    (void)json_object_set_new(ledger, "balanced", json_boolean(balanced));
    (void)json_object_set_new(ledger, "text", text_of(text));
    put(ledger, "early_released", daemon->ledger.early_released);
    put(ledger, "evictions", daemon->ledger.evictions);
    if (!balanced)
        (void)json_array_append_new(problems, json_sprintf("ledger does not balance: %s", text));
    return ledger;
}

static void put_agent(json_t *status, const struct sonde_daemon *daemon) {
    uint64_t up_ns = daemon->seams->time.monotonic_ns(daemon->seams->time.self) - daemon->start_ns;
    (void)json_object_set_new(status, "version", json_string(SONDE_VERSION));
    put(status, "pid", (uint64_t)getpid());
    put(status, "uptime_seconds", up_ns / 1000000000u);
    (void)json_object_set_new(status, "state",
                              json_string(daemon->state == SONDE__DAEMON_STOPPING ? "stopping" : "running"));
    (void)json_object_set_new(status, "listen",
                              text_of(daemon->server ? sonde__http_server_address(daemon->server) : ""));
    (void)json_object_set_new(status, "socket", text_of(daemon->socket_path));
    put(status, "wakeups", sonde_loop_wakeups(daemon->loop));
    (void)json_object_set_new(status, "queue",
                              json_pack("{sIsI}", "bytes", (json_int_t)sonde_queue_size(daemon->queue), "bytes_max",
                                        (json_int_t)daemon->config->queue.size));
    uint32_t sources;
    uint64_t series;
    sonde_series_counts(daemon->series, &sources, &series);
    (void)json_object_set_new(status, "series",
                              json_pack("{sIsI}", "sources", (json_int_t)sources, "series", (json_int_t)series));
}

json_t *sonde__status_json(struct sonde_daemon *daemon) {
    json_t *status = json_object(), *problems = json_array(), *exporters = json_array(), *collectors = json_array();
    struct peer_lists lists = {json_array(), json_array()};
    put_agent(status, daemon);
    (void)json_object_set_new(status, "signals", signals_json(&daemon->ledger));
    add_seen(daemon, lists.services);
    visit_peers(daemon, add_peer, &lists);
    for (size_t i = 0; i < daemon->outlet_count; i++)
        (void)json_array_append_new(exporters, exporter_json(daemon, &daemon->outlets[i], problems));
    for (size_t i = 0; i < daemon->probe_count; i++)
        (void)json_array_append_new(collectors, collector_json(&daemon->probes[i]));
    (void)json_object_set_new(status, "steering", steering_json(&daemon->steering));
    (void)json_object_set_new(status, "services", lists.services);
    (void)json_object_set_new(status, "peers", lists.peers);
    (void)json_object_set_new(status, "exporters", exporters);
    (void)json_object_set_new(status, "processors", processors_json(&daemon->processing));
    (void)json_object_set_new(status, "collectors", collectors);
    (void)json_object_set_new(status, "discoveries", discoveries_json(daemon));
    (void)json_object_set_new(status, "ledger", ledger_json(daemon, problems));
    (void)json_object_set_new(status, "healthy", json_boolean(json_array_size(problems) == 0));
    (void)json_object_set_new(status, "problems", problems);
    return status;
}
