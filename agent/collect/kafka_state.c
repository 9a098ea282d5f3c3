/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/collect/kafka_state.h"
#include <errno.h>
#include <fcntl.h>
#include <sonde/err.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#define MAGIC      "SONDEKFK"
#define VERSION    1u
#define MAGIC_SIZE 8u
#define POINT_SIZE 16u
#define WEEK_NS    (INT64_C(7) * 86400 * 1000000000)

/* --- writing --- */

struct writer {
    uint8_t *at;
};

static void put(struct writer *writer, uint64_t value, unsigned size) {
    for (unsigned i = 0; i < size; i++)
        *writer->at++ = (uint8_t)(value >> (8 * i));
}
static void put_text(struct writer *writer, const char *text) {
    size_t size = strlen(text);
    put(writer, size, 2);
    memcpy(writer->at, text, size);
    writer->at += size;
}

static size_t entry_size(const struct sonde__kafka_topic *topic, const struct sonde__kafka_history *history) {
    return 2 + strlen(topic->name) + 4 + 2 + history->count * (size_t)POINT_SIZE;
}

/** Bytes of what fits. */
static size_t measure(const struct sonde__kafka_book *book, size_t size, uint32_t *ret_entries) {
    *ret_entries = 0;
    for (size_t i = 0; i < book->topic_count; i++)
        for (uint32_t j = 0; j < book->topics[i]->partition_count; j++) {
            const struct sonde__kafka_history *history = &book->topics[i]->partitions[j].history;
            size_t more = entry_size(book->topics[i], history);
            if (history->count == 0 || size + more > SONDE__KAFKA_STATE_SIZE_MAX)
                continue;
            size += more;
            ++*ret_entries;
        }
    return size;
}

static void put_entry(struct writer *writer, const struct sonde__kafka_topic *topic, uint32_t partition,
                      int64_t to_wall_ns) {
    const struct sonde__kafka_history *history = &topic->partitions[partition].history;
    put_text(writer, topic->name);
    put(writer, partition, 4);
    put(writer, history->count, 2);
    for (unsigned i = 0; i < history->count; i++) {
        put(writer, (uint64_t)(history->points[i].time_ns + to_wall_ns), 8);
        put(writer, (uint64_t)history->points[i].offset, 8);
    }
}

int sonde__kafka_state_encode(const struct sonde__kafka_book *book, const char *cluster, int64_t now_ns,
                              int64_t wall_ns, uint8_t **ret_data, size_t *ret_size) {
    uint32_t entries, crc;
    size_t fixed = MAGIC_SIZE + 4 + 2 + strlen(cluster) + 4 + sizeof crc;
    size_t size = measure(book, fixed, &entries), used = fixed;
    uint8_t *data = sonde_alloc_new(book->alloc, size);
    if (!data)
        return -ENOMEM;
    struct writer writer = {.at = data};
    memcpy(data, MAGIC, MAGIC_SIZE);
    writer.at += MAGIC_SIZE;
    put(&writer, VERSION, 4);
    put_text(&writer, cluster);
    put(&writer, entries, 4);
    for (size_t i = 0; i < book->topic_count; i++)
        for (uint32_t j = 0; j < book->topics[i]->partition_count; j++) {
            size_t more = entry_size(book->topics[i], &book->topics[i]->partitions[j].history);
            if (book->topics[i]->partitions[j].history.count == 0 || used + more > SONDE__KAFKA_STATE_SIZE_MAX)
                continue;
            used += more;
            put_entry(&writer, book->topics[i], j, wall_ns - now_ns);
        }
    put(&writer, crc32(0, data, (uInt)(size - sizeof crc)), sizeof crc);
    *ret_data = data;
    *ret_size = size;
    return 0;
}

/* --- reading --- */

struct reader {
    const uint8_t *at, *end;
    bool bad;
};

static uint64_t get(struct reader *reader, unsigned size) {
    uint64_t value = 0;
    if (reader->bad || (size_t)(reader->end - reader->at) < size) {
        reader->bad = true;
        return 0;
    }
    for (unsigned i = 0; i < size; i++)
        value |= (uint64_t)*reader->at++ << (8 * i);
    return value;
}

static void get_text(struct reader *reader, char *text, size_t text_size) {
    size_t size = get(reader, 2);
    text[0] = '\0';
    if (reader->bad || size >= text_size || (size_t)(reader->end - reader->at) < size ||
        memchr(reader->at, '\0', size)) {
        reader->bad = true;
        return;
    }
    memcpy(text, reader->at, size);
    text[size] = '\0';
    reader->at += size;
}

struct loading {
    struct sonde__kafka_book *book;
    int64_t wall_ns, to_monotonic_ns;
    unsigned points_max;
};

/** book NULL: only checks. */
static int get_entry(struct reader *reader, const struct loading *loading) {
    char name[SONDE__KAFKA_TOPIC_MAX + 1];
    struct sonde__kafka_topic *topic = NULL;
    struct sonde__kafka_history *history = NULL;
    get_text(reader, name, sizeof name);
    uint32_t partition = (uint32_t)get(reader, 4), points = (uint32_t)get(reader, 2);
    if (reader->bad || !name[0] || partition >= SONDE__KAFKA_PARTITION_MAX)
        return SONDE_EINVALID;
    if (loading->book) {
        topic = sonde__kafka_book_add_topic(loading->book, name, NULL);
        if (!topic || sonde__kafka_topic_grow(loading->book, topic, partition + 1) != 0)
            return -ENOMEM;
        history = &topic->partitions[partition].history;
    }
    for (uint32_t i = 0; i < points; i++) {
        int64_t time = (int64_t)get(reader, 8), offset = (int64_t)get(reader, 8);
        if (reader->bad || offset < 0 || time < 0)
            return SONDE_EINVALID;
        if (!history || time > loading->wall_ns || time < loading->wall_ns - WEEK_NS)
            continue;
        int error = sonde__kafka_history_add(history, loading->book->alloc, loading->points_max,
                                             time + loading->to_monotonic_ns, offset);
        if (error)
            return error;
    }
    return 0;
}

static int get_entries(struct reader reader, const struct loading *loading) {
    uint32_t entries = (uint32_t)get(&reader, 4);
    int error = 0;
    for (uint32_t i = 0; i < entries && !error && !reader.bad; i++)
        error = get_entry(&reader, loading);
    if (!error && (reader.bad || reader.at != reader.end))
        error = SONDE_EINVALID;
    return error;
}

int sonde__kafka_state_decode(struct sonde__kafka_book *book, const uint8_t *data, size_t size, const char *cluster,
                              int64_t now_ns, int64_t wall_ns, unsigned points_max) {
    char whose[256];
    uint32_t crc;
    if (size < MAGIC_SIZE + sizeof crc || size > SONDE__KAFKA_STATE_SIZE_MAX || memcmp(data, MAGIC, MAGIC_SIZE) != 0)
        return SONDE_EINVALID;
    struct reader reader = {.at = data + size - sizeof crc, .end = data + size};
    if (get(&reader, sizeof crc) != crc32(0, data, (uInt)(size - sizeof crc)))
        return SONDE_EINVALID;
    reader = (struct reader){.at = data + MAGIC_SIZE, .end = data + size - sizeof crc};
    if (get(&reader, 4) != VERSION)
        return SONDE_EINVALID;
    get_text(&reader, whose, sizeof whose);
    if (reader.bad)
        return SONDE_EINVALID;
    if (strcmp(whose, cluster) != 0)
        return -ESTALE;
    struct loading loading = {.wall_ns = wall_ns, .to_monotonic_ns = now_ns - wall_ns, .points_max = points_max};
    int error = get_entries(reader, &loading);
    if (error)
        return error;
    loading.book = book;
    return get_entries(reader, &loading);
}

/* --- the file --- */

static int write_all(int fd, const uint8_t *data, size_t size) {
    while (size) {
        ssize_t written = write(fd, data, size);
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return written < 0 ? -errno : -EIO;
        data += written;
        size -= (size_t)written;
    }
    return fsync(fd) == 0 ? 0 : -errno;
}

int sonde__kafka_state_write(const char *path, const uint8_t *data, size_t size) {
    char beside[4096];
    if ((size_t)snprintf(beside, sizeof beside, "%s.new", path) >= sizeof beside)
        return -ENAMETOOLONG;
    int fd = open(beside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return -errno;
    int error = write_all(fd, data, size);
    if (close(fd) != 0 && !error)
        error = -errno;
    if (!error && rename(beside, path) != 0)
        error = -errno;
    if (error)
        (void)unlink(beside); /* the error that counts is the one before */
    return error;
}

static int read_all(int fd, uint8_t *data, size_t size) {
    while (size) {
        ssize_t got = read(fd, data, size);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return got < 0 ? -errno : -EIO;
        data += got;
        size -= (size_t)got;
    }
    return 0;
}

int sonde__kafka_state_read(const struct sonde_alloc *alloc, const char *path, uint8_t **ret_data, size_t *ret_size) {
    struct stat status;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe shall not hold us */
    if (fd < 0)
        return -errno;
    int error = fstat(fd, &status) == 0 ? 0 : -errno;
    if (!error && (!S_ISREG(status.st_mode) || status.st_size > (off_t)SONDE__KAFKA_STATE_SIZE_MAX))
        error = S_ISREG(status.st_mode) ? SONDE_ETOOBIG : -EINVAL;
    size_t size = error ? 0 : (size_t)status.st_size;
    uint8_t *data = error ? NULL : sonde_alloc_new(alloc, size + 1);
    if (!error && !data)
        error = -ENOMEM;
    if (!error)
        error = read_all(fd, data, size);
    (void)close(fd);
    if (error) {
        sonde_alloc_free(alloc, data);
        return error;
    }
    *ret_data = data;
    *ret_size = size;
    return 0;
}
