/* SPDX-License-Identifier: Apache-2.0 */
/* CloudEvents in binary mode: the message's carrier under other names, and the rule of one hop and of many. */
#include "instrumentation/carrier/percent.h"
#include "instrumentation/wire/json.h"
#include "instrumentation/wire/writer.h"
#include <sonde/carrier/cloudevents.h>
#include <sonde/err.h>

#define NAME_SIZE_MAX 32u /* the longest prefix and the longer name */

/* preferred prefix, the other one that is read, and whether values are percent-coded */
static const struct {
    struct sonde_string prefixes[2];
    bool coded;
} bindings[] = {
    [SONDE_CLOUDEVENTS_HTTP] = {{{"ce-", 3}, {NULL, 0}}, true},
    [SONDE_CLOUDEVENTS_KAFKA] = {{{"ce_", 3}, {NULL, 0}}, false},
    [SONDE_CLOUDEVENTS_AMQP] = {{{"cloudEvents_", 12}, {"cloudEvents:", 12}}, false},
    [SONDE_CLOUDEVENTS_NATS] = {{{"ce-", 3}, {NULL, 0}}, true},
};

static bool is_attribute(struct sonde_string name) {
    return (name.size == 11 && memcmp(name.data, "traceparent", 11) == 0) ||
           (name.size == 10 && memcmp(name.data, "tracestate", 10) == 0);
}

static struct sonde_string spelled(struct sonde_string prefix, struct sonde_string name, char ret_text[NAME_SIZE_MAX]) {
    memcpy(ret_text, prefix.data, prefix.size);
    memcpy(ret_text + prefix.size, name.data, name.size);
    return (struct sonde_string){ret_text, prefix.size + name.size};
}

/* Passes values on, decoded. */
struct relay {
    struct sonde_cloudevents *event;
    sonde_carrier_visit visit;
    void *user;
    bool any;
};

static bool relay_visit(void *user, struct sonde_string text) {
    struct relay *relay = user;
    struct sonde_cloudevents *event = relay->event;
    size_t size;
    relay->any = true;
    if (bindings[event->binding].coded && text.size && memchr(text.data, '%', text.size)) {
        char *to = event->decoded + event->decoded_used;
        if (!sonde__percent_decode(text, to, sizeof event->decoded - event->decoded_used, &size))
            return true;
        event->decoded_used += (uint32_t)size;
        text = (struct sonde_string){to, size};
    }
    return relay->visit(relay->user, text);
}

static void event_each(void *self, struct sonde_string name, sonde_carrier_visit visit, void *user) {
    struct sonde_cloudevents *event = self;
    const struct sonde_carrier_ops *ops = event->message.ops;
    struct relay relay = {event, visit, user, false};
    char text[NAME_SIZE_MAX];
    if (!is_attribute(name))
        return;
    for (int i = 0; i < 2 && !relay.any && bindings[event->binding].prefixes[i].data; i++) {
        struct sonde_string full = spelled(bindings[event->binding].prefixes[i], name, text), value;
        if (ops->each)
            ops->each(event->message.self, full, relay_visit, &relay);
        else if (ops->get && ops->get(event->message.self, full, &value))
            (void)relay_visit(&relay, value);
    }
}

static bool keep_first(void *user, struct sonde_string text) {
    *(struct sonde_string *)user = text;
    return false;
}

static bool event_get(void *self, struct sonde_string name, struct sonde_string *ret_value) {
    struct sonde_string value = {NULL, 0};
    event_each(self, name, keep_first, &value);
    if (!value.data)
        return false;
    *ret_value = value;
    return true;
}

/** Printable ASCII but for the three that are always coded. */
static bool is_plain(char c) {
    return c > 0x20 && c <= 0x7e && c != '"' && c != '%';
}

static bool stop(void *user, struct sonde_string text) {
    (void)text;
    *(bool *)user = true;
    return false;
}

/** The prefix that the event uses already: both in one message would be two attributes. */
static struct sonde_string prefix_in_use(const struct sonde_cloudevents *event) {
    const struct sonde_string *prefixes = bindings[event->binding].prefixes;
    struct sonde_string version = {"cloudEvents:specversion", 23}, value;
    if (!prefixes[1].data)
        return prefixes[0];
    bool other = false;
    if (event->message.ops->each)
        event->message.ops->each(event->message.self, version, stop, &other);
    else if (event->message.ops->get)
        other = event->message.ops->get(event->message.self, version, &value);
    return prefixes[other ? 1 : 0];
}

static int event_set(void *self, struct sonde_string name, struct sonde_string value) {
    struct sonde_cloudevents *event = self;
    char text[NAME_SIZE_MAX], coded[3 * SONDE_TRACESTATE_SIZE_MAX];
    if (!is_attribute(name) || value.size == 0 || !event->message.ops->set)
        return SONDE_EINVALID;
    if (bindings[event->binding].coded) {
        if (!sonde__utf8_is_valid(value.data, value.size))
            return SONDE_EINVALID;
        if (sonde__percent_encode(value, is_plain, NULL) > sizeof coded)
            return SONDE_ETOOBIG;
        value = (struct sonde_string){coded, sonde__percent_encode(value, is_plain, coded)};
    }
    struct sonde_string full = spelled(prefix_in_use(event), name, text);
    return event->message.ops->set(event->message.self, full, value);
}

static void event_remove(void *self, struct sonde_string name) {
    struct sonde_cloudevents *event = self;
    char text[NAME_SIZE_MAX];
    for (int i = 0; i < 2 && is_attribute(name) && event->message.ops->remove; i++)
        if (bindings[event->binding].prefixes[i].data)
            event->message.ops->remove(event->message.self, spelled(bindings[event->binding].prefixes[i], name, text));
}

struct sonde_carrier sonde_cloudevents_carrier(struct sonde_cloudevents *event) {
    static const struct sonde_carrier_ops ops = {
        .get = event_get, .each = event_each, .set = event_set, .remove = event_remove};
    return (struct sonde_carrier){&ops, event};
}

int sonde_cloudevents_inject(const struct sonde_context *context, const struct sonde_carrier *event) {
    struct sonde_string value, name = {"traceparent", 11};
    if (event->ops->get && event->ops->get(event->self, name, &value))
        return 0;
    return sonde_inject_as("tracecontext", context, event);
}

enum sonde_extract_reason sonde_cloudevents_extract(const struct sonde_carrier *message,
                                                    const struct sonde_carrier *event,
                                                    struct sonde_context *ret_context, struct sonde_context *ret_link) {
    struct sonde_extract_options options = SONDE_EXTRACT_OPTIONS_INIT;
    enum sonde_extract_reason reason = SONDE_EXTRACT_ABSENT, origin;
    options.propagators = "tracecontext";
    sonde_context_init(ret_context);
    sonde_context_init(ret_link);
    if (message)
        reason = sonde_extract(message, ret_context);
    if (!event)
        return reason;
    origin = sonde_extract_with(event, &options, ret_link);
    if (!sonde_span_context_is_valid(&ret_link->span))
        return reason == SONDE_EXTRACT_ABSENT ? origin : reason;
    if (!sonde_span_context_is_valid(&ret_context->span)) {
        /* The message's baggage stays: it is not part of what the event says. */
        ret_context->span = ret_link->span;
        ret_context->tracestate_length = ret_link->tracestate_length;
        memcpy(ret_context->tracestate, ret_link->tracestate, ret_link->tracestate_length);
        reason = origin;
    }
    if (memcmp(ret_link->span.trace_id, ret_context->span.trace_id, 16) == 0 &&
        memcmp(ret_link->span.span_id, ret_context->span.span_id, 8) == 0)
        sonde_context_init(ret_link);
    return reason;
}

bool sonde_cloudevents_batch_next(const char *text, size_t size, size_t *position, struct sonde_string *ret_event) {
    struct sonde_string value;
    if (*position == 0 && !sonde__json_check(text, size, &value))
        return false;
    while (size && *text != '[') { /* white space before it; anything else is not an array */
        if (*text != ' ' && *text != '\t' && *text != '\n' && *text != '\r')
            return false;
        text++;
        size--;
    }
    return sonde__json_element_next((struct sonde_string){text, size}, position, ret_event);
}
