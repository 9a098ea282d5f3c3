/* SPDX-License-Identifier: Apache-2.0 */
/* The peer on libsonde: README.md says what it is told and what it tells. What it tells of its spans is read out of its own
 * ring, so it is what the agent would deliver. */
#include "sonde_peer.h"
#include "tests/lib/records.h"
#include <getopt.h>
#include <jansson.h>
#include <sonde/conventions/messaging.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct peer peer;
/* Names that the rounds of round_trip_*.c use; none of those is run here. */
const char sent_traceparent[] = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-03";
const char other_traceparent[] = "00-ffffffffffffffffffffffffffffffff-eeeeeeeeeeeeeeee-01";

static const char *const span_names[PEER_SPAN_COUNT] = {"root", "sent", "parent", "link"};
static struct sonde_span_context remembered[PEER_SPAN_COUNT];
static struct sonde_context given, in_carrier;
static json_t *told;

void require(bool condition, const char *what) {
    if (condition)
        return;
    (void)fprintf(stderr, "failed: %s %s: %s\n", peer.role, peer.transport, what);
    exit(1);
}

/* --- telling --- */

static json_t *hex(const void *bytes, size_t size) {
    char text[33];
    text[0] = '\0';
    for (size_t i = 0; i < size && i < 16; i++)
        (void)snprintf(text + 2 * i, 3, "%02x", ((const uint8_t *)bytes)[i]);
    return json_string(text);
}

static json_t *told_context(const struct sonde_context *context) {
    return json_pack("{s:o, s:o, s:i, s:s%}", "trace_id", hex(context->span.trace_id, 16), "span_id",
                     hex(context->span.span_id, 8), "flags", (int)context->span.flags, "tracestate",
                     context->tracestate, (size_t)context->tracestate_length);
}

static json_t *told_link(const Pb__Link *link) {
    return json_pack("{s:o, s:o, s:i, s:s}", "trace_id", hex(link->trace_id.data, link->trace_id.len), "span_id",
                     hex(link->span_id.data, link->span_id.len), "flags", (int)(link->flags & 0xff), "tracestate",
                     link->trace_state);
}

static json_t *told_span(const Pb__Span *span) {
    static const char *const kinds[] = {"", "internal", "server", "client", "producer", "consumer"};
    json_t *links = json_array();
    for (size_t i = 0; i < span->n_links; i++)
        (void)json_array_append_new(links, told_link(span->links[i]));
    require(span->kind >= 0 && span->kind <= 5, "kind");
    return json_pack("{s:s, s:s, s:o, s:o, s:o, s:i, s:s, s:o}", "name", span->name, "kind", kinds[span->kind],
                     "trace_id", hex(span->trace_id.data, span->trace_id.len), "span_id",
                     hex(span->span_id.data, span->span_id.len), "parent_span_id",
                     hex(span->parent_span_id.data, span->parent_span_id.len), "flags", (int)(span->flags & 0xff),
                     "tracestate", span->trace_state, "links", links);
}

void peer_ready(int port) {
    (void)(port ? printf("ready %d\n", port) : printf("ready\n"));
    (void)fflush(stdout);
}

void peer_remember(enum peer_span which, const struct sonde_span *span) {
    remembered[which] = span->context;
}

void peer_sent(struct sonde_carrier carrier) {
    require(sonde_extract(&carrier, &in_carrier) == SONDE_EXTRACT_OK, "a context is in the carrier");
}

static json_t *told_baggage(void) {
    struct sonde_context current;
    struct sonde_baggage_entry entry;
    char text[1024];
    uint32_t position = 0;
    json_t *entries = json_object();
    sonde_context_current(&current);
    while (sonde_baggage_next(&current, &position, &entry)) {
        size_t size = sonde_baggage_decode(entry.value, text, sizeof text);
        char key[256];
        require(size <= sizeof text && entry.key.size < sizeof key, "baggage fits");
        (void)snprintf(key, sizeof key, "%.*s", (int)entry.key.size, entry.key.data);
        (void)json_object_set_new(entries, key, json_stringn(text, size));
    }
    return entries;
}

void peer_seen(struct sonde_carrier carrier) {
    struct sonde_context seen;
    (void)sonde_extract(&carrier, &seen); /* nothing came: ids are zero */
    (void)json_object_set_new(told, "seen", told_context(&seen));
    (void)json_object_set_new(told, "baggage", told_baggage());
}

/** Reads the ring; the spans that were remembered are told under their names. */
static void tell_spans(json_t *acted, json_t *handled) {
    const struct sonde__record *record;
    while ((record = records_next())) {
        if (record->kind != SONDE__RECORD_SPAN)
            continue;
        Pb__Span *span = pb__span__unpack(NULL, record->length, (const uint8_t *)(record + 1));
        require(span && span->span_id.len == 8, "span decodes");
        for (int i = 0; i < PEER_SPAN_COUNT; i++)
            if (memcmp(remembered[i].span_id, span->span_id.data, 8) == 0)
                (void)json_object_set_new(i <= PEER_SENT ? acted : handled, span_names[i], told_span(span));
        pb__span__free_unpacked(span, NULL);
    }
}

/** A span that is not sampled is nowhere recorded: its context is all there is to tell. */
static void tell_unsampled(json_t *acted, json_t *handled) {
    for (int i = 0; i < PEER_SPAN_COUNT; i++) {
        struct sonde_context context;
        sonde_context_init(&context);
        context.span = remembered[i];
        if (sonde_span_context_is_valid(&remembered[i]) && !(remembered[i].flags & SONDE_TRACE_FLAG_SAMPLED))
            (void)json_object_set_new(i <= PEER_SENT ? acted : handled, span_names[i], told_context(&context));
    }
}

static void tell(void) {
    bool acts = !json_object_get(told, "seen");
    json_t *spans = json_object();
    tell_spans(told, spans);
    tell_unsampled(told, spans);
    if (acts) {
        json_t *sent = json_object_get(told, "sent");
        require(sent != NULL, "the span that was sent is in the ring");
        (void)json_object_update_new(sent, told_context(&in_carrier)); /* as it went out: with the send time */
        json_decref(spans);
    } else {
        require(json_object_size(spans) > 0, "a span that took it is in the ring");
        (void)json_object_set_new(told, "spans", spans);
    }
    char *line = json_dumps(told, JSON_COMPACT);
    require(line && puts(line) >= 0, "output");
    free(line);
    json_decref(told);
}

/* --- messages --- */

static struct sonde_messaging sending;
static struct sonde_message message;

static void prepare(struct sonde_messaging *operation, enum sonde_messaging_operation what,
                    struct sonde_carrier carrier) {
    sonde_messaging_init(operation, what);
    message = (struct sonde_message){.carrier = carrier};
    operation->system = sonde_text(peer.transport);
    operation->destination = sonde_text(peer.destination);
    operation->messages = &message;
    operation->message_count = 1;
}

/* A consumer asks of each message: is it a call to answer, or one of many? The one has it as the parent, the other as a
 * link. Both are done to the same message. */
void require_context(struct sonde_carrier carrier) {
    struct sonde_messaging process;
    prepare(&process, SONDE_MESSAGING_PROCESS, carrier);
    process.parent_from_message = true;
    sonde_messaging_start(&process);
    peer_remember(PEER_PARENT, &process.span);
    peer_seen(carrier);
    sonde_messaging_end(&process);
    prepare(&process, SONDE_MESSAGING_PROCESS, carrier);
    sonde_messaging_start(&process);
    peer_remember(PEER_LINK, &process.span);
    sonde_messaging_end(&process);
}

void inject_context(struct sonde_carrier carrier) {
    prepare(&sending, SONDE_MESSAGING_SEND, carrier);
    sonde_messaging_start(&sending);
    peer_remember(PEER_SENT, &sending.span);
    peer_sent(carrier);
    message.carrier = (struct sonde_carrier){NULL, NULL}; /* it goes with the message, before the operation ends */
}

static const struct round the_message = {
    "message",
    inject_context,
    require_context,
};

static const struct transport {
    const char *name;
    const struct protocol *messages;
    const struct peer_calls *calls;
} transports[] = {
#ifdef SONDE_HAVE_LIBMICROHTTPD
    {"http", NULL, &peer_http},
#endif
#ifdef SONDE_HAVE_LIBNGHTTP2
    {"grpc", NULL, &peer_grpc},
#endif
#ifdef SONDE_HAVE_RDKAFKA
    {"kafka", &protocol_kafka, NULL},
#endif
#ifdef SONDE_HAVE_LIBRABBITMQ
    {"rabbitmq", &protocol_rabbitmq, NULL},
#endif
#ifdef SONDE_HAVE_LIBQPID_PROTON
    {"amqp1", &protocol_amqp10, NULL},
#endif
#ifdef SONDE_HAVE_LIBMOSQUITTO
    {"mqtt", &protocol_mqtt, NULL},
#endif
#ifdef SONDE_HAVE_LIBNATS
    {"nats", &protocol_nats, NULL},
#endif
#ifdef SONDE_HAVE_HIREDIS
    {"redis", &protocol_redis, NULL},
#endif
    {NULL, NULL, NULL},
};

static void send_message(const struct protocol *messages) {
    messages->send(&the_message);
    sonde_messaging_end(&sending);
}

/** call and send: what is done is done under a root span, whose parent is the remote one of the options. */
static void act(const struct transport *transport) {
    struct sonde_span root;
    if (transport->messages)
        transport->messages->open(peer.port, peer.destination, false);
    struct sonde_context_token token = sonde_context_attach(&given);
    sonde_span_start(&root, SONDE_NAME("root"), NULL);
    peer_remember(PEER_ROOT, &root);
    (void)json_object_set_new(told, "baggage", told_baggage());
    if (transport->messages)
        send_message(transport->messages);
    else
        transport->calls->call();
    sonde_span_end(&root);
    sonde_context_detach(token);
    if (transport->messages)
        transport->messages->close();
}

static void await(const struct transport *transport) {
    if (!transport->messages) {
        transport->calls->serve();
        return;
    }
    transport->messages->open(peer.port, peer.destination, true);
    peer_ready(0);
    transport->messages->receive(&the_message);
    transport->messages->close();
}

/* --- the command line --- */

static void take_baggage(char *entry) {
    char *value = strchr(entry, '=');
    require(value != NULL, "--baggage KEY=VALUE");
    *value++ = '\0';
    require(sonde_baggage_set(&given, sonde_text(entry), sonde_text(value), sonde_text("")) == 0, "baggage");
}

static void take_option(int option, char *value) {
    switch (option) {
    case 'p':
        require(sonde_traceparent_read(value, strlen(value), &given.span) == SONDE_EXTRACT_OK, "--parent");
        break;
    case 's':
        require(sonde_tracestate_append(&given, value, strlen(value)), "--tracestate");
        break;
    case 'b':
        take_baggage(value);
        break;
    case 't':
        (void)alarm((unsigned)strtoul(value, NULL, 10));
        break;
    default:
        exit(1); /* getopt has said why */
    }
}

static void take_address(const char *text) {
    const char *colon = strrchr(text, ':');
    require(colon && (size_t)(colon - text) < sizeof peer.host, "HOST:PORT");
    (void)snprintf(peer.host, sizeof peer.host, "%.*s", (int)(colon - text), text);
    peer.port = (int)strtol(colon + 1, NULL, 10);
    require(strcmp(peer.host, "127.0.0.1") == 0, "127.0.0.1 only");
}

static const struct transport *take_arguments(int argc, char **argv) {
    static const struct option options[] = {{"parent", required_argument, NULL, 'p'},
                                            {"tracestate", required_argument, NULL, 's'},
                                            {"baggage", required_argument, NULL, 'b'},
                                            {"timeout", required_argument, NULL, 't'},
                                            {NULL, 0, NULL, 0}};
    const struct transport *transport = transports;
    int option;
    (void)alarm(30);
    sonde_context_init(&given);
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1)
        take_option(option, optarg);
    peer.role = "?";
    peer.transport = "?";
    require(argc == optind + 4, "usage: sonde_peer call|serve|send|receive TRANSPORT ADDRESS DESTINATION [OPTION...]");
    peer.role = argv[optind];
    peer.transport = argv[optind + 1];
    take_address(argv[optind + 2]);
    peer.destination = argv[optind + 3];
    if (strcmp(peer.transport, "amqp1") == 0 && strncmp(peer.destination, "/queue/", 7) == 0)
        peer.destination += 7; /* protocol_amqp10 puts it before again */
    while (transport->name && strcmp(transport->name, peer.transport) != 0)
        transport++;
    return transport;
}

int main(int argc, char **argv) {
    const struct transport *transport = take_arguments(argc, argv);
    if (!transport->name)
        return 77; /* built without its client library */
    bool acts = strcmp(peer.role, transport->messages ? "send" : "call") == 0;
    require(acts || strcmp(peer.role, transport->messages ? "receive" : "serve") == 0, "a role of this transport");
    told = json_object();
    if (acts)
        act(transport);
    else
        await(transport);
    tell();
    return 0;
}
