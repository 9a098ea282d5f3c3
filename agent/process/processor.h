/* SPDX-License-Identifier: Apache-2.0 */
/* What a processor is: a stage between the receivers and what leaves. It skims and counts; what it does not change it
 * does not touch. To add one: one file ending in a const struct sonde_processor_ops, one line in registry.c.
 *
 *   receivers -> record() -> batch -> queue      spans and logs, each once, before they are appended
 *   series store -> its source                   a processor sets series of its own, and may read the store's
 *
 * Loop thread only. */
#ifndef SONDE_AGENT_PROCESSOR_H
#define SONDE_AGENT_PROCESSOR_H

#include "agent/ledger/ledger.h"
#include "agent/loop/loop.h"
#include "agent/queue/queue.h"
#include "agent/series/series.h"

#define SONDE_PROCESSORS_MAX 32u

struct sonde_processor_env {
    const char *name; /* of this instance, "sagas" */
    struct sonde_loop *loop;
    const struct sonde_seams *seams;
    struct sonde_queue *queue; /* for records of its own, accounted for in the ledger */
    struct sonde_ledger *ledger;
    struct sonde_series_store *series;
    struct sonde_series_source *source; /* this processor's own */
    struct sonde_bytes resource;        /* the agent's Resource message, for records of its own; borrowed until create()
                                           returns */
};

/** One figure for people: /api/status, `sonde status`. */
struct sonde_processor_figure {
    const char *name; /* static; an identifier */
    uint64_t value;
};
#define SONDE_PROCESSOR_FIGURES_MAX 8u

struct sonde_processor_ops {
    const char *name, *summary;
    size_t config_size;
    const struct sonde_option *options;
    bool by_default; /* runs where the configuration has no `processors` */
    int (*create)(const void *config, const struct sonde_processor_env *env, void **ret_self, char *error_text,
                  size_t error_text_size);
    /** An accepted, valid Span or LogRecord that may bear a name that begins as Sonde's own do (SONDE__OWN_PREFIX in
     *  instrumentation/wire/validate.h); others are not shown. body: borrowed. Each record once; those of recovered
     *  spans too. Must not append to the queue: the record's batch is not in it yet. Optional. */
    void (*record)(void *self, enum sonde_signal signal, struct sonde_bytes body);
    /** Fills up to SONDE_PROCESSOR_FIGURES_MAX figures; returns how many. Optional. */
    size_t (*figures)(void *self, struct sonde_processor_figure *ret_figures);
    void (*destroy)(void *self); /* mandatory; NULL is fine */
};

extern const struct sonde_processor_ops *const sonde_processors[]; /* registry.c; sorted, NULL-terminated */

/** Those at work. */
struct sonde_processing {
    struct sonde_processor {
        const char *name; /* kept: the configuration's */
        const struct sonde_processor_ops *ops;
        void *self;
        struct sonde_series_source *source;
    } items[SONDE_PROCESSORS_MAX];
    size_t count;
};

/** Shows a record to all that look at records. processing may be NULL. */
static inline void sonde_processing_record(const struct sonde_processing *processing, enum sonde_signal signal,
                                           struct sonde_bytes body) {
    for (size_t i = 0; processing && i < processing->count; i++)
        if (processing->items[i].ops->record)
            processing->items[i].ops->record(processing->items[i].self, signal, body);
}

#endif
