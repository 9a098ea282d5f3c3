/* SPDX-License-Identifier: Apache-2.0 */
/* Delivery: the same for all exporters. Reads the cursor, fills batches, gives them to a transport, and does what its
 * outcomes ask: release, retry, split, drop by name. What "retryable" means on the wire is the transport's knowledge.
 *
 *   OPEN --full, or old--> READY --a free place, the pause over--> BUSY --delivered, dropped--> gone
 *                            ^------------- retryable, or no memory ------'  `--refused content--> two READY halves
 *
 * Pauses are of two kinds, and a batch waits for both: the exporter's own (the circuit breaker is open, or the backend
 * asked us to wait) and the batch's (the back-off of its retries: a batch that fails alone must not stop the others).
 * While the backend fails, one request at a time asks whether it is back. What waits is in the queue; neither an open
 * breaker nor a spent budget drops anything. Once stopping, the breaker is not waited for: requests go out one at a
 * time, every 250 ms, as long as the agent gives us. All on one thread. */
#ifndef SONDE_EXPORTERS_DELIVERY_H
#define SONDE_EXPORTERS_DELIVERY_H

#include "exporters/delivery/batch.h"
#include "exporters/delivery/guard.h"
#include "exporters/delivery/window.h"
#include "exporters/exporter.h"

enum sonde__answer {
    SONDE__ANSWER_DELIVERED = 0, /* refused_items of them were refused for good (partial success) */
    SONDE__ANSWER_RETRY,         /* the backend, or the way to it, is unwell: again later, for ever */
    SONDE__ANSWER_NO_MEMORY,     /* ours: again shortly, not a failure of the backend */
    SONDE__ANSWER_CONTENT,       /* something in the batch was refused for good: find it */
    SONDE__ANSWER_TOO_LARGE,     /* the same, and smaller batches from now on */
    SONDE__ANSWER_FINAL,         /* refused for good, whatever the batch holds */
};

struct sonde__outcome {
    enum sonde__answer answer;
    uint64_t refused_items;
    uint64_t retry_after_ns; /* 0 = not told */
    const char *text;        /* borrowed; why, for people; "" when all is well */
    const char *warning;     /* borrowed or NULL: the backend took it and has something to say */
    uint64_t bytes_sent, bytes_uncompressed;
};

struct sonde__transport {
    /** Sends a batch. Returns 0 (sonde__delivery_done() is called later, exactly once, never from inside) or an error
     *  (nothing is under way: -ENOMEM, or what else kept it from starting; the batch is tried again). */
    int (*send)(void *self, struct sonde__batch *batch, uint64_t timeout_ns);
    /** Ends what is under way for the batch (done is not called then) and frees batch->attached. */
    void (*discard)(void *self, struct sonde__batch *batch);
    void *self;
};

struct sonde__delivery_options {
    uint64_t timeout_ns, retry_initial_ns, retry_max_ns, batch_timeout_ns;
    size_t batch_size, batch_size_max; /* aimed at; never passed */
    uint64_t batch_items;              /* aimed at */
    uint32_t concurrency;
};

#define SONDE__DELIVERY_OPEN_MAX 8u

/* The rest of a record that did not fit into one batch. */
struct sonde__delivery_rest {
    struct sonde_record_view record;
    struct sonde_bytes data;
    uint32_t count;
    uint64_t position;
};

struct sonde__delivery {
    struct sonde__delivery_options options;
    struct sonde_exporter_env env;
    struct sonde__transport transport;
    struct sonde__window window;
    struct sonde__batch *open[SONDE__DELIVERY_OPEN_MAX]; /* owned; NULL = free */
    struct sonde__batch *first, *last;                   /* sealed ones, owned: those to be tried earlier first */
    uint32_t sealed, busy;
    struct sonde__delivery_rest rest; /* count 0 = none */
    uint64_t taken;                   /* the last sequence read */
    size_t batch_size;                /* aimed at now; a backend's 413 makes it smaller */
    uint64_t pause_until_ns, memory_until_ns;
    struct sonde__guard guard;
    bool stopping;
    bool failing, told; /* the last answer was "again later"; that was reported */
    bool refusing;      /* the last answer was final for the whole batch */
    bool hopeless;      /* the last search for refused items found nothing to deliver */
    uint64_t losses_unreported, loss_report_ns;
    char loss_text[200]; /* why the last of those were lost */
    uint64_t failures;   /* since the last success */
    bool warned;
    struct sonde_exporter_status status;
};

/** env is copied; what it points to must stay until deinit. Allocates nothing. */
void sonde__delivery_init(struct sonde__delivery *delivery, const struct sonde__delivery_options *options,
                          const struct sonde_exporter_env *env, const struct sonde__transport *transport);
/** Discards what is under way. What had no final answer stays in the log, unreleased. */
void sonde__delivery_deinit(struct sonde__delivery *delivery);
/** As the exporter ops of the same names. */
uint64_t sonde__delivery_run(struct sonde__delivery *delivery);
void sonde__delivery_stop(struct sonde__delivery *delivery);
bool sonde__delivery_is_idle(struct sonde__delivery *delivery);
/** For the transport. Wakes the exporter; the batch may be gone after this. */
void sonde__delivery_done(struct sonde__delivery *delivery, struct sonde__batch *batch,
                          const struct sonde__outcome *outcome);

#endif
