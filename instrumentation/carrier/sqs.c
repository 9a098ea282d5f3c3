/* SPDX-License-Identifier: Apache-2.0 */
/* SQS and SNS. An overflow must be refused here: the service would refuse the user's whole message. */
#include "instrumentation/carrier/first.h"
#include "instrumentation/carrier/pairs.h"
#include <sonde/carrier/json.h>
#include <sonde/carrier/sqs.h>
#include <sonde/err.h>

#define TYPE_SIZE 6u /* "String" counts, too */

/** Letters, digits, `_-.`; not at the ends, not twice in a row, and not one of Amazon's. */
static bool is_name(struct sonde_string name) {
    for (size_t i = 0; i < name.size; i++) {
        char c = name.data[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (!letter && !(c >= '0' && c <= '9') && c != '_' && c != '-' && c != '.')
            return false;
        if (c == '.' && (i == 0 || i + 1 == name.size || name.data[i - 1] == '.'))
            return false;
    }
    return name.size > 0 && !(name.size >= 4 && memcmp(name.data, "aws.", 4) == 0) &&
           !(name.size >= 7 && memcmp(name.data, "amazon.", 7) == 0);
}

static const struct sonde__pairs_rule rule = {
    .text = SONDE__PAIRS_UTF8, .name = is_name, .name_max = 256, .count_max = SONDE_SQS_ATTRIBUTES_MAX};

static bool is_trace_header(struct sonde_string name) {
    return name.size == 15 && memcmp(name.data, "x-amzn-trace-id", 15) == 0;
}

static bool sqs_get(void *self, struct sonde_string name, struct sonde_string *ret_value) {
    const struct sonde_sqs_message *message = self;
    if (!is_trace_header(name))
        return sonde__pairs_get(&message->attributes, &rule, name, ret_value);
    if (message->trace_header.data)
        *ret_value = message->trace_header;
    return message->trace_header.data != NULL;
}

static void sqs_each(void *self, struct sonde_string name, sonde_carrier_visit visit, void *user) {
    const struct sonde_sqs_message *message = self;
    if (!is_trace_header(name))
        sonde__pairs_each(&message->attributes, &rule, name, visit, user);
    else if (message->trace_header.data)
        (void)visit(user, message->trace_header);
}

static void sqs_remove(void *self, struct sonde_string name) {
    struct sonde_sqs_message *message = self;
    if (is_trace_header(name))
        message->trace_header = (struct sonde_string){NULL, 0};
    else
        sonde__pairs_remove(&message->attributes, &rule, name);
}

/** Bytes of the message without one attribute. */
static size_t size_without(const struct sonde_sqs_message *message, struct sonde_string name) {
    size_t size = message->body_size + message->other_size;
    for (size_t i = 0; i < message->attributes.count; i++) {
        const struct sonde_pair *pair = &message->attributes.pairs[i];
        if (pair->name.size == name.size && memcmp(pair->name.data, name.data, name.size) == 0)
            continue;
        size += pair->name.size + (pair->value.data ? pair->value.size + TYPE_SIZE : 0);
    }
    return size;
}

static int sqs_set(void *self, struct sonde_string name, struct sonde_string value) {
    struct sonde_sqs_message *message = self;
    if (is_trace_header(name)) {
        if (value.size > sizeof message->trace_header_text)
            return SONDE_ETOOBIG;
        memmove(message->trace_header_text, value.data, value.size);
        message->trace_header = (struct sonde_string){message->trace_header_text, value.size};
        return 0;
    }
    size_t max = message->size_max ? message->size_max : SONDE_SQS_SIZE_MAX;
    size_t size = size_without(message, name), more = name.size + value.size + TYPE_SIZE;
    if (size > max || more > max - size)
        return SONDE_ETOOBIG;
    if (value.size == 0)
        return SONDE_EINVALID; /* the service refuses an empty one */
    return sonde__pairs_set(&message->attributes, &rule, name, value);
}

static void sqs_keys(void *self, sonde_carrier_visit visit, void *user) {
    const struct sonde_sqs_message *message = self;
    sonde__pairs_keys(&message->attributes, &rule, visit, user);
}

struct sonde_carrier sonde_sqs_carrier(struct sonde_sqs_message *message) {
    static const struct sonde_carrier_ops ops = {
        .get = sqs_get, .each = sqs_each, .set = sqs_set, .remove = sqs_remove, .keys = sqs_keys};
    return (struct sonde_carrier){&ops, message};
}

enum sonde_extract_reason sonde_sqs_extract(struct sonde_sqs_message *message, const char *body, size_t size,
                                            struct sonde_context *ret_context) {
    struct sonde_carrier attributes = sonde_sqs_carrier(message);
    struct sonde__first first;
    sonde__first_init(&first, ret_context);
    if (sonde__first_ask(&first, &attributes, NULL))
        return first.reason;
    if (body) {
        struct sonde_json json;
        sonde_json_read(&json, body, size, SONDE_JSON_SNS);
        struct sonde_carrier envelope = sonde_json_carrier(&json);
        if (sonde__first_ask(&first, &envelope, NULL))
            return first.reason;
    }
    if (message->trace_header.data)
        (void)sonde__first_ask(&first, &attributes, "xray");
    return first.reason;
}
