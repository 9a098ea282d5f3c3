/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/collect/kafka_assignment.h"
#include "agent/collect/kafka_book.h"
#include <sonde/err.h>
#include <string.h>

struct reader {
    const uint8_t *at, *end;
    bool bad;
};

static uint32_t take(struct reader *reader, unsigned size) {
    uint32_t value = 0;
    if (reader->bad || (size_t)(reader->end - reader->at) < size) {
        reader->bad = true;
        return 0;
    }
    for (unsigned i = 0; i < size; i++)
        value = value << 8 | *reader->at++;
    return value;
}

static void take_name(struct reader *reader, char name[SONDE__KAFKA_TOPIC_MAX + 1]) {
    uint32_t size = take(reader, 2);
    if (reader->bad || size == 0 || size > SONDE__KAFKA_TOPIC_MAX || (size_t)(reader->end - reader->at) < size ||
        memchr(reader->at, '\0', size)) {
        reader->bad = true;
        return;
    }
    memcpy(name, reader->at, size);
    name[size] = '\0';
    reader->at += size;
}

int sonde__kafka_assignment_each(const void *data, size_t size,
                                 int (*visit)(void *user, const char *topic, int32_t partition), void *user) {
    struct reader reader = {.at = data, .end = (const uint8_t *)data + size};
    char name[SONDE__KAFKA_TOPIC_MAX + 1];
    if (size == 0)
        return 0;           /* a member that has just joined */
    (void)take(&reader, 2); /* later versions only add at the end */
    for (uint32_t topics = take(&reader, 4); topics && !reader.bad; topics--) {
        take_name(&reader, name);
        for (uint32_t partitions = take(&reader, 4); partitions && !reader.bad; partitions--) {
            uint32_t partition = take(&reader, 4);
            if (partition >= SONDE__KAFKA_PARTITION_MAX)
                reader.bad = true;
            int error = reader.bad ? 0 : visit(user, name, (int32_t)partition);
            if (error)
                return error;
        }
    }
    return reader.bad ? SONDE_EINVALID : 0;
}
