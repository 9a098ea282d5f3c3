/* SPDX-License-Identifier: Apache-2.0 */
#include "instrumentation/metric/attributes.h"
#include "instrumentation/wire/writer.h"
#include <sonde/err.h>

static int key_compare(const struct sonde_key *a, const struct sonde_key *b) {
    uint32_t size = a->length < b->length ? a->length : b->length;
    int order = memcmp(a->text, b->text, size);
    return order ? order : (a->length > b->length) - (a->length < b->length);
}

/* Insertion into `sorted`: sets are small and mostly come in the same order. A repeated key takes the older one's
 * place. */
static size_t insert(const struct sonde_attribute **sorted, size_t count, const struct sonde_attribute *attribute) {
    size_t at = count;
    while (at > 0) {
        int order = key_compare(&sorted[at - 1]->key, &attribute->key);
        if (order == 0) {
            sorted[at - 1] = attribute;
            return count;
        }
        if (order < 0)
            break;
        at--;
    }
    memmove(&sorted[at + 1], &sorted[at], (count - at) * sizeof sorted[0]);
    sorted[at] = attribute;
    return count + 1;
}

int sonde__attributes_encode(const struct sonde_attribute *attributes, size_t count, uint8_t *buffer, size_t *ret_size,
                             size_t *ret_dropped) {
    const struct sonde_attribute *sorted[SONDE_SERIES_ATTRIBUTES_MAX + 1];
    size_t kept = 0, dropped = 0;
    for (size_t i = 0; i < count; i++) {
        if (!sonde__attribute_fits(&attributes[i])) {
            dropped++;
            continue;
        }
        kept = insert(sorted, kept, &attributes[i]);
        if (kept > SONDE_SERIES_ATTRIBUTES_MAX)
            return SONDE_ETOOBIG;
    }
    struct sonde__writer writer;
    sonde__writer_init(&writer, buffer, SONDE_SERIES_ATTRIBUTES_SIZE_MAX);
    for (size_t i = 0; i < kept; i++)
        sonde__write_attribute(&writer, 1, sorted[i], SIZE_MAX);
    if (writer.full)
        return SONDE_ETOOBIG;
    *ret_size = sonde__writer_size(&writer);
    *ret_dropped = dropped;
    return 0;
}

static inline uint64_t mix(uint64_t a, uint64_t b) {
    unsigned __int128 product =
        (unsigned __int128)(a ^ UINT64_C(0x2d358dccaa6c78a5)) * (b ^ UINT64_C(0x8bb84b93962eacc9));
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

uint64_t sonde__bytes_hash(const void *bytes, size_t size, uint64_t seed) {
    const uint8_t *p = bytes;
    uint64_t hash = mix(seed, size), words[2];
    for (; size >= 16; size -= 16, p += 16) {
        memcpy(words, p, 16);
        hash = mix(words[0] ^ hash, words[1]);
    }
    words[0] = words[1] = 0;
    memcpy(words, p, size);
    return mix(words[0] ^ hash, words[1]);
}
