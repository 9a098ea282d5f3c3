/* SPDX-License-Identifier: Apache-2.0 */
/* Setting the library up, and seeing how it does. No call here is needed: the first span, log or metric starts it
 * from the environment. An empty variable is unset; a bad value is ignored and reported. All of them, with what they
 * accept, and OpenTelemetry's that are not the library's: sonde/environment.md.
 *   who it is     OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES
 *   on and off    OTEL_SDK_DISABLED, OTEL_TRACES_EXPORTER, OTEL_METRICS_EXPORTER, OTEL_LOGS_EXPORTER (none)
 *   traces        OTEL_TRACES_SAMPLER, OTEL_TRACES_SAMPLER_ARG, OTEL_PROPAGATORS
 *   metrics       OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION, OTEL_METRICS_EXEMPLAR_FILTER
 *   limits        OTEL_ATTRIBUTE_*, OTEL_SPAN_*, OTEL_EVENT_*, OTEL_LINK_*, OTEL_LOGRECORD_*
 *   conventions   OTEL_SEMCONV_STABILITY_OPT_IN, OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS, SONDE_MESSAGING_SEND_TIME
 *   the rest      OTEL_LOG_LEVEL (reports, to standard error without a hook), SONDE_AGENT_SOCKET,
 *                 SONDE_PROCESS_CONTEXT_DISABLED
 * Where telemetry goes (OTEL_EXPORTER_OTLP_*, OTEL_BSP_*, OTEL_METRIC_EXPORT_*) is the agent's. OTEL_CONFIG_FILE is not
 * read: libsonde links no YAML parser.
 * Processes: a child of fork() is a process of its own: its first call makes new memory and another link to the agent,
 * and spans that were open in the parent are nobody's in the child. A child of vfork() borrows its parent's thread until
 * it execs or exits: what it records is the parent thread's, and if that thread had not used the library yet nothing is
 * recorded. exec() ends the process as far as the agent can tell; spans then open are told as unfinished.
 * Source: OpenTelemetry specification, configuration/sdk-environment-variables.md. */
#ifndef SONDE_OPTIONS_H
#define SONDE_OPTIONS_H

#include <sonde/attribute.h>
#include <sonde/id.h>
#include <sonde/sampler.h>

SONDE_BEGIN

/** Called, rate-limited to 10 a second, with what the library would have logged. message is NUL-terminated and
 *  borrowed. May be called from any thread; must not call the library. */
typedef void (*sonde_report_fn)(void *user, const char *message);

/** Options beat the environment; NULL or zero leaves a thing to it. All borrowed during the call but report_user (kept).
 *  sampler      "always_on", "always_off", "traceidratio", "parentbased_always_on", "parentbased_always_off",
 *               "parentbased_traceidratio"; "sonde_rate_limiting", "parentbased_sonde_rate_limiting" (sampler_arg spans
 *               a second, 0..1e6, default 100; roots only when parent-based); "jaeger_remote", "parentbased_jaeger_remote":
 *               the same as the ratio samplers, as it is the agent that gives rates, with a ratio of 0.001 until it does.
 *               With all of them the agent's word (`sonde sample SERVICE RATIO`) replaces what is decided for roots.
 *  composed_sampler  instead of a sampler with a name (sonde/sampler.h); kept. NULL = by name.
 *  id_generator      copied; NULL = random ids.
 *  process_context_disabled  the resource is not published to profilers and other readers outside (OTEP 4719).
 *  sampler_arg  ratio 0..1; NAN-free; used with the ratio samplers when has_sampler_arg.
 *  exemplar_filter  which measurements may become exemplars: "trace_based" (under a sampled span; the default),
 *                   "always_on", "always_off". */
struct sonde_options {
    size_t size;
    const char *service_name;
    const char *service_namespace;
    const char *service_version;
    const struct sonde_attribute *resource_attributes;
    size_t resource_attribute_count;
    const char *agent_socket;
    const char *sampler;
    double sampler_arg;
    bool has_sampler_arg;
    bool disabled;
    sonde_report_fn report;
    void *report_user;
    bool process_context_disabled;
    const struct sonde_sampler *composed_sampler;
    const struct sonde_id_generator *id_generator;
    const char *exemplar_filter;
};

#ifdef __cplusplus
#define SONDE_OPTIONS_INIT { sizeof(struct sonde_options), nullptr, nullptr, nullptr, nullptr, 0, nullptr, nullptr, 0, false, false, nullptr, nullptr, false, nullptr, nullptr, nullptr }
#else
#define SONDE_OPTIONS_INIT { .size = sizeof(struct sonde_options) }
#endif

/** Starts the library with options. Only the first start of a process counts.
 *  Returns 0; SONDE_EINVALID (unknown sampler or filter, ratio out of range; what was bad is reported, the rest is applied);
 *  -EALREADY when a span, log, metric or start came before. Starts the link thread; does not wait for the agent. */
SONDE_API int sonde_start(const struct sonde_options *options);

/** Waits until the agent has taken everything this process has committed so far.
 *  Returns 0; -ETIMEDOUT (not within timeout_ms; it may yet happen); SONDE_ENOAGENT (none is there or it went away: what
 *  was recorded waits in memory for the next one); SONDE_EDISABLED (the library is off, or was shut down).
 *  Blocks up to timeout_ms; 0 asks and does not wait. Any number of threads at once; not from a signal handler. */
SONDE_API int sonde_flush(uint32_t timeout_ms);

/** Asks the callbacks of observable instruments a last time (sonde/metric.h), flushes, tells the agent of the clean end,
 *  and makes all further calls no-ops: all within timeout_ms, and whatever it returns, which is as of sonde_flush(). A
 *  second call returns SONDE_EDISABLED. Optional: exit() does the telling too.
 *  Any thread, and atexit() handlers. In a forked child it is the child's own. */
SONDE_API int sonde_shutdown(uint32_t timeout_ms);

/** Why records were dropped before the agent could see them. */
enum sonde_drop_reason {
    SONDE_DROP_RING_FULL = 0,
    SONDE_DROP_NO_SLOT,      /* all span slots of the thread are open */
    SONDE_DROP_NO_MEMORY,    /* the thread has no ring: pool used up, or the system refused the memory */
    SONDE_DROP_TOO_BIG,
    SONDE_DROP_BUSY,         /* a signal handler called in while its thread was inside the library, or the spin ran out */
    SONDE_DROP_REASON_COUNT,
};
enum sonde_signal { SONDE_SIGNAL_TRACES = 0, SONDE_SIGNAL_LOGS, SONDE_SIGNAL_METRICS, SONDE_SIGNAL_COUNT };

/** Sums over the process since its start. */
struct sonde_stats {
    size_t size;
    uint64_t dropped[SONDE_SIGNAL_COUNT][SONDE_DROP_REASON_COUNT];
    uint64_t attributes_dropped;   /* by size or count limits, all signals */
    uint64_t contexts_dropped;     /* stack too deep */
    uint64_t doorbells;            /* eventfd writes */
    uint64_t connects;             /* hand-overs completed */
    uint64_t threads_attached;
    uint64_t measurements_dropped; /* wrong kind, negative, not finite, no cell */
    bool connected;
    uint64_t instrument_conflicts; /* instruments made again with another kind, number or unit; reported too */
    uint64_t observations_dropped; /* of callbacks: another's instrument, wrong number, negative, not finite, no cell */
    uint64_t ids_replaced;         /* zeros that an id generator gave */
};

/** Reads the counters. Any thread, never blocks. ret_stats->size is set by the caller. */
SONDE_API void sonde_stats_get(struct sonde_stats *ret_stats);

SONDE_END

#endif
