/* SPDX-License-Identifier: Apache-2.0 */
/* The agent put together: who owns what, and in which order it comes and goes.
 *
 *   receivers -> queue -> exporters          ledger: the accounts of all three; processors look at what is taken in
 *   collectors, services' memory, own counters -> series -> /metrics, and every interval -> queue
 *
 * Loop thread only. */
#ifndef SONDE_AGENT_DAEMON_H
#define SONDE_AGENT_DAEMON_H

#include "agent/config/config.h"
#include "agent/daemon/notify.h"
#include "agent/daemon/place.h"
#include "agent/ledger/ledger.h"
#include "agent/loop/loop.h"
#include "agent/net/http_client.h"
#include "agent/net/http_server.h"
#include "agent/queue/queue.h"
#include "agent/series/series.h"
#include "exporters/prometheus/dialect.h"

struct sonde_daemon;

/** An exporter at work. */
struct sonde__outlet {
    struct sonde_daemon *daemon;
    const char *name;
    const struct sonde_exporter_ops *ops;
    void *self;
    uint32_t cursor, signals;
    struct sonde_export_account account;
    struct sonde_timer *timer;
    bool running, woken;
};
struct sonde__inlet {
    const char *name;
    const struct sonde_receiver_ops *ops;
    void *self;
};
struct sonde__probe {
    const char *name;
    const struct sonde_collector_ops *ops;
    void *self;
    struct sonde_series_source *source;
};

/** What services were there, beyond the life of their processes. The last row takes all that have no room. */
#define SONDE__SEEN_MAX 128u
struct sonde__seen {
    char name[128];
    uint64_t records[SONDE_SIGNAL_COUNT], dropped, gone; /* of processes that are gone, and how many those are */
};

/* Scrapes of /metrics, and what the last whole one left out. */
enum { SONDE__SCRAPE_DONE = 0, SONDE__SCRAPE_BROKEN, SONDE__SCRAPE_REFUSED, SONDE__SCRAPE_COUNT };
enum { SONDE__LEFT_OUT_TYPE = 0, SONDE__LEFT_OUT_NAME, SONDE__LEFT_OUT_BUCKETS, SONDE__LEFT_OUT_COUNT };
struct sonde__scraping {
    uint32_t open;
    struct sonde_prometheus_dialect asked; /* of the last HEAD */
    uint64_t scrapes[SONDE__SCRAPE_COUNT], left_out[SONDE__LEFT_OUT_COUNT];
};

enum sonde__daemon_state { SONDE__DAEMON_STARTING = 0, SONDE__DAEMON_RUNNING, SONDE__DAEMON_STOPPING };

struct sonde_daemon {
    const struct sonde_config *config; /* borrowed until destroy */
    struct sonde_loop *loop;
    const struct sonde_seams *seams;
    enum sonde__daemon_state state;
    char socket_path[SONDE__SOCKET_PATH_MAX];
    int lock_fd;
    struct sonde_queue *queue;
    struct sonde_ledger ledger;
    struct sonde_series_store *series;
    struct sonde_series_source *own_series, *kit_series; /* of the agent itself; of its breakers and retries */
    struct sonde_steering steering;
    struct sonde_processing processing;
    struct sonde_http_curl *http;
    struct sonde__http_server *server; /* NULL = agent.listen is empty */
    struct sonde__outlet outlets[SONDE_CONFIG_INSTANCES_MAX];
    struct sonde__inlet inlets[SONDE_CONFIG_INSTANCES_MAX];
    struct sonde__probe probes[SONDE_CONFIG_INSTANCES_MAX];
    size_t outlet_count, inlet_count, probe_count;
    struct sonde__seen seen[SONDE__SEEN_MAX];
    size_t seen_count;
    uint32_t export_signals; /* of all exporters */
    int signal_fd;
    struct sonde_watch *signal_watch;
    struct sonde_timer *metrics_timer, *notify_timer, *stop_timer, *rest_timer, *losses_timer, *pull_timer;
    struct sonde__notify notify;
    uint64_t start_unix_ns, start_ns, stop_at_ns;
    struct sonde__scraping scraping;
    uint64_t progress, progress_ns; /* sum of what moved at the exporters, and when it last changed */
    uint64_t rest_appended;         /* to the queue, when it was last looked whether all is quiet */
    bool rest_set;
    uint64_t losses_told[SONDE_SIGNAL_COUNT][SONDE_INTAKE_DROP_COUNT], losses_next_ns;
    bool unbalanced_logged;
    uint64_t pull_until_ns;
    bool pull_open, pull_for_export, pull_for_stop; /* services were asked; what goes on once they have answered */
};

/** Builds everything and listens. config: kept until destroy. socket: overrides agent.socket; NULL = not.
 *  Signals SIGTERM, SIGINT and SIGHUP must be blocked in the process.
 *  Returns 0, or an error (logged); SONDE_EINVALID: the configuration's. */
int sonde_daemon_create(const struct sonde_config *config, const char *socket, struct sonde_loop *loop,
                        struct sonde_daemon **ret_daemon);
/** Runs until a signal stops it and all is drained, or the time for that is over. */
void sonde_daemon_run(struct sonde_daemon *daemon);
void sonde_daemon_destroy(struct sonde_daemon *daemon); /* NULL is fine; half built too */

/* outlet.c */
int sonde__outlets_create(struct sonde_daemon *daemon);
void sonde__outlets_destroy(struct sonde_daemon *daemon);
void sonde__outlets_wake(struct sonde_daemon *daemon, uint32_t signals);
void sonde__outlets_stop(struct sonde_daemon *daemon);
bool sonde__outlets_idle(const struct sonde_daemon *daemon);
/** Sum of everything that counts as progress; has_work: something is queued or in flight. */
uint64_t sonde__outlets_progress(const struct sonde_daemon *daemon, bool *ret_has_work);

/* processing.c: before the receivers, and after them */
int sonde__processing_create(struct sonde_daemon *daemon);
void sonde__processing_destroy(struct sonde_daemon *daemon);

/* stop.c */
int sonde__signals_watch(struct sonde_daemon *daemon);
void sonde__daemon_stop(struct sonde_daemon *daemon);
/** Logs the first time that the ledger does not balance. */
bool sonde__ledger_check(struct sonde_daemon *daemon, char *text, size_t text_size);

/* rest.c: a burst's memory is given back when all is quiet */
int sonde__rest_create(struct sonde_daemon *daemon);
void sonde__rest_after(struct sonde_daemon *daemon); /* something was appended */

/* losses.c: the log tells of records that never reached the queue */
int sonde__losses_watch(struct sonde_daemon *daemon);
void sonde__losses_tell(struct sonde_daemon *daemon); /* now: the end */

/* pull.c: services' callbacks report before their values are used */
int sonde__pull_create(struct sonde_daemon *daemon);
/** Asks, unless that is under way. True: wait. When services have answered, or too late, put-off requests are answered,
 *  then what pull_for_* says is done. */
bool sonde__pull(struct sonde_daemon *daemon);
void sonde__pull_look(void *daemon); /* one answered */

/* parts of an interval and of the end that come after the pull */
void sonde__metrics_export(struct sonde_daemon *daemon);
void sonde__daemon_stop_rest(struct sonde_daemon *daemon);

/* watch.c: the service manager's view */
int sonde__notify_start(struct sonde_daemon *daemon);

#endif
