/* SPDX-License-Identifier: Apache-2.0 */
/* Metrics. An instrument has series, one per set of attributes. A bound series is the fast way: adding to
 * it is one store into a cell of this thread's. Attributes given per call find the series by hash.
 * The agent sums the cells when someone asks; nothing is sent from here, and a crash loses no count.
 * Source: OpenTelemetry specification, metrics/api.md and metrics/sdk.md. */
#ifndef SONDE_METRIC_H
#define SONDE_METRIC_H

#include <sonde/attribute.h>
#include <sonde/context.h>

SONDE_BEGIN

enum sonde_instrument_kind {
    SONDE_COUNTER = 1,       /* monotonic, value >= 0 */
    SONDE_UP_DOWN_COUNTER,   /* may fall */
    SONDE_GAUGE,             /* last value */
    SONDE_HISTOGRAM,         /* base-2 exponential, or explicit: by bounds, a view, or the environment */
    /* Observable: their values are not measured but asked for, by a callback (below). Otherwise as the first three. */
    SONDE_OBSERVABLE_COUNTER,
    SONDE_OBSERVABLE_UP_DOWN_COUNTER,
    SONDE_OBSERVABLE_GAUGE,
};

enum sonde_number { SONDE_NUMBER_INT64 = 0, SONDE_NUMBER_DOUBLE = 1 };

/** What an instrument is; all strings NUL-terminated and borrowed. Set up with SONDE_INSTRUMENT_OPTIONS_INIT.
 *  size         sizeof(struct sonde_instrument_options), so that the struct can grow.
 *  kind         COUNTER by the initializer.
 *  number       what is added or recorded; a histogram is always SONDE_NUMBER_DOUBLE.
 *  name         1..255 of [A-Za-z0-9_./-], first a letter (metrics/api.md#instrument-name-syntax).
 *  unit         UCUM, at most 63 ASCII characters; NULL = none.
 *  description  UTF-8, at most 1023 bytes; NULL = none.
 *  scope        from sonde_scope_register(); 0 = the default scope.
 *  bounds       advised bucket boundaries of a histogram, ascending, bound_count of them; NULL = none. */
struct sonde_instrument_options {
    size_t size;
    enum sonde_instrument_kind kind;
    enum sonde_number number;
    const char *name;
    const char *unit;
    const char *description;
    uint32_t scope;
    const double *bounds;
    size_t bound_count;
};
#ifdef __cplusplus
#define SONDE_INSTRUMENT_OPTIONS_INIT                                                                                  \
    { sizeof(struct sonde_instrument_options), SONDE_COUNTER, SONDE_NUMBER_INT64, nullptr, nullptr, nullptr, 0,        \
      nullptr, 0 }
#else
#define SONDE_INSTRUMENT_OPTIONS_INIT { .size = sizeof(struct sonde_instrument_options), .kind = SONDE_COUNTER }
#endif

/** Handles, by value. index 0 = a working no-op. */
struct sonde_instrument { uint32_t index; };
struct sonde_series { uint32_t index; };

/** Makes an instrument, or finds the one of the same name and scope (same kind, number and unit; a conflict keeps
 *  the first, is counted in sonde_stats and told to the report hook).
 *  ret_instrument  always written; a no-op on failure.
 *  Returns 0, SONDE_EINVALID (a name, unit or kind that is not accepted), SONDE_EFULL, SONDE_EDISABLED, or -ENOMEM-like
 *  system errors. Takes a lock: once, not per measurement.
 *  Views (sonde/view.h) may change or drop it; dropped, it is a no-op and 0 is returned. */
SONDE_API int sonde_instrument_create(const struct sonde_instrument_options *options,
                                      struct sonde_instrument *ret_instrument);

/** Finds or makes the series of a set of attributes (order does not matter; last of a repeated key wins).
 *  Past SONDE_SERIES_PER_INSTRUMENT_MAX it is the series otel.metric.overflow=true. Takes a lock when it makes one.
 *  Returns a handle; a no-op when the instrument is. */
SONDE_API struct sonde_series sonde_series_bind(struct sonde_instrument instrument,
                                                const struct sonde_attribute *attributes, size_t attribute_count);

/* Bound: hot path, any thread, no lock. A wrong kind, a negative or non-finite value where it is not allowed is
 * dropped and counted. */
SONDE_API_HOT void sonde_counter_add(struct sonde_series series, uint64_t value);
SONDE_API_HOT void sonde_counter_add_double(struct sonde_series series, double value);
SONDE_API_HOT void sonde_up_down_counter_add(struct sonde_series series, int64_t value);
SONDE_API_HOT void sonde_up_down_counter_add_double(struct sonde_series series, double value);
SONDE_API_HOT void sonde_gauge_set(struct sonde_series series, int64_t value);
SONDE_API_HOT void sonde_gauge_set_double(struct sonde_series series, double value);
SONDE_API_HOT void sonde_histogram_record(struct sonde_series series, double value);

/* Attributes per call; a lock only when the set is seen for the first time. Cheapest with literal keys, always in the
 * same order. */
SONDE_API_HOT void sonde_instrument_add(struct sonde_instrument instrument, int64_t value,
                                        const struct sonde_attribute *attributes, size_t attribute_count);
SONDE_API_HOT void sonde_instrument_record(struct sonde_instrument instrument, double value,
                                           const struct sonde_attribute *attributes, size_t attribute_count);

/* Exemplars: under a sampled span (or as OTEL_METRICS_EXEMPLAR_FILTER says) some of a series' measurements are kept
 * whole until the agent's next export: value, time, trace and span id, and what a view left out of the attributes. Each
 * of a period is as likely to be kept. Views choose how many, or none (sonde/view.h). These two measure in a context
 * other than the thread's current one, for code that works for many spans in turn. Otherwise as the two above, a few
 * nanoseconds slower.
 *  context  borrowed; NULL = the current one; an invalid one = no span. */
SONDE_API void sonde_instrument_add_in(const struct sonde_span_context *context, struct sonde_instrument instrument,
                                       int64_t value, const struct sonde_attribute *attributes, size_t attribute_count);
SONDE_API void sonde_instrument_record_in(const struct sonde_span_context *context, struct sonde_instrument instrument,
                                          double value, const struct sonde_attribute *attributes,
                                          size_t attribute_count);

/* ---- observable instruments ----
 * What is known at any time anyhow (a queue's length, the process's CPU seconds) need not be measured all the time: the
 * agent asks when it needs values (a scrape, an OTLP interval), and callbacks report them. They run one after the other
 * on a thread of the library's own, never on one of the service's: it has a stack of the usual size, all signals
 * blocked, and is made when the agent first asks. The agent waits 250 ms: what takes longer counts the next time, and
 * what was reported before stands until then. Nothing else waits for callbacks.
 *   What a callback no longer reports is no longer exported. A callback may measure, log, make spans, register and
 * unregister. It must not throw, nor end its thread, and should not wait for what may take long.
 *   Ends: sonde_shutdown() asks a last time, for up to 250 ms or half of its time, whichever is less. exit() does not
 * ask: it waits up to 250 ms for a callback that runs, and none begins after that.
 *   Processes: a child of fork() has its parent's registrations, and once it uses the library a thread of its own for
 * them; a callback must find its locks free there (pthread_atfork()).
 * Source: OpenTelemetry specification, metrics/api.md#asynchronous-instrument-api. */

/** Where a callback reports to; good during the call, on its thread. */
struct sonde_observer;
typedef void (*sonde_observe_fn)(struct sonde_observer *observer, void *user);

/** A registration, by value. All zero = none. */
struct sonde_observable { uint32_t index, generation; };

/** Has a callback asked for values of one or several observable instruments; an instrument may have several callbacks.
 *  user         kept until unregistered; may be NULL.
 *  instruments  borrowed; no-ops among them (a view dropped it) are passed over.
 *  ret_observable  always written; none on failure, and when all instruments are no-ops.
 *  Returns 0, SONDE_EINVALID (no callback, no instruments, one that is not observable), SONDE_EFULL
 *  (SONDE_OBSERVABLES_MAX), SONDE_EDISABLED, -ENOMEM. Takes a lock; any thread. */
SONDE_API int sonde_observable_register(sonde_observe_fn callback, void *user,
                                        const struct sonde_instrument *instruments, size_t instrument_count,
                                        struct sonde_observable *ret_observable);

/** Ends it: the callback is not called again, and series that nobody else reports are gone. Waits until a running call
 *  has returned, however long that takes, unless it is that very call that unregisters: so hold no lock that the
 *  callback takes. An unknown or ended registration is fine. */
SONDE_API void sonde_observable_unregister(struct sonde_observable observable);

/** Reports the value of a series, from within a callback: a counter's and an up-down counter's is the total so far, not
 *  what was added. The last report of a set of attributes counts; of sets that are one series only because a view drops
 *  keys or there are too many, totals are added up. A total that falls is told as it is: backends take it for a restart.
 *  Dropped and counted (observations_dropped of sonde_stats): an instrument the callback is not registered for, a
 *  negative or non-finite value where it is not allowed, a double for an instrument of int64. */
SONDE_API void sonde_observer_set(struct sonde_observer *observer, struct sonde_instrument instrument, int64_t value,
                                  const struct sonde_attribute *attributes, size_t attribute_count);
SONDE_API void sonde_observer_set_double(struct sonde_observer *observer, struct sonde_instrument instrument,
                                         double value, const struct sonde_attribute *attributes,
                                         size_t attribute_count);

SONDE_END

#endif
