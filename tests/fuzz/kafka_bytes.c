/* SPDX-License-Identifier: Apache-2.0 */
/* The bytes that the Kafka collector reads itself: a member's assignment ('A' and what another client wrote), and the file
 * of histories ('S' and what comes before its sum, which is put right here). Names have an end and partitions a bound;
 * what was loaded is in order, and is the same when it is written and loaded again. */
#include "agent/collect/kafka_assignment.h"
#include "agent/collect/kafka_state.h"
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define NOW  INT64_C(1000000000000)
#define WALL INT64_C(1700000000000000000)
enum { POINTS = 16, TOPICS_WORTH = 4096 };

static void require(int condition) {
    if (!condition)
        abort();
}

static void *resize(void *self, void *old, size_t size) {
    (void)self;
    if (size == 0) {
        free(old);
        return NULL;
    }
    return realloc(old, size);
}
static const struct sonde_alloc heap = {.resize = resize};

static int visit(void *user, const char *topic, int32_t partition) {
    require(strnlen(topic, SONDE__KAFKA_TOPIC_MAX + 1) <= SONDE__KAFKA_TOPIC_MAX && topic[0]);
    require(partition >= 0 && partition < SONDE__KAFKA_PARTITION_MAX);
    return --*(int *)user > 0 ? 0 : 1;
}

static void check(const struct sonde__kafka_book *book) {
    for (size_t i = 0; i < book->topic_count; i++)
        for (uint32_t j = 0; j < book->topics[i]->partition_count; j++) {
            const struct sonde__kafka_history *history = &book->topics[i]->partitions[j].history;
            require(history->count <= POINTS);
            for (unsigned k = 0; k < history->count; k++) {
                require(history->points[k].offset >= 0 && history->points[k].time_ns <= NOW);
                require(k == 0 || (history->points[k - 1].offset <= history->points[k].offset &&
                                   history->points[k - 1].time_ns < history->points[k].time_ns));
                require(sonde__kafka_history_age(history, history->points[k].offset, NOW).seconds >= 0);
            }
        }
}

static void load(const uint8_t *data, size_t size) {
    struct sonde__kafka_book book = {.alloc = &heap}, again = {.alloc = &heap};
    uint8_t *whole = malloc(size + 4), *written;
    size_t written_size;
    require(whole != NULL);
    memcpy(whole, data, size);
    uint32_t crc = (uint32_t)crc32(0, data, (uInt)size);
    for (unsigned i = 0; i < 4; i++)
        whole[size + i] = (uint8_t)(crc >> (8 * i));
    if (sonde__kafka_state_decode(&book, whole, size + 4, "c", NOW, WALL, POINTS) == 0) {
        check(&book);
        require(sonde__kafka_state_encode(&book, "c", NOW, WALL, &written, &written_size) == 0);
        require(sonde__kafka_state_decode(&again, written, written_size, "c", NOW, WALL, POINTS) == 0);
        check(&again);
        sonde_alloc_free(&heap, written);
    }
    free(whole);
    sonde__kafka_book_deinit(&book);
    sonde__kafka_book_deinit(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    int most = TOPICS_WORTH;
    if (size && data[0] == 'A')
        (void)sonde__kafka_assignment_each(data + 1, size - 1, visit, &most);
    else if (size && data[0] == 'S')
        load(data + 1, size - 1);
    return 0;
}
