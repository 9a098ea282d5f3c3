/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/collect/rabbitmq_reply.h"
#include <jansson.h>
#include <sonde/err.h>
#include <stdio.h>
#include <string.h>

#define PAGES_MAX   100000
#define SAMPLES_MAX 2000000u
#define EXACT_MAX   9007199254740992 /* 2^53: what a double counts exactly */

/* --- JSON --- */

static json_t *load(const void *body, size_t size) {
    return size ? json_loadb(body, size, 0, NULL) : NULL;
}

/** A count, or unknown: absent, null, "" (what 3.x writes where it has nothing), negative, absurd. */
static int64_t count_of(const json_t *object, const char *key) {
    const json_t *value = json_object_get(object, key);
    if (json_is_integer(value)) {
        json_int_t count = json_integer_value(value);
        return count >= 0 && count <= EXACT_MAX ? (int64_t)count : SONDE__RABBITMQ_UNKNOWN;
    }
    double real = json_is_real(value) ? json_real_value(value) : -1;
    return real >= 0 && real <= (double)EXACT_MAX ? (int64_t)real : SONDE__RABBITMQ_UNKNOWN;
}
static const char *text_of(const json_t *object, const char *key) {
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}
static void copy(char *ret_text, const char *text) {
    (void)snprintf(ret_text, SONDE__RABBITMQ_NAME_SIZE_MAX, "%s", text);
}

/* --- queues --- */

static void type_take(struct sonde__rabbitmq_queue *row, const char *type) {
    if (strcmp(type, "classic") == 0)
        row->type = SONDE__RABBITMQ_CLASSIC;
    else if (strcmp(type, "quorum") == 0)
        row->type = SONDE__RABBITMQ_QUORUM;
    else if (strcmp(type, "stream") == 0)
        row->type = SONDE__RABBITMQ_STREAM;
}

static void details_take(struct sonde__rabbitmq_queue *row, const json_t *queue) {
    const json_t *stats = json_object_get(queue, "message_stats");
    row->details = (struct sonde__rabbitmq_details){.messages = count_of(queue, "messages"),
                                                    .consumers = count_of(queue, "consumers"),
                                                    .bytes = count_of(queue, "message_bytes"),
                                                    .head_unix_s = count_of(queue, "head_message_timestamp"),
                                                    .published = count_of(stats, "publish"),
                                                    .delivered = count_of(stats, "deliver_get"),
                                                    .acked = count_of(stats, "ack"),
                                                    .redelivered = count_of(stats, "redeliver")};
}

static bool is_sick(const char *state) {
    static const char *const sick[] = {"crashed", "down", "stopped", "minority", NULL};
    for (size_t i = 0; sick[i]; i++)
        if (strcmp(state, sick[i]) == 0)
            return true;
    return false;
}

static void queue_take(const json_t *queue, bool details, struct sonde__rabbitmq_queues *queues, char *ret_sick) {
    const char *name = text_of(queue, "name");
    struct sonde__rabbitmq_queue *row = *name ? sonde__rabbitmq_queue_at(queues, text_of(queue, "vhost"), name) : NULL;
    if (!row)
        return;
    type_take(row, text_of(queue, "type"));
    if (details) {
        details_take(row, queue);
        return;
    }
    sonde__rabbitmq_queue_seen(queues, row);
    row->ready = count_of(queue, "messages_ready");
    row->unacked = count_of(queue, "messages_unacknowledged");
    if (!*ret_sick && is_sick(text_of(queue, "state")))
        copy(ret_sick, name);
}

int sonde__rabbitmq_read_queues(const void *body, size_t size, bool details, struct sonde__rabbitmq_queues *queues,
                                uint32_t *ret_pages, char *ret_sick) {
    json_t *root = load(body, size);
    const json_t *items = json_is_object(root) ? json_object_get(root, "items") : NULL;
    int64_t pages = items ? count_of(root, "page_count") : SONDE__RABBITMQ_UNKNOWN;
    int error = json_is_array(items) && pages >= 0 && pages <= PAGES_MAX ? 0 : SONDE_EMALFORMED;
    ret_sick[0] = '\0';
    if (!error) {
        size_t count = json_array_size(items);
        for (size_t i = 0; i < count; i++)
            queue_take(json_array_get(items, i), details, queues, ret_sick);
        *ret_pages = (uint32_t)pages;
    }
    json_decref(root);
    return error;
}

/* --- the cluster --- */

int sonde__rabbitmq_read_overview(const void *body, size_t size, struct sonde__rabbitmq_overview *ret_overview) {
    json_t *root = load(body, size);
    int error = json_is_object(root) ? 0 : SONDE_EMALFORMED;
    if (!error) {
        copy(ret_overview->cluster, text_of(root, "cluster_name"));
        ret_overview->unroutable = count_of(json_object_get(root, "message_stats"), "drop_unroutable");
    }
    json_decref(root);
    return error;
}

int sonde__rabbitmq_read_nodes(const void *body, size_t size,
                               void (*trouble)(void *user, const char *error_type, const char *text), void *user) {
    json_t *root = load(body, size);
    int error = json_is_array(root) ? 0 : SONDE_EMALFORMED;
    for (size_t i = 0; !error && i < json_array_size(root); i++) {
        const json_t *node = json_array_get(root, i);
        const char *name = text_of(node, "name");
        if (json_is_false(json_object_get(node, "running")))
            trouble(user, "node_down", name);
        if (json_is_true(json_object_get(node, "mem_alarm")))
            trouble(user, "memory_alarm", name);
        if (json_is_true(json_object_get(node, "disk_free_alarm")))
            trouble(user, "disk_alarm", name);
        if (json_array_size(json_object_get(node, "partitions")) > 0)
            trouble(user, "partition", name);
    }
    json_decref(root);
    return error;
}

/* --- streams --- */

static bool fits(const char *text) {
    return strlen(text) < SONDE__RABBITMQ_NAME_SIZE_MAX;
}

static void consumer_take(const json_t *consumer, struct sonde__rabbitmq_queues *queues) {
    const json_t *queue = json_object_get(consumer, "queue");
    const char *vhost = text_of(queue, "vhost"), *stream = text_of(queue, "name");
    const char *name = text_of(json_object_get(consumer, "properties"), "name");
    /* One that waits until the active one of its name ends reads nothing. */
    if (!fits(vhost) || !fits(stream) || !fits(name) || json_is_false(json_object_get(consumer, "active")))
        return;
    struct sonde__rabbitmq_reader reader = {.lag = count_of(consumer, "offset_lag"),
                                            .offset = count_of(consumer, "offset")};
    copy(reader.vhost, vhost);
    copy(reader.stream, stream);
    copy(reader.name, name);
    sonde__rabbitmq_reader_add(queues, &reader);
}

int sonde__rabbitmq_read_consumers(const void *body, size_t size, struct sonde__rabbitmq_queues *queues) {
    json_t *root = load(body, size);
    int error = json_is_array(root) ? 0 : SONDE_EMALFORMED;
    for (size_t i = 0; !error && i < json_array_size(root); i++)
        consumer_take(json_array_get(root, i), queues);
    json_decref(root);
    return error;
}

int sonde__rabbitmq_read_tracking(const void *body, size_t size, const char *vhost, const char *stream,
                                  struct sonde__rabbitmq_queues *queues) {
    json_t *root = load(body, size), *offsets = json_object_get(root, "offsets");
    int error = json_is_object(offsets) ? 0 : SONDE_EMALFORMED;
    const char *name;
    json_t *value;
    json_object_foreach(offsets, name, value) {
        struct sonde__rabbitmq_reader reader = {
            .stored = true, .lag = SONDE__RABBITMQ_UNKNOWN, .offset = count_of(offsets, name)};
        if (!*name || !fits(name) || !fits(vhost) || !fits(stream) || reader.offset < 0)
            continue;
        copy(reader.vhost, vhost);
        copy(reader.stream, stream);
        copy(reader.name, name);
        sonde__rabbitmq_reader_add(queues, &reader);
    }
    json_decref(root);
    return error;
}

/* --- the Prometheus endpoint --- */

struct taking {
    struct sonde__rabbitmq_queues *queues;
    char *cluster;
};

static const char *label_of(const struct sonde__exposition_sample *sample, const char *name) {
    for (size_t i = 0; i < sample->label_count; i++)
        if (strcmp(sample->labels[i].name, name) == 0)
            return strlen(sample->labels[i].value) == sample->labels[i].value_size ? sample->labels[i].value : NULL;
    return NULL;
}

static int64_t count_of_double(double value) {
    return value >= 0 && value <= (double)EXACT_MAX ? (int64_t)value : SONDE__RABBITMQ_UNKNOWN;
}

/* Where metrics of queues belong. */
static const struct place {
    const char *metric;
    size_t offset;
} places[] = {
#define PLACE(metric, field)                                                                                           \
    { metric, offsetof(struct sonde__rabbitmq_queue, field) }
    PLACE("messages_ready", ready),
    PLACE("messages_unacked", unacked),
    PLACE("messages", details.messages),
    PLACE("consumers", details.consumers),
    PLACE("messages_bytes", details.bytes),
    PLACE("head_message_timestamp", details.head_unix_s), /* only classic queues have it */
};

static const struct place *place_of(const char *metric) {
    for (size_t i = 0; i < sizeof places / sizeof *places; i++)
        if (strcmp(places[i].metric, metric) == 0)
            return &places[i];
    return NULL;
}

static int sample_take(void *user, const struct sonde__exposition_sample *sample) {
    struct taking *taking = user;
    const char *name = sample->name;
    if (strcmp(name, "rabbitmq_identity_info") == 0) {
        const char *cluster = label_of(sample, "rabbitmq_cluster");
        if (cluster)
            copy(taking->cluster, cluster);
        return 0;
    }
    if (strncmp(name, "rabbitmq_", 9) != 0)
        return 0;
    name += 9;
    if (strncmp(name, "detailed_", 9) == 0)
        name += 9;
    if (strncmp(name, "queue_", 6) != 0 || sample->label_count != 2) /* those of channels have more labels */
        return 0;
    const char *vhost = label_of(sample, "vhost"), *queue = label_of(sample, "queue");
    const struct place *place = vhost && queue ? place_of(name + 6) : NULL;
    struct sonde__rabbitmq_queue *row = place ? sonde__rabbitmq_queue_at(taking->queues, vhost, queue) : NULL;
    if (!row)
        return 0;
    if (place->offset < offsetof(struct sonde__rabbitmq_queue, details))
        sonde__rabbitmq_queue_seen(taking->queues, row);
    if (place->offset == offsetof(struct sonde__rabbitmq_queue, details.head_unix_s) &&
        row->type == SONDE__RABBITMQ_TYPE_UNKNOWN)
        row->type = SONDE__RABBITMQ_CLASSIC;
    *(int64_t *)(void *)((char *)row + place->offset) = count_of_double(sample->value);
    return 0;
}

int sonde__rabbitmq_read_exposition(const void *body, size_t size, struct sonde__exposition *reader,
                                    struct sonde__rabbitmq_queues *queues, char *ret_cluster) {
    struct taking taking = {queues, ret_cluster};
    memset(reader, 0, offsetof(struct sonde__exposition, labels));
    reader->samples_max = SAMPLES_MAX;
    reader->sample = sample_take;
    reader->user = &taking;
    return sonde__exposition_read(reader, body, size);
}
