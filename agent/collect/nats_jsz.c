/* SPDX-License-Identifier: Apache-2.0 */
/* Source: nats-io/nats-server server/monitor.go, server/consumer.go, server/stream.go. */
#include "agent/collect/nats_jsz.h"
#include <jansson.h>
#include <sonde/err.h>
#include <stdio.h>
#include <string.h>

#define NS_PER_S   UINT64_C(1000000000)
/* A limit that is not set is UINT64_MAX, above what jansson takes as an integer: it would refuse the whole answer. */
#define LOAD_FLAGS JSON_DECODE_INT_AS_REAL
#define NUMBER_MAX 9007199254740992.0 /* 2^53: above it a double is not exact */

/* --- values --- */

static struct sonde_string text_of(const json_t *object, const char *key) {
    const json_t *value = json_object_get(object, key);
    if (!json_is_string(value))
        return (struct sonde_string){NULL, 0};
    size_t size = json_string_length(value);
    return (struct sonde_string){json_string_value(value),
                                 size < SONDE__NATS_NAME_SIZE_MAX ? size : SONDE__NATS_NAME_SIZE_MAX - 1};
}

static uint64_t number_of(const json_t *object, const char *key) {
    const json_t *value = json_object_get(object, key);
    double number = json_is_real(value) ? json_real_value(value) : -1;
    return number >= 0 && number <= NUMBER_MAX ? (uint64_t)number : SONDE__NATS_UNKNOWN;
}

static uint64_t time_of(const json_t *object, const char *key) {
    const char *text = json_string_value(json_object_get(object, key));
    return text ? sonde__nats_time_read(text) : 0;
}

/** A number of so many digits; moves on. -1 = there are fewer. */
static int digits(const char **text, int count) {
    int value = 0;
    for (; count > 0; count--, (*text)++) {
        if (**text < '0' || **text > '9')
            return -1;
        value = value * 10 + (**text - '0');
    }
    return value;
}

/** Days since 1970 of a day of the Gregorian calendar. */
static int64_t days_of(int year, int month, int day) {
    int64_t y = month <= 2 ? year - 1 : year, era = y / 400, of_era = y - era * 400;
    int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

static int64_t fraction_of(const char **text) {
    int64_t ns = 0, unit = NS_PER_S / 10;
    if (**text != '.')
        return 0;
    for ((*text)++; **text >= '0' && **text <= '9'; (*text)++, unit /= 10)
        ns += (**text - '0') * unit;
    return ns;
}

/** Seconds east of Greenwich; false = no offset and no Z. */
static bool offset_of(const char **text, int64_t *ret_seconds) {
    char sign = *(*text)++;
    *ret_seconds = 0;
    if (sign == 'Z')
        return true;
    if (sign != '+' && sign != '-')
        return false;
    int hours = digits(text, 2);
    if (hours < 0 || *(*text)++ != ':')
        return false;
    int minutes = digits(text, 2);
    *ret_seconds = (sign == '-' ? -1 : 1) * (hours * 3600 + minutes * 60);
    return minutes >= 0;
}

uint64_t sonde__nats_time_read(const char *text) {
    static const char separators[] = "--T::";
    int parts[6] = {0};
    int64_t offset;
    for (int i = 0; i < 6; i++) {
        parts[i] = digits(&text, i == 0 ? 4 : 2);
        if (parts[i] < 0 || (i < 5 && *text++ != separators[i]))
            return 0;
    }
    int64_t ns = fraction_of(&text);
    if (!offset_of(&text, &offset) || *text || parts[1] < 1 || parts[1] > 12 || parts[0] < 1970 || parts[0] > 2500)
        return 0;
    int64_t seconds = days_of(parts[0], parts[1], parts[2]) * 86400 + parts[3] * 3600 + parts[4] * 60 + parts[5];
    return seconds > offset ? (uint64_t)(seconds - offset) * NS_PER_S + (uint64_t)ns : 0;
}

/* --- /varz --- */

static void copy(char *to, struct sonde_string text) {
    (void)snprintf(to, SONDE__NATS_NAME_SIZE_MAX, "%.*s", (int)text.size, text.data ? text.data : "");
}

int sonde__nats_varz_read(const uint8_t *body, size_t size, struct sonde__nats_identity *ret_identity) {
    json_t *root = json_loadb((const char *)body, size, LOAD_FLAGS, NULL);
    struct sonde_string name = text_of(root, "server_name");
    if (!name.data)
        name = text_of(root, "server_id"); /* which is its name when it was given none */
    if (name.data) {
        copy(ret_identity->server_name, name);
        copy(ret_identity->cluster_name, text_of(json_object_get(root, "cluster"), "name"));
    }
    json_decref(root);
    return name.data ? 0 : SONDE_EMALFORMED;
}

/* --- /jsz --- */

/** The leader that a replicated stream or consumer has; "" while there is none. */
static struct sonde_string leader_of(const json_t *object) {
    const json_t *cluster = json_object_get(object, "cluster");
    if (!json_is_object(cluster))
        return (struct sonde_string){NULL, 0};
    struct sonde_string leader = text_of(cluster, "leader");
    return leader.data ? leader : (struct sonde_string){"", 0};
}

static void consumer_visit(const json_t *object, const struct sonde__nats_stream *stream,
                           const struct sonde__nats_visitor *visitor) {
    const json_t *delivered = json_object_get(object, "delivered"), *floor = json_object_get(object, "ack_floor");
    const json_t *config = json_object_get(object, "config");
    const struct sonde__nats_consumer consumer = {
        .name = text_of(object, "name"),
        .leader = leader_of(object),
        .pending = number_of(object, "num_pending"),
        .ack_pending = number_of(object, "num_ack_pending"),
        .redelivered = number_of(object, "num_redelivered"),
        .waiting = number_of(object, "num_waiting"),
        .delivered = number_of(delivered, "consumer_seq"),
        .delivered_seq = number_of(delivered, "stream_seq"),
        .acked_seq = number_of(floor, "stream_seq"),
        .created_unix_ns = time_of(object, "created"),
        .delivered_unix_ns = time_of(delivered, "last_active"),
        .acked_unix_ns = time_of(floor, "last_active"),
        .config_known = json_is_object(config),
        .filtered =
            text_of(config, "filter_subject").size || json_array_size(json_object_get(config, "filter_subjects")),
        .push = text_of(config, "deliver_subject").size,
        .push_bound = json_is_true(json_object_get(object, "push_bound")),
        .paused = json_is_true(json_object_get(object, "paused")),
    };
    if (consumer.name.size)
        visitor->consumer(visitor->user, stream, &consumer);
}

static void stream_visit(const json_t *object, struct sonde_string account, const struct sonde__nats_visitor *visitor) {
    const json_t *state = json_object_get(object, "state");
    const struct sonde__nats_stream stream = {
        .account = account,
        .name = text_of(object, "name"),
        .leader = leader_of(object),
        .messages = number_of(state, "messages"),
        .bytes = number_of(state, "bytes"),
        .first_seq = number_of(state, "first_seq"),
        .last_seq = number_of(state, "last_seq"),
        .first_unix_ns = time_of(state, "first_ts"),
        .last_unix_ns = time_of(state, "last_ts"),
    };
    const json_t *consumers = json_object_get(object, "consumer_detail"), *consumer;
    size_t i;
    if (!stream.name.size || !visitor->stream(visitor->user, &stream))
        return;
    json_array_foreach(consumers, i, consumer) consumer_visit(consumer, &stream, visitor);
}

int sonde__nats_jsz_read(const uint8_t *body, size_t size, const struct sonde__nats_visitor *visitor,
                         struct sonde__nats_page *ret_page) {
    json_t *root = json_loadb((const char *)body, size, LOAD_FLAGS, NULL);
    const json_t *accounts = json_object_get(root, "account_details"), *account, *stream;
    size_t i, k;
    *ret_page = (struct sonde__nats_page){.disabled = json_is_true(json_object_get(root, "disabled")),
                                          .accounts = json_array_size(accounts),
                                          .unix_ns = time_of(root, "now")};
    bool good = json_is_object(root) && json_is_string(json_object_get(root, "server_id")) &&
                (!accounts || json_is_array(accounts));
    json_array_foreach(good ? accounts : NULL, i, account) {
        struct sonde_string name = text_of(account, "name");
        json_array_foreach(json_object_get(account, "stream_detail"), k, stream) stream_visit(stream, name, visitor);
    }
    json_decref(root);
    return good ? 0 : SONDE_EMALFORMED;
}
