/* SPDX-License-Identifier: Apache-2.0 */
/* Observable instruments: before values are used (a scrape, an OTLP interval, the end) services that have callbacks are
 * asked, and all have 250 ms. Who needs values meanwhile shares what is under way. Nothing is held up but the answers
 * that wait: records are drained and delivered all the time. Without callbacks anywhere there is no wait at all.
 *
 *   sonde__pull() -> PULL to each -> all PULLED, or out of time -> interval, end, put-off requests */
#include "agent/daemon/daemon.h"

#define PULL_NS UINT64_C(250000000)

static uint64_t now_of(const struct sonde_daemon *daemon) {
    return daemon->seams->time.monotonic_ns(daemon->seams->time.self);
}

static bool is_waiting(const struct sonde_daemon *daemon) {
    for (size_t i = 0; i < daemon->inlet_count; i++)
        if (daemon->inlets[i].ops->pulling && daemon->inlets[i].ops->pulling(daemon->inlets[i].self))
            return true;
    return false;
}

static void look(void *user) {
    struct sonde_daemon *daemon = user;
    if (!daemon->pull_open)
        return;
    if (now_of(daemon) < daemon->pull_until_ns && is_waiting(daemon)) {
        sonde_timer_set(daemon->pull_timer, daemon->pull_until_ns);
        return;
    }
    for (size_t i = 0; i < daemon->inlet_count; i++)
        if (daemon->inlets[i].ops->pull_end)
            daemon->inlets[i].ops->pull_end(daemon->inlets[i].self);
    const bool is_export = daemon->pull_for_export && !daemon->pull_for_stop, is_stop = daemon->pull_for_stop;
    daemon->pull_open = daemon->pull_for_export = daemon->pull_for_stop = false;
    if (is_export) /* the end exports, too */
        sonde__metrics_export(daemon);
    if (is_stop)
        sonde__daemon_stop_rest(daemon);
    if (daemon->server)
        sonde__http_server_resume(daemon->server);
}

int sonde__pull_create(struct sonde_daemon *daemon) {
    return sonde_timer_create(daemon->loop, look, daemon, &daemon->pull_timer);
}

bool sonde__pull(struct sonde_daemon *daemon) {
    uint64_t limit_ns = PULL_NS;
    if (daemon->pull_open)
        return true;
    for (size_t i = 0; i < daemon->inlet_count; i++)
        if (daemon->inlets[i].ops->pull && daemon->inlets[i].ops->pull(daemon->inlets[i].self))
            daemon->pull_open = true;
    if (!daemon->pull_open)
        return false;
    if (daemon->state == SONDE__DAEMON_STOPPING && daemon->config->agent.shutdown_timeout_ns / 2 < limit_ns)
        limit_ns = daemon->config->agent.shutdown_timeout_ns / 2; /* the rest is for what is queued */
    daemon->pull_until_ns = now_of(daemon) + limit_ns;
    sonde_timer_set(daemon->pull_timer, daemon->pull_until_ns);
    return true;
}

/* In the next turn of the loop: who tells may be in the middle of his peers. */
void sonde__pull_look(void *user) {
    struct sonde_daemon *daemon = user;
    if (daemon->pull_open)
        sonde_timer_set(daemon->pull_timer, 0);
}
