/* SPDX-License-Identifier: Apache-2.0 */
/* Every limit of the library, each with its reason. All are compile-time facts of this version;
 * the OTEL_* variables (see sonde/options.h) narrow some of them at run time. */
#ifndef SONDE_LIMITS_H
#define SONDE_LIMITS_H

/* A span grows by 4 KiB extents up to this, so that 128 attributes and a 16 KB stack trace fit. */
#define SONDE_SPAN_SIZE_MAX 65536u
/* A log record up to this: body and attributes together, encoded. */
#define SONDE_LOG_SIZE_MAX 65536u
/* Defaults of the OpenTelemetry specification (trace/sdk.md, span limits; common, attribute limits). */
#define SONDE_SPAN_ATTRIBUTES_MAX 128u
#define SONDE_SPAN_EVENTS_MAX 128u
#define SONDE_SPAN_LINKS_MAX 128u
#define SONDE_EVENT_ATTRIBUTES_MAX 128u
#define SONDE_LINK_ATTRIBUTES_MAX 128u
#define SONDE_LOG_ATTRIBUTES_MAX 128u
/* A literal key or name: 4 bytes of tag and lengths, and the whole, stay below one 128-byte step. */
#define SONDE_KEY_SIZE_MAX 120u
/* A span's name; longer ones are cut at a character and the cut is counted. */
#define SONDE_NAME_SIZE_MAX 1024u
/* A status description; longer ones are cut at a character. As much as of a long attribute, so that a dump does not eat
 * the span. */
#define SONDE_STATUS_DESCRIPTION_SIZE_MAX 16384u
/* tracestate kept with a context. W3C asks for at least 512 characters; longer lists are shortened by
 * whole members (those over 128 characters first, then from the right). */
#define SONDE_TRACESTATE_SIZE_MAX 1024u
#define SONDE_TRACESTATE_MEMBERS_MAX 32u
/* Baggage of a context: what W3C says must be carried. Size of all entries as they are sent, commas included. */
#define SONDE_BAGGAGE_SIZE_MAX 8192u
#define SONDE_BAGGAGE_ENTRIES_MAX 64u
/* Contexts nested on one thread; deeper ones are counted and not made current. */
#define SONDE_CONTEXT_DEPTH_MAX 64u
/* Open spans of one thread; one more is dropped and counted. */
#define SONDE_SPAN_SLOTS_PER_THREAD 64u
/* Threads with a ring of their own; later ones count and drop. */
#define SONDE_THREADS_MAX 1024u
/* Instruments, series of one instrument (then the overflow series), series of a process. */
#define SONDE_INSTRUMENTS_MAX 512u
#define SONDE_SERIES_PER_INSTRUMENT_MAX 2000u
#define SONDE_SERIES_MAX 8192u
/* Callbacks of observable instruments; asked one after the other. */
#define SONDE_OBSERVABLES_MAX 256u
/* Exemplars of one series that is no histogram with explicit buckets: as many as the specification asks for at most. */
#define SONDE_RESERVOIR_SIZE_MAX 20u
/* Views of a process; looked through when an instrument is made. */
#define SONDE_VIEWS_MAX 64u
/* Attributes of one series, and their encoded size. */
#define SONDE_SERIES_ATTRIBUTES_MAX 32u
#define SONDE_SERIES_ATTRIBUTES_SIZE_MAX 2048u
/* The resource's encoded size at the hand-over. */
#define SONDE_RESOURCE_SIZE_MAX 16384u
/* Composed samplers of a process, how deep they may be nested, and their rules; made once, never freed. */
#define SONDE_SAMPLERS_MAX 64u
#define SONDE_SAMPLER_DEPTH_MAX 8u
#define SONDE_SAMPLER_RULES_MAX 128u
/* Instrumentation scopes of a process, the default one (0) included. */
#define SONDE_SCOPES_MAX 256u
/* Circuit breakers of a process, two pages of shared memory each; and calls of a count window. */
#define SONDE_BREAKERS_MAX             256u
#define SONDE_BREAKER_WINDOW_CALLS_MAX 1024u
/* Ways of retrying, and budgets, of a process. */
#define SONDE_RETRIES_MAX       256u
#define SONDE_RETRY_BUDGETS_MAX 128u
/* Bulkheads, rate limiters, timeouts, fallbacks and ways of hedging of a process. */
#define SONDE_BULKHEADS_MAX   256u
#define SONDE_RATE_LIMITS_MAX 256u
#define SONDE_TIMEOUTS_MAX    256u
#define SONDE_FALLBACKS_MAX   256u
#define SONDE_HEDGES_MAX      256u
/* Deduplicators of a process; each has memory of its own. */
#define SONDE_DEDUPS_MAX 64u

#endif
