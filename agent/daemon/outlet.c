/* SPDX-License-Identifier: Apache-2.0 */
/* Exporters and the loop: each has a timer that runs it when it asked, was woken, or its signals came. */
#include "agent/daemon/daemon.h"
#include "agent/log.h"
#include <sonde/err.h>

static void run(void *user) {
    struct sonde__outlet *outlet = user;
    outlet->woken = false;
    outlet->running = true;
    uint64_t next_ns = outlet->ops->run(outlet->self);
    outlet->running = false;
    sonde_timer_set(outlet->timer, outlet->woken ? 0 : next_ns);
}

static void wake(void *self) {
    struct sonde__outlet *outlet = self;
    outlet->woken = true;
    if (!outlet->running && outlet->timer)
        sonde_timer_set(outlet->timer, 0);
}

static void report(void *self, char level, const char *text) {
    const struct sonde__outlet *outlet = self;
    enum sonde_log_level severity = level == 'e'   ? SONDE_LOG_ERROR
                                    : level == 'w' ? SONDE_LOG_WARN
                                    : level == 'i' ? SONDE_LOG_INFO
                                                   : SONDE_LOG_DEBUG;
    sonde_agent_log(severity, text, "exporter=%s", outlet->name);
}

static int outlet_create(struct sonde_daemon *daemon, const struct sonde_config_instance *instance) {
    struct sonde__outlet *outlet = &daemon->outlets[daemon->outlet_count];
    char text[400] = "";
    *outlet = (struct sonde__outlet){
        .daemon = daemon, .name = instance->name, .ops = instance->kind.ops, .signals = instance->signals};
    int error = sonde_queue_cursor_create(daemon->queue, outlet->signals, &outlet->cursor);
    if (!error)
        error = sonde_timer_create(daemon->loop, run, outlet, &outlet->timer);
    if (error) {
        sonde_agent_log(SONDE_LOG_ERROR, "exporter not started", "exporter=%s error=%s", outlet->name,
                        sonde_agent_log_quote(sonde_strerror(error)));
        return error;
    }
    outlet->account = sonde_ledger_exporter_add(&daemon->ledger, outlet->cursor, outlet->name, outlet->signals);
    struct sonde_exporter_env env = {.name = outlet->name,
                                     .seams = *daemon->seams,
                                     .http = sonde_http_curl_interface(daemon->http),
                                     .log = sonde_queue_log(daemon->queue),
                                     .cursor = outlet->cursor,
                                     .account = outlet->account,
                                     .pool = sonde_loop_pool(daemon->loop),
                                     .wake = wake,
                                     .wake_self = outlet,
                                     .report = report,
                                     .report_self = outlet};
    error = outlet->ops->create(instance->config, &env, &outlet->self, text, sizeof text);
    if (error) {
        sonde_agent_log(SONDE_LOG_ERROR, "exporter not started", "exporter=%s error=%s", outlet->name,
                        sonde_agent_log_quote(text[0] ? text : sonde_strerror(error)));
        sonde_timer_destroy(outlet->timer);
        return error;
    }
    daemon->outlet_count++;
    daemon->export_signals |= outlet->signals;
    wake(outlet);
    return 0;
}

int sonde__outlets_create(struct sonde_daemon *daemon) {
    const struct sonde_config *config = daemon->config;
    for (size_t i = 0; i < config->counts[SONDE_CONFIG_EXPORTERS]; i++) {
        int error = outlet_create(daemon, &config->instances[SONDE_CONFIG_EXPORTERS][i]);
        if (error)
            return error;
    }
    return 0;
}

void sonde__outlets_destroy(struct sonde_daemon *daemon) {
    for (size_t i = 0; i < daemon->outlet_count; i++) {
        struct sonde__outlet *outlet = &daemon->outlets[i];
        sonde_timer_destroy(outlet->timer);
        outlet->timer = NULL;
        outlet->ops->destroy(outlet->self);
        outlet->self = NULL;
    }
}

void sonde__outlets_wake(struct sonde_daemon *daemon, uint32_t signals) {
    for (size_t i = 0; i < daemon->outlet_count; i++)
        if (daemon->outlets[i].signals & signals)
            wake(&daemon->outlets[i]);
}

void sonde__outlets_stop(struct sonde_daemon *daemon) {
    for (size_t i = 0; i < daemon->outlet_count; i++) {
        daemon->outlets[i].ops->stop(daemon->outlets[i].self);
        wake(&daemon->outlets[i]);
    }
}

bool sonde__outlets_idle(const struct sonde_daemon *daemon) {
    for (size_t i = 0; i < daemon->outlet_count; i++)
        if (!daemon->outlets[i].ops->idle(daemon->outlets[i].self))
            return false;
    return true;
}

uint64_t sonde__outlets_progress(const struct sonde_daemon *daemon, bool *ret_has_work) {
    uint64_t sum = 0;
    *ret_has_work = false;
    for (size_t i = 0; i < daemon->outlet_count; i++) {
        const struct sonde__outlet *outlet = &daemon->outlets[i];
        struct sonde_exporter_status status = {0};
        outlet->ops->status(outlet->self, &status);
        sum += status.requests + status.request_errors + status.retries;
        for (unsigned s = 0; s < SONDE_SIGNAL_COUNT; s++) {
            const struct sonde_ledger_exporter *account = &daemon->ledger.exporters[outlet->cursor][s];
            uint64_t open = sonde_ledger_queued(account) + account->in_flight;
            sum += account->appended - open;
            *ret_has_work |= open > 0;
        }
    }
    return sum;
}
