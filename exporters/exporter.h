/* SPDX-License-Identifier: Apache-2.0 */
/* What an exporter is. Plain code: it reads its cursor, builds requests, gives them to the http client, and is run
 * again when something happened or its deadline came. All calls on the loop's thread; none may block.
 *
 *   create -> run, run, ... -> stop -> run until idle or out of time -> destroy
 *
 * To add one: one file that ends in a const struct sonde_exporter_ops, one line in exporters/registry.c, one in
 * meson.build, one test; see CONTRIBUTING in README.md. */
#ifndef SONDE_EXPORTERS_EXPORTER_H
#define SONDE_EXPORTERS_EXPORTER_H

#include "exporters/http.h"
#include "exporters/metric_feed.h"
#include "exporters/option.h"
#include "exporters/record_log.h"
#include "exporters/seam.h"

/** Why an exporter dropped records; names are label values of sonde_agent_exporter_dropped_records_total. */
enum sonde_export_drop {
    SONDE_EXPORT_DROP_REJECTED = 0, /* the backend's answer is final (400, 413 on one record, ...) */
    SONDE_EXPORT_DROP_TOO_BIG,      /* one record alone is over the request limit */
    SONDE_EXPORT_DROP_QUEUE_FULL,   /* the queue's policy */
    SONDE_EXPORT_DROP_SHUTDOWN,     /* memory queue at the end of the drain */
    SONDE_EXPORT_DROP_COUNT,
};

/** Where outcomes go (agent/ledger/ implements it). Every item that left the cursor is accounted exactly once. */
struct sonde_export_account {
    void (*in_flight)(void *self, enum sonde_signal signal,
                      int64_t change); /* items taken into, or put back from, requests */
    void (*delivered)(void *self, enum sonde_signal signal, uint64_t items);
    void (*refused)(void *self, enum sonde_signal signal,
                    uint64_t items); /* partial success: rejected by the backend */
    void (*dropped)(void *self, enum sonde_signal signal, enum sonde_export_drop reason, uint64_t items);
    void *self;
};

/** Work off the loop (compression): `work` runs on a pool thread, `done` later on the loop; both exactly once. */
struct sonde_pool {
    int (*submit)(void *self, void (*work)(void *job), void (*done)(void *job), void *job);
    void *self;
};

/** What an exporter gets; borrowed, valid until it is destroyed. */
struct sonde_exporter_env {
    const char *name; /* of this instance, "otlp_http/backup" */
    struct sonde_seams seams;
    struct sonde__http_client http;
    struct sonde_record_log log;
    uint32_t cursor;
    struct sonde_export_account account;
    struct sonde_pool pool;
    void (*wake)(void *self); /* asks for a run() soon; safe from callbacks on the loop */
    void *wake_self;
    /** Logs one event (rate-limited by the caller's own state changes): level 'e','w','i','d'; text NUL-terminated. */
    void (*report)(void *self, char level, const char *text);
    void *report_self;
};

/** For the page, `sonde status` and metrics. Times are unix ns, 0 = never. */
struct sonde_exporter_status {
    uint64_t last_success_unix_ns, last_error_unix_ns;
    char last_error[256];
    uint64_t requests, request_errors, retries;
    uint64_t bytes_sent, bytes_uncompressed;
    uint32_t requests_in_flight;
    uint64_t pause_until_ns; /* monotonic: nothing is tried before, as the backend asked or by back-off; 0 = no pause */
    bool failing;            /* the last attempt failed, or the backend refuses everything */
    const char *breaker;     /* state of its circuit breaker, static; "" or NULL = it has none */
    char endpoint[256];
};

struct sonde_exporter_ops {
    const char *name, *summary;
    size_t config_size;
    const struct sonde_option *options; /* rows, SONDE_OPTION_END last */
    uint32_t signals;                   /* bit 1 << enum sonde_signal */
    /** Optional: those of .signals that this configuration takes, for its cursor's mask; 0 = the configuration is bad
     *  (create will say why). NULL = all of .signals. */
    uint32_t (*signals_of)(const void *config);
    /** Optional: how this configuration wants metrics. NULL = it takes what there is. */
    enum sonde_temporality (*temporality_of)(const void *config);
    /** Mandatory. config is kept until destroy. Checks what rows cannot (an URL, say): on SONDE_EINVALID error_text
     * holds a sentence naming the key and what is accepted. */
    int (*create)(const void *config, const struct sonde_exporter_env *env, void **ret_self, char *error_text,
                  size_t error_text_size);
    /** Mandatory. Does what can be done now; returns the monotonic time at which to run again at the latest
     *  (UINT64_MAX = only when woken). */
    uint64_t (*run)(void *self);
    /** Mandatory. From now on send what there is without waiting for full batches. */
    void (*stop)(void *self);
    /** Mandatory. True when nothing is in flight and the cursor is at the end. */
    bool (*idle)(void *self);
    void (*status)(void *self, struct sonde_exporter_status *ret_status); /* mandatory */
    /** Mandatory; NULL is fine. Cancels exchanges. What has no final answer is taken out of in_flight and stays in the
     *  log, unreleased. A pool job may still be under way: its `done` must be called before the loop and the allocator
     * go. */
    void (*destroy)(void *self);
};

/** The only list of exporters: sorted by name, NULL-terminated. (exporters/registry.c) */
extern const struct sonde_exporter_ops *const sonde_exporters[];

#endif
