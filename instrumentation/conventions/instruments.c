/* SPDX-License-Identifier: Apache-2.0 */
/* The instruments of the conventions, and their scope. Each is made when it is first used, so that a service has only
 * those it needs. */
#include "instrumentation/conventions/conventions.h"

/* Advised for durations in seconds: http/http-metrics.md, rpc/rpc-metrics.md, messaging/messaging-metrics.md. */
static const double bounds[] = {0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10};
#define BOUND_COUNT (sizeof bounds / sizeof *bounds)

#define DURATION(name, description)                                                                                    \
    {                                                                                                                  \
        sizeof(struct sonde_instrument_options), SONDE_HISTOGRAM, SONDE_NUMBER_DOUBLE, name, "s", description, 0,      \
            bounds, BOUND_COUNT                                                                                        \
    }
#define MESSAGES(name, description)                                                                                    \
    {                                                                                                                  \
        sizeof(struct sonde_instrument_options), SONDE_COUNTER, SONDE_NUMBER_INT64, name, "{message}", description, 0, \
            NULL, 0                                                                                                    \
    }

static const struct sonde_instrument_options options[SONDE__METRIC_COUNT] = {
    [SONDE__METRIC_HTTP_SERVER] = DURATION("http.server.request.duration", "Duration of HTTP server requests."),
    [SONDE__METRIC_HTTP_CLIENT] = DURATION("http.client.request.duration", "Duration of HTTP client requests."),
    [SONDE__METRIC_RPC_SERVER] = DURATION("rpc.server.call.duration", "Duration of inbound remote procedure calls."),
    [SONDE__METRIC_RPC_CLIENT] = DURATION("rpc.client.call.duration", "Duration of outbound remote procedure calls."),
    [SONDE__METRIC_MESSAGING_OPERATION] =
        DURATION("messaging.client.operation.duration", "Duration of messaging operations of a client."),
    [SONDE__METRIC_MESSAGING_PROCESS] = DURATION("messaging.process.duration", "Duration of processing of messages."),
    [SONDE__METRIC_MESSAGING_SENT] = MESSAGES("messaging.client.sent.messages", "Messages sent."),
    [SONDE__METRIC_MESSAGING_CONSUMED] =
        MESSAGES("messaging.client.consumed.messages", "Messages delivered to the application."),
    /* Minutes and days are as likely as milliseconds: no boundaries, so exponential. */
    [SONDE__METRIC_QUEUE_TIME] = {sizeof(struct sonde_instrument_options), SONDE_HISTOGRAM, SONDE_NUMBER_DOUBLE,
                                  "sonde.messaging.queue.time", "s", "Time from a message's sending to its delivery.",
                                  0, NULL, 0},
    [SONDE__METRIC_QUEUE_TIME_SKEWED] =
        MESSAGES("sonde.messaging.queue.time.skewed", "Messages that were sent after they arrived, by the clocks."),
};

#define SCHEMA_URL "https://opentelemetry.io/schemas/1.44.0"
#define FAILED     UINT32_MAX

uint32_t sonde__convention_scope_own(void) {
    static _Atomic uint32_t made_scope; /* 0 = not yet; the same for whoever makes it */
    uint32_t scope = atomic_load_explicit(&made_scope, memory_order_relaxed);
    if (__builtin_expect(!scope, 0)) {
        scope = sonde_scope_register("sonde.conventions", SONDE_VERSION, SCHEMA_URL, NULL, 0);
        if (!scope)
            scope = FAILED;
        atomic_store_explicit(&made_scope, scope, memory_order_relaxed);
    }
    return scope == FAILED ? 0 : scope;
}

static _Atomic uint32_t made[SONDE__METRIC_COUNT]; /* 0 = not yet; the same for whoever makes it */

struct sonde_instrument sonde__convention_instrument(enum sonde__convention_metric metric) {
    struct sonde_instrument instrument = {atomic_load_explicit(&made[metric], memory_order_relaxed)};
    if (__builtin_expect(!instrument.index, 0)) {
        struct sonde_instrument_options own = options[metric];
        own.scope = sonde__convention_scope_own();
        int err = sonde_instrument_create(&own, &instrument);
        atomic_store_explicit(&made[metric], err ? FAILED : instrument.index, memory_order_relaxed);
    }
    if (instrument.index == FAILED)
        instrument.index = 0;
    return instrument;
}

double sonde__operation_seconds(const uint64_t internal[2]) {
    uint64_t now, ticks, began = internal[SONDE__BEGAN_AT];
    if (!(internal[SONDE__STATE] & SONDE__STATE_BEGAN_UNIX))
        return (double)sonde__clock_duration(began, sonde__clock_ticks()) * 1e-9;
    now = sonde__clock_now(&ticks);
    return now > began ? (double)(now - began) * 1e-9 : 0;
}
