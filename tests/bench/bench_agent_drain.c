/* SPDX-License-Identifier: Apache-2.0 */
/* agent_drain: what the agent does per span on its way from a ring to the queue: pread into private memory, walk,
 * validate, frame. 205-byte spans with 4 attributes from 64 rings that hold 256 KiB each (a quarter of a ring: there
 * the producer rings the doorbell), 16 MiB in all, more than any L2 holds. */
#include "agent/receive/batch.h"
#include "bench.h"
#include "instrumentation/ring/reader.h"
#include "instrumentation/wire/writer.h"
#include <sys/mman.h>
#include <unistd.h>

enum { RINGS = 64, HELD = 256 << 10, SPAN_SIZE = 205 };

static struct ring {
    int fd;
    struct sonde__region region;
    struct sonde__ring_reader reader;
} rings[RINGS];
static uint64_t spans_per_ring, spans_read, bytes_framed, random_state = 88172645463325252u;
static struct sonde__intake batch;
static unsigned next_ring;
static const char *wrong;

static uint64_t random_next(void) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

static void *heap_resize(void *self, void *old, size_t size) {
    (void)self;
    if (size == 0) {
        free(old);
        return NULL;
    }
    return realloc(old, size);
}

/* As the library writes it: fixed part, parent, name, then 2 strings of 16 bytes and 2 ints, values varying; the name
 * fills up to SPAN_SIZE. */
static size_t span_make(uint8_t *to) {
    static const char *const names[] = {"GET /api/users/{id} list", "POST /api/orders create",
                                        "db.query orders by user"};
    char route[32], user[32], name[64];
    uint64_t id[3] = {random_next(), random_next(), random_next() | 1}, parent = random_next() | 1;
    uint8_t attribute_bytes[256];
    struct sonde__writer w, a;
    snprintf(route, sizeof route, "/v1/route/%06u", (unsigned)(random_next() % 32));
    snprintf(user, sizeof user, "%08x%08x", (unsigned)random_next(), (unsigned)random_next());
    struct sonde_attribute attributes[4] = {
        sonde_attribute_string(SONDE_KEY("http.route"), route),
        sonde_attribute_string(SONDE_KEY("enduser.id"), user),
        sonde_attribute_int64(SONDE_KEY("http.status_code"), random_next() % 20 ? 200 : 500),
        sonde_attribute_int64(SONDE_KEY("http.response.body.size"), 16384 + (int64_t)(random_next() % 80000)),
    };
    sonde__writer_init(&a, attribute_bytes, sizeof attribute_bytes);
    for (int i = 0; i < 4; i++)
        sonde__write_attribute(&a, 9, &attributes[i], SIZE_MAX);
    sonde__writer_init(&w, to, 256);
    sonde__write_bytes(&w, 1, id, 16);
    sonde__write_bytes(&w, 2, id + 2, 8);
    sonde__write_fixed64(&w, 7, 1700000000000000000u + random_next() % 1000000000);
    sonde__write_fixed64(&w, 8, 1700000001000000000u + random_next() % 1000000000);
    sonde__write_uint(&w, 6, 2);
    sonde__write_raw(&w, "\x85\x01\x01\x01\0\0", 6);
    sonde__write_bytes(&w, 4, &parent, 8);
    snprintf(name, sizeof name, "%s                                ", names[random_next() % 3]);
    sonde__write_string(&w, 5, name, SPAN_SIZE - 2 - sonde__writer_size(&w) - sonde__writer_size(&a), SIZE_MAX);
    sonde__write_raw(&w, attribute_bytes, sonde__writer_size(&a));
    return sonde__writer_size(&w);
}

static void ring_fill(struct ring *ring) {
    uint64_t at = 0;
    ring->fd = memfd_create("bench", MFD_CLOEXEC);
    if (ring->fd < 0 || ftruncate(ring->fd, SONDE__RING_SIZE) != 0)
        exit(1);
    uint8_t *map = mmap(NULL, SONDE__RING_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, ring->fd, 0);
    if (map == MAP_FAILED)
        exit(1);
    uint64_t count = 0;
    while (at + 256 <= HELD) {
        size_t size = span_make(map + at + 8);
        if (size != SPAN_SIZE)
            wrong = "spans are not of the size they should be";
        struct sonde__record record = {.length = (uint32_t)size, .kind = SONDE__RECORD_SPAN};
        memcpy(map + at, &record, sizeof record);
        at += 8 + ((size + 7) & ~(size_t)7);
        count++;
    }
    spans_per_ring = count;
    atomic_store(&ring->region.head, at);
}

static void ring_read(struct ring *ring, uint64_t *count) {
    if (sonde__ring_reader_init(&ring->reader, &ring->region, ring->fd, 0, SONDE__RING_SIZE) != 0)
        wrong = "a ring cannot be read";
    for (;;) {
        struct sonde__ring_chunk chunk;
        struct sonde__ring_record record;
        if (batch.size + SONDE__INTAKE_ROOM_SIZE > SONDE__INTAKE_SIZE) {
            bytes_framed += batch.size;
            sonde__intake_reset(&batch);
        }
        uint8_t *room = sonde__intake_room(&batch, SONDE__INTAKE_ROOM_SIZE);
        if (!room || sonde__ring_fetch(&ring->reader, room, SONDE__INTAKE_ROOM_SIZE, &chunk) != 0 || chunk.size == 0)
            return;
        while (sonde__ring_next(&chunk, &record) == SONDE__RING_RECORD) {
            if (sonde__intake_add(&batch, SONDE_SIGNAL_TRACES, 1, record.body, record.size) != 0)
                wrong = "out of memory";
            ++*count;
        }
        sonde__ring_advance(&ring->reader, &chunk);
    }
}

/* Whole rings until at least `count` spans were read; the figure is per span that was read. */
static double measure(uint64_t count) {
    uint64_t read_now = 0, start = bench_now_ns();
    while (read_now < count) {
        ring_read(&rings[next_ring], &read_now);
        next_ring = (next_ring + 1) % RINGS;
    }
    double ns = (double)(bench_now_ns() - start) / (double)read_now;
    spans_read += read_now;
    return ns;
}

static const char *check(void) {
    bytes_framed += batch.size;
    sonde__intake_reset(&batch);
    if (spans_read % spans_per_ring)
        return "not every span was read";
    if (bytes_framed != spans_read * (SPAN_SIZE + 3)) /* tag and a length of two bytes */
        return "not every span was framed";
    return wrong;
}

int main(int argc, char **argv) {
    static const struct bench_row rows[] = {
        {.name = "agent_drain", .count = 256 * 1200, .check = check, .measure = measure},
    };
    const struct sonde_alloc alloc = {.resize = heap_resize};
    sonde__intake_init(&batch, &alloc);
    for (int i = 0; i < RINGS; i++)
        ring_fill(&rings[i]);
    return bench_main(argc, argv, rows, 1);
}
