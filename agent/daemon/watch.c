/* SPDX-License-Identifier: Apache-2.0 */
/* Signs of life for the service manager. Alive means progress: the loop turns, and while anything waits at an exporter
 * something moves (a request goes out, an answer comes, a record is settled). An agent that forwards nothing though
 * there is work gets restarted. */
#include "agent/daemon/daemon.h"
#include "agent/log.h"
#include <inttypes.h>

#define STATUS_NS UINT64_C(10000000000)
#define STUCK_NS                                                                                                       \
    UINT64_C(600000000000) /* longer than the longest pause between two tries (retry.max_interval, 5 min) */

static bool moves(struct sonde_daemon *daemon, uint64_t now_ns) {
    bool has_work, was_stuck = now_ns - daemon->progress_ns > STUCK_NS;
    uint64_t progress = sonde__outlets_progress(daemon, &has_work);
    if (!has_work || progress != daemon->progress)
        daemon->progress_ns = now_ns;
    daemon->progress = progress;
    bool stuck = now_ns - daemon->progress_ns > STUCK_NS;
    if (stuck && !was_stuck)
        sonde_agent_log(SONDE_LOG_ERROR, "nothing moves at the exporters, asking for a restart", NULL);
    return !stuck;
}

static void tick(void *user) {
    struct sonde_daemon *daemon = user;
    uint64_t now_ns = daemon->seams->time.monotonic_ns(daemon->seams->time.self), next_ns = STATUS_NS;
    uint64_t queued = sonde_queue_size(daemon->queue);
    char text[200];
    (void)snprintf(text, sizeof text, "%sSTATUS=%s, %" PRIu64 " KiB queued for %zu exporters",
                   daemon->notify.watchdog_ns && moves(daemon, now_ns) ? "WATCHDOG=1\n" : "",
                   daemon->state == SONDE__DAEMON_STOPPING ? "Stopping" : "Running", queued >> 10,
                   daemon->outlet_count);
    sonde__notify_send(&daemon->notify, text);
    if (daemon->notify.watchdog_ns && daemon->notify.watchdog_ns / 2 < next_ns)
        next_ns = daemon->notify.watchdog_ns / 2;
    sonde_timer_set(daemon->notify_timer, now_ns + next_ns);
}

int sonde__notify_start(struct sonde_daemon *daemon) {
    if (daemon->notify.fd < 0)
        return 0;
    int error = sonde_timer_create(daemon->loop, tick, daemon, &daemon->notify_timer);
    if (error)
        return error;
    daemon->progress_ns = daemon->seams->time.monotonic_ns(daemon->seams->time.self);
    sonde__notify_send(&daemon->notify, "READY=1");
    sonde_timer_set(daemon->notify_timer, 0);
    return 0;
}
