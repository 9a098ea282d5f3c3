/* SPDX-License-Identifier: Apache-2.0 */
/* The end: a signal -> last values of services' callbacks -> last drain, exporters told to hurry -> idle, or out of time -> what is left is counted -> exit.
 * A second signal exits at once. */
#include "agent/daemon/daemon.h"
#include "agent/log.h"
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#define LOOK_NS UINT64_C(5000000) /* how often the end asks whether all is out: a few times per round trip */

bool sonde__ledger_check(struct sonde_daemon *daemon, char *text, size_t text_size) {
    bool balanced = sonde_ledger_balances(&daemon->ledger, daemon->queue, text, text_size);
    if (!balanced && !daemon->unbalanced_logged)
        sonde_agent_log(SONDE_LOG_ERROR, "ledger does not balance, records may have been lost uncounted", "equation=%s",
                        sonde_agent_log_quote(text));
    daemon->unbalanced_logged = !balanced;
    return balanced;
}

static void look(void *user) {
    struct sonde_daemon *daemon = user;
    uint64_t now_ns = daemon->seams->time.monotonic_ns(daemon->seams->time.self);
    if (sonde__outlets_idle(daemon) || now_ns >= daemon->stop_at_ns) {
        sonde_loop_stop(daemon->loop);
        return;
    }
    sonde_timer_set(daemon->stop_timer, now_ns + LOOK_NS);
}

void sonde__daemon_stop(struct sonde_daemon *daemon) {
    daemon->state = SONDE__DAEMON_STOPPING;
    daemon->stop_at_ns =
        daemon->seams->time.monotonic_ns(daemon->seams->time.self) + daemon->config->agent.shutdown_timeout_ns;
    sonde__notify_send(&daemon->notify, "STOPPING=1\nSTATUS=Delivering what is queued");
    sonde_timer_clear(daemon->metrics_timer);
    if ((daemon->export_signals & (1u << SONDE_SIGNAL_METRICS)) && sonde__pull(daemon))
        daemon->pull_for_stop = true;
    else
        sonde__daemon_stop_rest(daemon);
}

void sonde__daemon_stop_rest(struct sonde_daemon *daemon) {
    for (size_t i = 0; i < daemon->inlet_count; i++) {
        const struct sonde__inlet *inlet = &daemon->inlets[i];
        if (inlet->ops->drain)
            inlet->ops->drain(inlet->self);
        if (inlet->ops->stop)
            inlet->ops->stop(inlet->self);
    }
    if (daemon->export_signals & (1u << SONDE_SIGNAL_METRICS)) /* last values; a full queue loses only them */
        (void)sonde_series_export(daemon->series, daemon->queue, &daemon->ledger);
    sonde__outlets_stop(daemon);
    sonde_timer_set(daemon->stop_timer, 0);
}

static void on_signal(void *user, int events) {
    struct sonde_daemon *daemon = user;
    struct signalfd_siginfo info;
    (void)events;
    while (read(daemon->signal_fd, &info, sizeof info) == sizeof info) {
        if (info.ssi_signo == SIGHUP) {
            sonde_agent_log(SONDE_LOG_WARN, "configuration is read at start only, restart to apply changes", NULL);
            continue;
        }
        if (daemon->state == SONDE__DAEMON_STOPPING) {
            sonde_agent_log(SONDE_LOG_WARN, "second signal, leaving at once", NULL);
            _exit(0);
        }
        sonde_agent_log(SONDE_LOG_INFO, "stopping, delivering what is queued", "signal=%s timeout_ms=%" PRIu64,
                        sigabbrev_np((int)info.ssi_signo), daemon->config->agent.shutdown_timeout_ns / 1000000u);
        sonde__daemon_stop(daemon);
    }
}

int sonde__signals_watch(struct sonde_daemon *daemon) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    daemon->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (daemon->signal_fd < 0)
        return -errno;
    int error = sonde_timer_create(daemon->loop, look, daemon, &daemon->stop_timer);
    if (error)
        return error;
    return sonde_watch_create(daemon->loop, daemon->signal_fd, SONDE_WATCH_READ, on_signal, daemon,
                              &daemon->signal_watch);
}
