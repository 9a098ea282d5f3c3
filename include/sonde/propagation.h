/* SPDX-License-Identifier: Apache-2.0 */
/* Context in and out of carriers. Neither direction allocates, logs, or can fail the caller's operation.
 * Formats are propagators, chosen by name with OTEL_PROPAGATORS or sonde_propagators_set(): tracecontext, baggage, b3,
 * b3multi, jaeger, xray, xray-lambda, gcloud, datadog, ottrace, grpc-trace-bin; the default is tracecontext,baggage.
 * Injection writes all of them. Extraction asks all of them in order: a later one that finds a span context replaces
 * that of an earlier one, one that finds nothing or something bad leaves it alone.
 * Names are written in lower case. Where a carrier's names have case (Kafka, MQTT, AMQP, Redis Streams) some libraries
 * write X-B3-TraceId, X-Amzn-Trace-Id or X-Cloud-Trace-Context instead: these are read as well, but such a library may
 * not find ours (b3multi of the SDK for Java does not): b3 and tracecontext are spelled alike by all.
 * Source: W3C trace-context levels 1 and 2; OpenTelemetry specification, context/api-propagators.md. */
#ifndef SONDE_PROPAGATION_H
#define SONDE_PROPAGATION_H

#include <sonde/carrier.h>
#include <sonde/context.h>

SONDE_BEGIN

#define SONDE_TRACEPARENT_SIZE 55u

/** Why an extraction gave no span context (or dropped something beside it); for counters and tests, never an error. */
enum sonde_extract_reason {
    SONDE_EXTRACT_OK = 0,
    SONDE_EXTRACT_ABSENT,
    SONDE_EXTRACT_DUPLICATE,       /* more than one traceparent, or grpc-trace-bin */
    SONDE_EXTRACT_LENGTH,
    SONDE_EXTRACT_VERSION,
    SONDE_EXTRACT_DELIMITER,
    SONDE_EXTRACT_HEX,
    SONDE_EXTRACT_ZERO_ID,
    SONDE_EXTRACT_TRACESTATE,      /* context is good, tracestate was bad and is dropped */
    SONDE_EXTRACT_TAGS_MALFORMED,  /* context is good, _dd.p.tid was bad: the id has 64 bits */
    SONDE_EXTRACT_TAGS_LENGTH,     /* context is good, x-datadog-tags was over 512 bytes and is dropped */
    SONDE_EXTRACT_FIELDS,          /* a part is missing, or there is one too many */
    SONDE_EXTRACT_SAMPLED,         /* no sampling state of this format */
    SONDE_EXTRACT_RANGE,           /* a number over 64 bits */
    SONDE_EXTRACT_ENCODING,        /* not base64 */
    SONDE_EXTRACT_DECISION,        /* no ids but a sampling decision, in span.decision */
    SONDE_EXTRACT_BAGGAGE,         /* nothing but baggage */
    SONDE_EXTRACT_BAGGAGE_PART,    /* nothing but baggage, of which some entries were bad or too many */
    SONDE_EXTRACT_IGNORED,         /* by SONDE_ENTRY_IGNORE */
};

/** Writes a traceparent, version 00.
 *  ret_text  SONDE_TRACEPARENT_SIZE bytes, no NUL.
 *  Returns true, or false (nothing written) when the context is invalid. Any thread, never blocks. */
SONDE_API bool sonde_traceparent_write(const struct sonde_span_context *context,
                                       char ret_text[SONDE_TRACEPARENT_SIZE]);

/** Reads a traceparent value (white space round it allowed).
 *  text, size   borrowed, no NUL needed; work is bounded whatever the size.
 *  ret_context  written only on SONDE_EXTRACT_OK; is_remote set; flags masked to the known bits.
 *  Source: W3C trace-context, 2.2 (level 1) and 3.2 (level 2). */
SONDE_API enum sonde_extract_reason sonde_traceparent_read(const char *text, size_t size,
                                                           struct sonde_span_context *ret_context);

/** Reads and checks tracestate header values into a context's list; call once per header value, in order.
 *  Returns true, or false when the list so far is invalid or too long by members: the context's list is then empty
 *  and stays so for the caller to keep. Lists over SONDE_TRACESTATE_SIZE_MAX are shortened by whole members. */
SONDE_API bool sonde_tracestate_append(struct sonde_context *context, const char *text, size_t size);

/* One member of a tracestate: find, change (moved to the left end), remove. Strings borrowed, ASCII.
 * get: false when absent. set: 0, SONDE_EINVALID (key or value not accepted; nothing changed). */
SONDE_API bool sonde_tracestate_get(const struct sonde_context *context, const char *key, size_t key_size,
                                    struct sonde_string *ret_value);
SONDE_API int sonde_tracestate_set(struct sonde_context *context, const char *key, size_t key_size,
                                   const char *value, size_t value_size);
SONDE_API void sonde_tracestate_remove(struct sonde_context *context, const char *key, size_t key_size);

/** Puts a context into a carrier, in the formats that are configured. Room is used in the order of the formats.
 *  A carrier may be used again (a retry, a pooled request, a message passed on): what is set replaces what was there;
 *  tracestate goes where the context has none; and so does baggage in a carrier that held a context already (without one
 *  it is taken for the application's own, and stays). Carriers that cannot remove keep what they hold.
 *  context  borrowed; NULL = the current one. Without a valid span context only baggage goes out, and a sampling
 *           decision in formats that know one; without either the carrier is left alone.
 *  Returns 0 or the first error of the carrier's set; the caller's message is fit to send either way. */
SONDE_API int sonde_inject(const struct sonde_context *context, const struct sonde_carrier *carrier);

/** Reads a context out of a carrier, by the formats that are configured.
 *  ret_context  always written: the remote context, or the invalid one; a decision and baggage may be there without a
 *               span context, so hand it to sonde_span_start() as the parent either way. SONDE_EXTRACT_FIELDS of X-Ray
 *               may leave a trace id beside a span id of zero: a load balancer's Root, of whom no span is known.
 *  Returns why there is no span context, or SONDE_EXTRACT_OK, _TRACESTATE, _TAGS_MALFORMED, _TAGS_LENGTH. */
SONDE_API enum sonde_extract_reason sonde_extract(const struct sonde_carrier *carrier,
                                                  struct sonde_context *ret_context);

/** What comes from a peer is worth at an entry point.
 *  TRUST   it is the parent.
 *  LINK    a new trace begins here, by our own sampler; the remote span context is there for a link. No decision and no
 *          baggage comes in.
 *  IGNORE  the carrier is not looked at.
 *  RESAMPLE  it is the parent, but whether the trace is kept from here on our own sampler decides, whatever it says. */
enum sonde_entry {
    SONDE_ENTRY_TRUST = 0,
    SONDE_ENTRY_LINK,
    SONDE_ENTRY_IGNORE,
    SONDE_ENTRY_RESAMPLE,
};

/** How many contexts a second that ask to be kept (the sampled flag, B3's and Jaeger's debug) an entry point believes: a
 *  peer that sets the flag on all it sends then costs no more than that, and past it what our own sampler keeps, as if
 *  nobody had said anything. One for each entry point or kind of peer, as long as it is open; threads share it without
 *  a lock. All zero believes none. */
struct sonde_entry_budget {
    uint64_t internal[3];
};

/** per_second  0 (none) or above, at most 1,000,000.
 *  burst       at once after a quiet time; 0 = what a second allows.
 *  Returns 0, or SONDE_EINVALID (none is believed then). */
SONDE_API int sonde_entry_budget_init(struct sonde_entry_budget *ret_budget, double per_second, uint32_t burst);

/** Set up with SONDE_EXTRACT_OPTIONS_INIT.
 *  size         sizeof(struct sonde_extract_options), so that the struct can grow.
 *  entry        see there.
 *  propagators  names separated by commas, as OTEL_PROPAGATORS has them; NULL = the configured ones. Unknown names are
 *               skipped. Borrowed.
 *  ret_link     LINK: written always, with the remote context (no baggage, no decision) or the invalid one; borrowed,
 *               may be NULL.
 *  budget       TRUST: see there; NULL = no bound. Borrowed. */
struct sonde_extract_options {
    size_t size;
    enum sonde_entry entry;
    const char *propagators;
    struct sonde_context *ret_link;
    struct sonde_entry_budget *budget;
};

#ifdef __cplusplus
#define SONDE_EXTRACT_OPTIONS_INIT { sizeof(struct sonde_extract_options), SONDE_ENTRY_TRUST, nullptr, nullptr, nullptr }
#else
#define SONDE_EXTRACT_OPTIONS_INIT { .size = sizeof(struct sonde_extract_options) }
#endif

/** sonde_extract() with options (borrowed; NULL = the defaults). With LINK the reason is that of the link. */
SONDE_API enum sonde_extract_reason sonde_extract_with(const struct sonde_carrier *carrier,
                                                       const struct sonde_extract_options *options,
                                                       struct sonde_context *ret_context);

/** sonde_inject() in formats named here ("b3,baggage"), whatever is configured. Borrowed; unknown names are skipped. */
SONDE_API int sonde_inject_as(const char *propagators, const struct sonde_context *context,
                              const struct sonde_carrier *carrier);

/** Chooses the formats of this process, instead of OTEL_PROPAGATORS.
 *  names  as there: separated by commas, in order, white space allowed; "none" = no format; "" = the default. Borrowed.
 *  Returns 0, or SONDE_EINVALID when a name is unknown (reported and skipped, the others are set). Any thread, any
 *  time. Source: OpenTelemetry specification, configuration/sdk-environment-variables.md. */
SONDE_API int sonde_propagators_set(const char *names);

/** The names of all formats there are, in alphabetical order; strings are static. */
SONDE_API void sonde_propagators_list(sonde_carrier_visit visit, void *user);

/** Takes everything that the configured formats write out of a carrier, so that it can be used again: for a message
 *  that is sent to the next peer, or by a proxy. */
SONDE_API void sonde_propagation_clear(const struct sonde_carrier *carrier);

SONDE_END

#endif
