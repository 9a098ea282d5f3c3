/* SPDX-License-Identifier: Apache-2.0 */
/* Links are added in rows of bare ids: a batch may be large, and a context is. */
#include "instrumentation/conventions/queue_time.h"
#include "instrumentation/conventions/seen.h"
#include "instrumentation/trace/slot.h"
#include <sonde/conventions/messaging.h>
#include <sonde/propagation.h>

/* messaging.operation.type, by operation; the operation's name too when the user gives none. */
static const struct sonde_string types[] = {
    {"", 0}, {"create", 6}, {"send", 4}, {"receive", 7}, {"process", 7}, {"settle", 6},
};

static struct sonde_string operation_name(const struct sonde_messaging *operation) {
    return operation->operation_name.size ? operation->operation_name : types[operation->operation];
}

static bool is_valid(const struct sonde_messaging *operation) {
    return operation->size >= sizeof *operation && operation->operation >= SONDE_MESSAGING_CREATE &&
           operation->operation <= SONDE_MESSAGING_SETTLE;
}

static bool is_batch(const struct sonde_messaging *operation) {
    return operation->batch || operation->message_count > 1;
}

/* The operation that hands messages to the application: there they are counted, and their wait ends. */
static bool is_delivery(const struct sonde_messaging *operation) {
    return operation->operation == SONDE_MESSAGING_RECEIVE ||
           (operation->operation == SONDE_MESSAGING_PROCESS && !operation->pulled);
}

static const struct sonde_message *message_at(const struct sonde_messaging *operation, size_t i) {
    const struct sonde_message *message = operation->messages ? &operation->messages[i] : NULL;
    return message && (message->carrier.ops || message->context) ? message : NULL;
}

/* ---- names and attributes ---- */

static void add_port(struct sonde__name *name, uint32_t port) {
    char text[8], *at = text + sizeof text;
    for (; port; port /= 10)
        *--at = (char)('0' + port % 10);
    *--at = ':';
    sonde__name_add(name, at, (size_t)(text + sizeof text - at));
}

/* "send orders": the destination's pattern, or its name when that is one of few, or the broker. */
static void name_make(struct sonde__name *name, const struct sonde_messaging *operation) {
    struct sonde_string verb = operation_name(operation), of = operation->destination_template;
    name->size = 0;
    sonde__name_add(name, verb.data, verb.size);
    if (!of.size && !operation->destination_is_temporary && !operation->destination_is_anonymous)
        of = operation->destination;
    bool broker = !of.size;
    if (broker)
        of = operation->server_address;
    if (!of.size)
        return;
    sonde__name_add(name, " ", 1);
    sonde__name_add(name, of.data, of.size);
    if (broker && operation->server_port)
        add_port(name, operation->server_port);
}

static void set_attributes(struct sonde_messaging *operation) {
    struct sonde_span *span = &operation->span;
    sonde__set_text(span, SONDE_KEY("messaging.system"), operation->system);
    sonde__set_text(span, SONDE_KEY("messaging.operation.name"), operation_name(operation));
    sonde__set_text(span, SONDE_KEY("messaging.operation.type"), types[operation->operation]);
    sonde__set_text(span, SONDE_KEY("messaging.destination.name"), operation->destination);
    sonde__set_text(span, SONDE_KEY("messaging.destination.template"), operation->destination_template);
    if (operation->destination_is_temporary)
        sonde_span_set_bool(span, SONDE_KEY("messaging.destination.temporary"), true);
    if (operation->destination_is_anonymous)
        sonde_span_set_bool(span, SONDE_KEY("messaging.destination.anonymous"), true);
    sonde__set_text(span, SONDE_KEY("messaging.destination.partition.id"), operation->partition);
    sonde__set_text(span, SONDE_KEY("messaging.destination.subscription.name"), operation->subscription);
    sonde__set_text(span, SONDE_KEY("messaging.consumer.group.name"), operation->consumer_group);
    sonde__set_text(span, SONDE_KEY("messaging.client.id"), operation->client_id);
    sonde__set_text(span, SONDE_KEY("messaging.message.conversation_id"), operation->conversation_id);
    sonde__set_text(span, SONDE_KEY("server.address"), operation->server_address);
    sonde__set_number(span, SONDE_KEY("server.port"), operation->server_port);
    if (is_batch(operation))
        sonde_span_set_int64(span, SONDE_KEY("messaging.batch.message_count"), (int64_t)operation->message_count);
}

/* The id of a single message; brokers may give it only when the message is sent. */
static void set_id(struct sonde_messaging *operation) {
    if (is_batch(operation) || !operation->message_count || !operation->messages || !operation->messages[0].id.size ||
        (operation->internal[SONDE__STATE] & SONDE__STATE_NAMED))
        return;
    operation->internal[SONDE__STATE] |= SONDE__STATE_NAMED;
    sonde__set_text(&operation->span, SONDE_KEY("messaging.message.id"), operation->messages[0].id);
}

/* What names the destination in metrics: none for one that lives only for a while. */
static void set_add_destination(struct sonde__set *set, const struct sonde_messaging *operation) {
    if (!operation->destination_is_temporary && !operation->destination_is_anonymous &&
        !operation->destination_template.size)
        sonde__set_add(set, SONDE_KEY("messaging.destination.name"), operation->destination);
    sonde__set_add(set, SONDE_KEY("messaging.destination.subscription.name"), operation->subscription);
    sonde__set_add(set, SONDE_KEY("messaging.destination.template"), operation->destination_template);
}

/* ---- links and parents ---- */

static void link_message(struct sonde_messaging *operation, const struct sonde_message *message,
                         const struct sonde_context *context) {
    struct sonde_link link = sonde_link_to(context);
    struct sonde_attribute id;
    if (message->id.size && is_batch(operation)) {
        id = sonde_attribute_string_n(SONDE_KEY("messaging.message.id"), message->id.data, message->id.size);
        link.attributes = &id;
        link.attribute_count = 1;
    }
    sonde_span_add_link(&operation->span, &link);
}

/* Links and send times of messages in a row, as long as the links are but ids: the span is taken once for them all, and
 * times are measured when it is let go. */
#define ROW 32u
struct row {
    size_t link_count, time_count;
    struct sonde_span_context links[ROW];
    uint64_t sent_us[ROW];
};

static void row_flush(struct row *row, struct sonde_messaging *operation, struct sonde__queue_time *queue,
                      const struct sonde__set *set) {
    sonde__span_add_links(&operation->span, row->links, row->link_count);
    for (size_t i = 0; i < row->time_count; i++)
        sonde__queue_time_measure(queue, row->sent_us[i], set);
    row->link_count = row->time_count = 0;
}

/* Without baggage. */
static void copy_for_link(struct sonde_context *ret_context, const struct sonde_context *from) {
    uint32_t length = from->tracestate_length;
    ret_context->span = from->span;
    ret_context->baggage_length = 0;
    ret_context->tracestate_length = length <= SONDE_TRACESTATE_SIZE_MAX ? length : 0;
    memcpy(ret_context->tracestate, from->tracestate, ret_context->tracestate_length);
}

/* Links one message. Returns when it was sent, or 0.
 *  scratch  for what has to be extracted or changed. */
static uint64_t consume_one(struct sonde_messaging *operation, const struct sonde_message *message, struct row *row,
                            struct sonde_context *scratch) {
    const struct sonde_context *context = message->context;
    uint64_t sent_us;
    if (!context) {
        (void)sonde_extract(&message->carrier, scratch);
        context = scratch;
    }
    bool plain = sonde__queue_time_is_all(context, &sent_us) && !(message->id.size && is_batch(operation));
    if (plain) {
        row->links[row->link_count] = context->span;
        row->link_count += sonde_span_context_is_valid(&context->span);
        return sent_us;
    }
    if (context != scratch)
        copy_for_link(scratch, context);
    sent_us = sonde__queue_time_take(scratch);
    sonde__span_add_links(&operation->span, row->links, row->link_count); /* in their order */
    row->link_count = 0;
    if (sonde_span_context_is_valid(&scratch->span))
        link_message(operation, message, scratch);
    return sent_us;
}

/* Every message of a consumer: its link, unless it is the parent, and its time in the queue.
 *  scratch  nothing is extracted when `parent` is true. */
static void consume(struct sonde_messaging *operation, struct sonde_context *scratch, bool parent,
                    uint64_t parent_sent_us) {
    struct sonde__queue_time queue = {.now_us = 0};
    struct sonde__set set;
    struct row row;
    bool delivery = is_delivery(operation);
    sonde__set_init(&set);
    sonde__set_add(&set, SONDE_KEY("messaging.consumer.group.name"), operation->consumer_group);
    set_add_destination(&set, operation);
    sonde__set_add(&set, SONDE_KEY("messaging.system"), operation->system);
    row.link_count = row.time_count = 0;
    for (size_t i = 0; i < operation->message_count; i++) {
        const struct sonde_message *message = message_at(operation, i);
        if (!message)
            continue;
        uint64_t sent_us = parent ? parent_sent_us : consume_one(operation, message, &row, scratch);
        if (sent_us && delivery)
            row.sent_us[row.time_count++] = sent_us;
        if (row.link_count == ROW || row.time_count == ROW)
            row_flush(&row, operation, &queue, &set);
    }
    row_flush(&row, operation, &queue, &set);
    sonde__queue_time_finish(&queue, &set);
}

/* ---- producers ---- */

/* The kind is PRODUCER when the span's own context will be that of a message. */
static bool any_without_context(const struct sonde_messaging *operation, struct sonde_context *scratch) {
    bool all = false;
    for (size_t i = 0; i < operation->message_count; i++) {
        const struct sonde_message *message = message_at(operation, i);
        if (!message || !message->carrier.ops)
            continue;
        (void)sonde_extract(&message->carrier, scratch);
        all = sonde_span_context_is_valid(&scratch->span);
        if (!all)
            break;
    }
    return !all;
}

/* Gives a context to each message that has none; links those that have. The send time of a CREATE becomes that of the
 * SEND. */
static void produce(struct sonde_messaging *operation, struct sonde_context *scratch) {
    struct sonde_context own;
    bool stamp = !operation->no_send_time && sonde__queue_time_is_wanted();
    sonde_span_context_get(&operation->span, &own);
    if (stamp && sonde_span_context_is_valid(&own.span))
        sonde__queue_time_put(&own);
    else
        (void)sonde__queue_time_take(&own); /* of a message that is being processed */
    for (size_t i = 0; i < operation->message_count; i++) {
        const struct sonde_message *message = message_at(operation, i);
        if (!message || !message->carrier.ops)
            continue;
        (void)sonde_extract(&message->carrier, scratch);
        if (!sonde_span_context_is_valid(&scratch->span)) {
            (void)sonde_inject(&own, &message->carrier); /* no room: the message goes out all the same */
        } else if (operation->operation == SONDE_MESSAGING_SEND) {
            if (sonde__queue_time_take(scratch)) {
                struct sonde_context stamped;
                sonde_context_copy(&stamped, scratch);
                if (stamp)
                    sonde__queue_time_put(&stamped);
                (void)sonde_inject(&stamped, &message->carrier);
            }
            link_message(operation, message, scratch);
        }
    }
}

/* ---- start ---- */

static enum sonde_span_kind kind_of(const struct sonde_messaging *operation, struct sonde_context *scratch) {
    switch (operation->operation) {
    case SONDE_MESSAGING_CREATE:
        return SONDE_SPAN_KIND_PRODUCER;
    case SONDE_MESSAGING_SEND:
        return any_without_context(operation, scratch) ? SONDE_SPAN_KIND_PRODUCER : SONDE_SPAN_KIND_CLIENT;
    case SONDE_MESSAGING_PROCESS:
        return SONDE_SPAN_KIND_CONSUMER;
    default:
        return SONDE_SPAN_KIND_CLIENT;
    }
}

/* Extracts the context of the only message, to be the parent; false when it is not wanted or there is none. */
static bool take_parent(const struct sonde_messaging *operation, struct sonde_context *ret_parent,
                        uint64_t *ret_sent_us) {
    const struct sonde_message *message;
    if (operation->operation != SONDE_MESSAGING_PROCESS || !operation->parent_from_message ||
        operation->message_count != 1 || !(message = message_at(operation, 0)))
        return false;
    if (message->context)
        sonde_context_copy(ret_parent, message->context);
    else
        (void)sonde_extract(&message->carrier, ret_parent);
    *ret_sent_us = sonde__queue_time_take(ret_parent);
    return sonde_span_context_is_valid(&ret_parent->span);
}

static void begin(struct sonde_messaging *operation, struct sonde_span_options *options,
                  const struct sonde_context *ambient) {
    struct sonde__name name;
    name_make(&name, operation);
    sonde_span_start(&operation->span, sonde__name_key(&name), options);
    if (!operation->span.slot)
        return;
    set_attributes(operation);
    set_id(operation);
    if (ambient && sonde_span_context_is_valid(&ambient->span)) {
        struct sonde_link link = sonde_link_to(ambient);
        sonde_span_add_link(&operation->span, &link);
    }
}

void sonde_messaging_start(struct sonde_messaging *operation) {
    struct sonde_span_options options = SONDE_SPAN_OPTIONS_INIT;
    struct sonde_context scratch, ambient;
    uint64_t sent_us = 0;
    if (!is_valid(operation))
        return;
    sonde__operation_begin(operation->internal, operation->start_unix_ns);
    options.kind = kind_of(operation, &scratch);
    options.parent = operation->parent;
    options.start_unix_ns = operation->start_unix_ns;
    options.scope = sonde__convention_scope(operation->scope);
    options.not_current = operation->not_current;
    bool parent = take_parent(operation, &scratch, &sent_us);
    if (parent) {
        sonde_context_current(&ambient);
        options.parent = &scratch;
    }
    begin(operation, &options, parent ? &ambient : NULL);
    if (operation->operation <= SONDE_MESSAGING_SEND)
        produce(operation, &scratch);
    else if (operation->operation != SONDE_MESSAGING_SETTLE)
        consume(operation, &scratch, parent, sent_us);
}

/* ---- end ---- */

static void measure(const struct sonde_messaging *operation, double seconds) {
    struct sonde__set set;
    sonde__set_init(&set);
    sonde__set_add(&set, SONDE_KEY("error.type"), sonde__text_of(operation->error_type));
    sonde__set_add(&set, SONDE_KEY("messaging.consumer.group.name"), operation->consumer_group);
    set_add_destination(&set, operation);
    sonde__set_add(&set, SONDE_KEY("messaging.operation.name"), operation_name(operation));
    size_t common = set.count;
    sonde__set_add(&set, SONDE_KEY("messaging.system"), operation->system);
    bool sent = operation->operation == SONDE_MESSAGING_SEND;
    if (operation->message_count && (sent || is_delivery(operation)))
        sonde_counter_add(
            sonde__series_of(sent ? SONDE__METRIC_MESSAGING_SENT : SONDE__METRIC_MESSAGING_CONSUMED, &set),
            operation->message_count);
    if (operation->operation == SONDE_MESSAGING_PROCESS)
        sonde_histogram_record(sonde__series_of(SONDE__METRIC_MESSAGING_PROCESS, &set), seconds);
    if (operation->operation == SONDE_MESSAGING_PROCESS || operation->operation == SONDE_MESSAGING_CREATE)
        return;
    set.count = common;
    sonde__set_add(&set, SONDE_KEY("messaging.operation.type"), types[operation->operation]);
    sonde__set_add(&set, SONDE_KEY("messaging.system"), operation->system);
    sonde_histogram_record(sonde__series_of(SONDE__METRIC_MESSAGING_OPERATION, &set), seconds);
}

void sonde_messaging_end(struct sonde_messaging *operation) {
    if (!sonde__operation_finish(operation->internal))
        return;
    double seconds = sonde__operation_seconds(operation->internal);
    set_id(operation);
    if (operation->error_type && *operation->error_type)
        sonde__set_error(&operation->span, sonde__text_of(operation->error_type));
    measure(operation, seconds); /* before the end, so that an exemplar is of this span */
    sonde_span_end(&operation->span);
}
