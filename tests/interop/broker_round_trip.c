/* SPDX-License-Identifier: Apache-2.0 */
/* Messages through a real broker, by the adapters: broker_round_trip PROTOCOL PORT. What was injected on one side must be
 * what is extracted on the other: ids, flags, decision, tracestate, baggage, in every format; exit 0 when it is, 1 when
 * not, 77 when built without the client library. */
#include "round_trip.h"
#include <stdio.h>
#include <stdlib.h>

const char sent_traceparent[] = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-03";
const char other_traceparent[] = "00-ffffffffffffffffffffffffffffffff-eeeeeeeeeeeeeeee-01";

static struct sonde_context sent, before, came;
static const char *running = "open"; /* the round, for what failed */
static const char *format;           /* of a round of formats */
static const struct sonde_context *outgoing;

void require(bool condition, const char *what) {
    if (condition)
        return;
    (void)fprintf(stderr, "failed: %s: %s%s%s\n", running, what, format ? " of format " : "", format ? format : "");
    exit(1);
}

static void make_context(void) {
    static const char state[] = "a=1,b=2";
    sonde_context_init(&sent);
    require(sonde_traceparent_read(sent_traceparent, sizeof sent_traceparent - 1, &sent.span) == SONDE_EXTRACT_OK,
            "context");
    require(sonde_tracestate_append(&sent, state, sizeof state - 1), "tracestate");
    require(sonde_baggage_set(&sent, sonde_text("k"), sonde_text("v w, \xe6\x9d\xb1"), sonde_text("p=1")) == 0,
            "baggage");
}

static void require_same(const struct sonde_context *want) {
    require(memcmp(came.span.trace_id, want->span.trace_id, 16) == 0, "trace id");
    require(memcmp(came.span.span_id, want->span.span_id, 8) == 0, "span id");
    require(came.span.flags == want->span.flags, "flags");
    require(came.span.decision == want->span.decision, "decision");
    require(came.tracestate_length == want->tracestate_length &&
                memcmp(came.tracestate, want->tracestate, want->tracestate_length) == 0,
            "tracestate");
    require(came.baggage_length == want->baggage_length &&
                memcmp(came.baggage, want->baggage, want->baggage_length) == 0,
            "baggage");
}

void inject_context(struct sonde_carrier carrier) {
    require(sonde_inject(&sent, &carrier) == 0, "inject");
}

void require_context(struct sonde_carrier carrier) {
    require(sonde_extract(&carrier, &came) == SONDE_EXTRACT_OK, "extract");
    require_same(&sent);
}

/* The application's own header is there before and after. */
static void fill_twice(struct sonde_carrier carrier) {
    require(carrier.ops->set(carrier.self, sonde_text("own"), sonde_text("mine")) == 0, "own header");
    inject_context(carrier);
    inject_context(carrier); /* as a retry does */
}

static void check_own(struct sonde_carrier carrier) {
    struct sonde_string own;
    require(carrier.ops->get(carrier.self, sonde_text("own"), &own) && own.size == 4 &&
                memcmp(own.data, "mine", 4) == 0,
            "own header");
    require_context(carrier);
}

static void fill_nothing(struct sonde_carrier carrier) {
    (void)carrier;
}

static void check_absent(struct sonde_carrier carrier) {
    require(sonde_extract(&carrier, &came) == SONDE_EXTRACT_ABSENT, "nothing was sent");
}

static const struct round common[] = {
    {"tracestate and baggage, injected twice", fill_twice, check_own},
    {"no context", fill_nothing, check_absent},
    {NULL, NULL, NULL},
};

static enum sonde_extract_reason extract_format(struct sonde_carrier carrier, struct sonde_context *ret_context) {
    struct sonde_extract_options options = SONDE_EXTRACT_OPTIONS_INIT;
    options.propagators = format;
    return sonde_extract_with(&carrier, &options, ret_context);
}

static enum sonde_extract_reason reason_before;

static void fill_format(struct sonde_carrier carrier) {
    require(sonde_inject_as(format, outgoing, &carrier) == 0, "inject");
    reason_before = extract_format(carrier, &before);
}

static void check_format(struct sonde_carrier carrier) {
    require(extract_format(carrier, &came) == reason_before, "reason");
    require_same(&before);
}

/** Sends what a format says of `context`; what comes must say the same, and the decision must be there. */
static void run_format(const struct protocol *protocol, const char *name, const struct sonde_context *context) {
    static const struct round round = {"format", fill_format, check_format};
    format = name;
    outgoing = context;
    running = round.name;
    protocol->send(&round);
    protocol->receive(&round);
    if (context->span.decision)
        require(came.span.decision == context->span.decision, "decision that was sent");
    format = NULL;
}

/* grpc-trace-bin is bytes, for gRPC's metadata only. */
static bool run_named_format(void *user, struct sonde_string name) {
    if (strcmp(name.data, "grpc-trace-bin") != 0)
        run_format((const struct protocol *)user, name.data, &sent);
    return true;
}

static void run_formats(const struct protocol *protocol) {
    static const char *const with_debug[] = {"b3", "b3multi", "jaeger"}, *const with_deny[] = {"b3", "b3multi"};
    struct sonde_context debug, deny;
    sonde_propagators_list(run_named_format, (void *)(uintptr_t)protocol);
    sonde_context_copy(&debug, &sent);
    debug.span.decision = SONDE_DECISION_DEBUG;
    for (size_t i = 0; i < sizeof with_debug / sizeof *with_debug; i++)
        run_format(protocol, with_debug[i], &debug);
    sonde_context_init(&deny);
    deny.span.decision = SONDE_DECISION_DENY;
    for (size_t i = 0; i < sizeof with_deny / sizeof *with_deny; i++)
        run_format(protocol, with_deny[i], &deny);
}

static void run_rounds(const struct protocol *protocol, const struct round *rounds) {
    for (; rounds && rounds->name; rounds++) {
        running = rounds->name;
        protocol->send(rounds);
        protocol->receive(rounds);
    }
}

static const struct protocol *const protocols[] = {
#ifdef SONDE_HAVE_RDKAFKA
    &protocol_kafka,
#endif
#ifdef SONDE_HAVE_LIBRABBITMQ
    &protocol_rabbitmq,
#endif
#ifdef SONDE_HAVE_LIBQPID_PROTON
    &protocol_amqp10,
#endif
#ifdef SONDE_HAVE_LIBMOSQUITTO
    &protocol_mqtt,
#endif
#ifdef SONDE_HAVE_LIBNATS
    &protocol_nats,
#endif
#ifdef SONDE_HAVE_HIREDIS
    &protocol_redis,
#endif
    NULL,
};

static void run(const struct protocol *protocol, int port) {
    protocol->open(port, protocol->name, true); /* its name is the queue's, too */
    run_rounds(protocol, common);
    run_formats(protocol);
    run_rounds(protocol, protocol->rounds);
    protocol->close();
}

int main(int argc, char **argv) {
    int port = argc == 3 ? (int)strtol(argv[2], NULL, 10) : 0;
    make_context();
    for (const struct protocol *const *one = protocols; argc == 3 && *one; one++)
        if (strcmp(argv[1], (*one)->name) == 0) {
            run(*one, port);
            return 0;
        }
    return 77; /* skipped: built without its client library */
}
