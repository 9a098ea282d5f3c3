/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/daemon/daemon.h"
#include "agent/log.h"
#include "agent/view/self_metrics.h"
#include "agent/view/view.h"
#include <errno.h>
#include <inttypes.h>
#include <sonde/err.h>
#include <string.h>
#include <unistd.h>

static void on_released(void *user, uint64_t sequence) {
    struct sonde_daemon *daemon = user;
    for (size_t i = 0; i < daemon->inlet_count; i++)
        if (daemon->inlets[i].ops->released)
            daemon->inlets[i].ops->released(daemon->inlets[i].self, sequence);
}
static void on_appended(void *user, enum sonde_signal signal) {
    sonde__outlets_wake(user, 1u << signal);
    sonde__rest_after(user);
}

static void on_peer_gone(void *user, const struct sonde_peer_view *peer) {
    struct sonde_daemon *daemon = user;
    const char *name = peer->service_name[0] ? peer->service_name : "unknown_service";
    size_t i = 0;
    while (i < daemon->seen_count && strcmp(daemon->seen[i].name, name) != 0)
        i++;
    if (i == SONDE__SEEN_MAX - 1)
        name = "(others)";
    if (i == SONDE__SEEN_MAX)
        i--;
    struct sonde__seen *seen = &daemon->seen[i];
    if (i == daemon->seen_count) {
        (void)snprintf(seen->name, sizeof seen->name, "%s", name);
        daemon->seen_count++;
    }
    for (unsigned s = 0; s < SONDE_SIGNAL_COUNT; s++)
        seen->records[s] += peer->records[s];
    seen->dropped += peer->dropped;
    seen->gone++;
}

static void on_metrics_interval(void *user) {
    struct sonde_daemon *daemon = user;
    const struct sonde_time *time = &daemon->seams->time;
    char text[300];
    sonde_timer_set(daemon->metrics_timer, time->monotonic_ns(time->self) + daemon->config->agent.metrics_interval_ns);
    (void)sonde__ledger_check(daemon, text, sizeof text);
    if (!(daemon->export_signals & (1u << SONDE_SIGNAL_METRICS)))
        return;
    if (sonde__pull(daemon))
        daemon->pull_for_export = true;
    else
        sonde__metrics_export(daemon);
}

void sonde__metrics_export(struct sonde_daemon *daemon) {
    int error = sonde_series_export(daemon->series, daemon->queue, &daemon->ledger);
    if (error)
        sonde_agent_log(SONDE_LOG_WARN, "metrics of this interval left out, the next one has the sums", "error=%s",
                        sonde_agent_log_quote(sonde_strerror(error)));
}

static int open_core(struct sonde_daemon *daemon) {
    struct sonde_queue_options options = {
        .size_max = daemon->config->queue.size, .released = on_released, .appended = on_appended, .user = daemon};
    sonde_ledger_init(&daemon->ledger);
    int error = sonde_queue_create(&options, daemon->seams, &daemon->queue);
    if (!error)
        error = sonde_series_store_create(daemon->seams, &daemon->series);
    enum sonde_temporality temporality;
    struct sonde_config_error problem;
    if (!error && sonde_config_temporality(daemon->config, &temporality, &problem) == 0) /* checked when it was read */
        sonde_series_store_set_temporality(daemon->series, temporality);
    if (!error)
        error = sonde_http_curl_create(daemon->loop, &daemon->http);
    if (!error)
        error = sonde_timer_create(daemon->loop, on_metrics_interval, daemon, &daemon->metrics_timer);
    if (!error)
        error = sonde__pull_create(daemon);
    if (!error)
        error = sonde__rest_create(daemon);
    if (!error)
        error = sonde__losses_watch(daemon);
    if (!error)
        error = sonde__self_metrics_create(daemon);
    if (error)
        sonde_agent_log(SONDE_LOG_ERROR, "not started", "error=%s", sonde_agent_log_quote(sonde_strerror(error)));
    return error;
}

static int open_server(struct sonde_daemon *daemon) {
    const struct sonde_config_agent *agent = &daemon->config->agent;
    char text[400];
    if (!agent->listen[0])
        return 0;
    struct sonde__http_server_options options = {.listen = agent->listen,
                                                 .insecure = agent->insecure,
                                                 .allowed_hosts = &agent->allowed_hosts,
                                                 .handle = sonde__view_handle,
                                                 .user = daemon};
    int error = sonde__http_server_create(daemon->loop, &options, &daemon->server, text, sizeof text);
    if (error) {
        sonde_agent_log(SONDE_LOG_ERROR, "page not started", "error=%s", sonde_agent_log_quote(text));
        return error;
    }
    const char *address = sonde__http_server_address(daemon->server);
    sonde_agent_log(SONDE_LOG_INFO, "page, API and metrics served", "page=http://%s/ metrics=http://%s/metrics",
                    address, address);
    return 0;
}

static int failed(const char *kind, const char *name, const char *text, int error) {
    char message[64];
    (void)snprintf(message, sizeof message, "%s not started", kind);
    sonde_agent_log(SONDE_LOG_ERROR, message, "%s=%s error=%s", kind, name,
                    sonde_agent_log_quote(text[0] ? text : sonde_strerror(error)));
    return error;
}

static int open_inlets(struct sonde_daemon *daemon) {
    uint8_t resource[SONDE__SELF_RESOURCE_SIZE_MAX];
    struct sonde_receiver_env env = {.loop = daemon->loop,
                                     .seams = daemon->seams,
                                     .queue = daemon->queue,
                                     .ledger = &daemon->ledger,
                                     .series = daemon->series,
                                     .resource = sonde__self_resource(daemon, resource),
                                     .processing = &daemon->processing,
                                     .steering = &daemon->steering,
                                     .socket_path = daemon->socket_path,
                                     .peer_gone = on_peer_gone,
                                     .peer_gone_user = daemon,
                                     .pulled = sonde__pull_look,
                                     .pulled_user = daemon,
                                     .http = sonde_http_curl_interface(daemon->http)};
    for (size_t i = 0; i < daemon->config->counts[SONDE_CONFIG_RECEIVERS]; i++) {
        const struct sonde_config_instance *instance = &daemon->config->instances[SONDE_CONFIG_RECEIVERS][i];
        struct sonde__inlet inlet = {.name = instance->name, .ops = instance->kind.ops};
        char text[400] = "";
        env.name = instance->name;
        int error = inlet.ops->create(instance->config, &env, &inlet.self, text, sizeof text);
        if (error)
            return failed("receiver", inlet.name, text, error);
        daemon->inlets[daemon->inlet_count++] = inlet;
    }
    return 0;
}

static int open_probes(struct sonde_daemon *daemon) {
    for (size_t i = 0; i < daemon->config->counts[SONDE_CONFIG_COLLECTORS]; i++) {
        const struct sonde_config_instance *instance = &daemon->config->instances[SONDE_CONFIG_COLLECTORS][i];
        struct sonde__probe *probe = &daemon->probes[daemon->probe_count];
        uint8_t resource[SONDE__SELF_RESOURCE_SIZE_MAX];
        char text[400] = "";
        *probe = (struct sonde__probe){.name = instance->name, .ops = instance->kind.ops};
        int error = sonde_series_source_create(daemon->series, sonde__self_resource(daemon, resource), &probe->source);
        if (error)
            return failed("collector", probe->name, text, error);
        daemon->probe_count++;
        const struct sonde_collector_env env = {.name = probe->name,
                                                .lease = instance->common.lease,
                                                .lease_properties = &instance->common.lease_properties,
                                                .lease_text = text,
                                                .lease_text_size = sizeof text,
                                                .loop = daemon->loop,
                                                .seams = daemon->seams,
                                                .source = probe->source,
                                                .http = sonde_http_curl_interface(daemon->http)};
        error = probe->ops->create(instance->config, &env, &probe->self, text, sizeof text);
        if (error)
            return failed("collector", probe->name, text, error);
    }
    return 0;
}

static int take_place(struct sonde_daemon *daemon, const char *socket) {
    char text[400];
    const char *wanted = socket ? socket : daemon->config->agent.socket;
    if (daemon->config->counts[SONDE_CONFIG_RECEIVERS] == 0)
        return 0;
    int error = sonde__place_take(wanted, daemon->socket_path, &daemon->lock_fd, text, sizeof text);
    if (error)
        sonde_agent_log(SONDE_LOG_ERROR, "not started", "error=%s", sonde_agent_log_quote(text));
    return error;
}

static int open_all(struct sonde_daemon *daemon, const char *socket) {
    int error = take_place(daemon, socket);
    if (!error)
        error = open_core(daemon);
    if (!error)
        error = sonde__outlets_create(daemon); /* cursors first: nothing is appended before they are there */
    if (!error)
        error = open_server(daemon);
    if (!error)
        error = sonde__processing_create(daemon);
    if (!error)
        error = open_inlets(daemon);
    if (!error)
        error = open_probes(daemon);
    if (error)
        return error;
    error = sonde__signals_watch(daemon);
    if (!error)
        error = sonde__notify_start(daemon);
    if (error)
        sonde_agent_log(SONDE_LOG_ERROR, "not started", "error=%s", sonde_agent_log_quote(sonde_strerror(error)));
    return error;
}

int sonde_daemon_create(const struct sonde_config *config, const char *socket, struct sonde_loop *loop,
                        struct sonde_daemon **ret_daemon) {
    const struct sonde_seams *seams = sonde_loop_seams(loop);
    struct sonde_daemon *daemon = sonde_alloc_new(&seams->alloc, sizeof *daemon);
    if (!daemon)
        return -ENOMEM;
    memset(daemon, 0, sizeof *daemon);
    daemon->config = config;
    daemon->loop = loop;
    daemon->seams = seams;
    daemon->lock_fd = daemon->signal_fd = -1;
    daemon->start_unix_ns = seams->time.unix_ns(seams->time.self);
    daemon->start_ns = seams->time.monotonic_ns(seams->time.self);
    char text[300];
    (void)sonde_steering_configure(&daemon->steering, &config->agent.sampling, &config->agent.service_log_levels, text,
                                   sizeof text); /* was good when it was loaded */
    sonde__notify_init(&daemon->notify);
    int error = open_all(daemon, socket);
    if (error) {
        sonde_daemon_destroy(daemon);
        return error;
    }
    daemon->state = SONDE__DAEMON_RUNNING;
    sonde_timer_set(daemon->metrics_timer, daemon->start_ns + config->agent.metrics_interval_ns);
    if (daemon->outlet_count == 0)
        sonde_agent_log(SONDE_LOG_WARN,
                        "no exporter is configured: telemetry is counted and let go, only the page and /metrics serve",
                        NULL);
    sonde_agent_log(SONDE_LOG_INFO, "running", "version=%s exporters=%zu receivers=%zu collectors=%zu", SONDE_VERSION,
                    daemon->outlet_count, daemon->inlet_count, daemon->probe_count);
    *ret_daemon = daemon;
    return 0;
}

/** Counts what exporters did not get out; services may still hold some of it and hand it to the next agent. */
static void count_rest(struct sonde_daemon *daemon) {
    char text[300];
    for (size_t i = 0; i < daemon->outlet_count; i++) {
        const struct sonde__outlet *outlet = &daemon->outlets[i];
        uint64_t rest = 0;
        for (unsigned s = 0; s < SONDE_SIGNAL_COUNT; s++) {
            uint64_t queued = sonde_ledger_queued(&daemon->ledger.exporters[outlet->cursor][s]);
            if (queued)
                outlet->account.dropped(outlet->account.self, s, SONDE_EXPORT_DROP_SHUTDOWN, queued);
            rest += queued;
        }
        if (rest)
            sonde_agent_log(SONDE_LOG_WARN, "dropping records that were not delivered in time",
                            "exporter=%s records=%" PRIu64 " reason=shutdown", outlet->name, rest);
    }
    sonde__losses_tell(daemon);
    (void)sonde__ledger_check(daemon, text, sizeof text);
}

void sonde_daemon_run(struct sonde_daemon *daemon) {
    sonde_loop_run(daemon->loop);
}

void sonde_daemon_destroy(struct sonde_daemon *daemon) {
    if (!daemon)
        return;
    sonde__http_server_destroy(daemon->server);
    for (size_t i = 0; i < daemon->probe_count; i++)
        if (daemon->probes[i].self)
            daemon->probes[i].ops->destroy(daemon->probes[i].self);
    for (size_t i = 0; i < daemon->probe_count; i++)
        sonde_series_source_destroy(daemon->probes[i].source);
    sonde__outlets_destroy(daemon);
    for (size_t i = 0; i < daemon->inlet_count; i++)
        daemon->inlets[i].ops->destroy(daemon->inlets[i].self);
    daemon->inlet_count = 0;
    sonde__processing_destroy(daemon);
    if (daemon->state == SONDE__DAEMON_STOPPING)
        count_rest(daemon);
    sonde_series_source_destroy(daemon->own_series);
    sonde_series_source_destroy(daemon->kit_series);
    sonde_series_store_destroy(daemon->series);
    sonde_http_curl_destroy(daemon->http);
    sonde_queue_destroy(daemon->queue);
    sonde_timer_destroy(daemon->metrics_timer);
    sonde_timer_destroy(daemon->notify_timer);
    sonde_timer_destroy(daemon->stop_timer);
    sonde_timer_destroy(daemon->rest_timer);
    sonde_timer_destroy(daemon->losses_timer);
    sonde_timer_destroy(daemon->pull_timer);
    sonde_watch_destroy(daemon->signal_watch);
    if (daemon->signal_fd >= 0)
        (void)close(daemon->signal_fd);
    if (daemon->lock_fd >= 0)
        (void)close(daemon->lock_fd);
    sonde__notify_deinit(&daemon->notify);
    const struct sonde_alloc alloc = daemon->seams->alloc;
    sonde_alloc_free(&alloc, daemon);
}
