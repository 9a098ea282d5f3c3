/* SPDX-License-Identifier: Apache-2.0 */
/* The ring reader on a control page and a ring of hostile bytes. Input: head, base, tail (8 bytes each), then the
 * ring's first bytes; the rest of the 64 KiB ring is zero. It must end, stay inside, and give nothing that is not
 * valid. */
#include "instrumentation/ring/reader.h"
#include "instrumentation/wire/validate.h"
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { RING = 64 << 10 };

static void require(int condition) {
    if (!condition)
        abort();
}

static void check_record(const struct sonde__ring_record *record, const struct sonde__ring_chunk *chunk) {
    require(record->body >= chunk->data && record->body + record->size <= chunk->data + chunk->size);
    require(record->kind == SONDE__RECORD_SPAN ? sonde__span_is_valid(record->body, record->size)
                                               : sonde__log_is_valid(record->body, record->size));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static int fd = -1;
    static uint8_t *ring, *buffer;
    if (fd < 0) {
        fd = memfd_create("fuzz", MFD_CLOEXEC);
        require(fd >= 0 && ftruncate(fd, RING) == 0);
        ring = mmap(NULL, RING, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        buffer = malloc(SONDE__RING_CHUNK_SIZE);
        require(ring != MAP_FAILED && buffer);
    }
    uint64_t positions[3];
    if (size < sizeof positions || size > RING)
        return 0;
    memcpy(positions, data, sizeof positions);
    memset(ring, 0, RING);
    memcpy(ring, data + sizeof positions, size - sizeof positions);
    struct sonde__region region = {0};
    atomic_store(&region.head, positions[0]);
    atomic_store(&region.base, positions[1]);
    atomic_store(&region.tail, positions[2]);
    struct sonde__ring_reader reader;
    (void)sonde__ring_reader_init(&reader, &region, fd, 0, RING);
    for (int round = 0; round < 4; round++) { /* a ring is read in one chunk: the second finds nothing */
        struct sonde__ring_chunk chunk;
        struct sonde__ring_record record;
        if (sonde__ring_fetch(&reader, buffer, SONDE__RING_CHUNK_SIZE, &chunk) != 0)
            continue;
        require(chunk.size <= RING && (round == 0 || chunk.size == 0));
        enum sonde__ring_step step;
        while ((step = sonde__ring_next(&chunk, &record)) != SONDE__RING_END) {
            if (step == SONDE__RING_RECORD)
                check_record(&record, &chunk);
        }
        sonde__ring_advance(&reader, &chunk);
        require(sonde__ring_pending(&reader) == 0);
        sonde__ring_release(&reader, reader.read);
    }
    return 0;
}
