/* SPDX-License-Identifier: Apache-2.0 */
/* Level 1 is what nearly everybody runs, and compression is the agent's largest cost: ISA-L, where it is built in,
 * takes half of libdeflate's time there for 3 % more bytes. Every other level is libdeflate's. */
#include "exporters/otlp/gzip.h"
#include <assert.h>
#include <libdeflate.h>
#ifdef SONDE_HAVE_ISAL
#include <isa-l/igzip_lib.h>
#endif

struct sonde__gzip {
    struct libdeflate_compressor *compressor; /* NULL = ISA-L */
    uint8_t *data;
    size_t size, bound;
#ifdef SONDE_HAVE_ISAL
    struct isal_zstream stream;
    uint8_t level_buffer[ISAL_DEF_LVL1_DEFAULT];
#endif
};

#ifdef SONDE_HAVE_ISAL
static bool fast_prepare(struct sonde__gzip *gzip, int level, size_t size) {
    /* It states no bound. Blocks that do not shrink are stored, 5 bytes each; this is far more than all their heads. */
    gzip->bound = size + size / 8 + 4096;
    return level == 1 && gzip->bound <= UINT32_MAX;
}

static void fast_work(struct sonde__gzip *gzip, const uint8_t *data, size_t size) {
    struct isal_zstream *stream = &gzip->stream;
    isal_deflate_init(stream);
    stream->level = 1;
    stream->level_buf = gzip->level_buffer;
    stream->level_buf_size = sizeof gzip->level_buffer;
    stream->gzip_flag = IGZIP_GZIP;
    stream->end_of_stream = 1;
    stream->next_in = (uint8_t *)(uintptr_t)data; /* only read */
    stream->avail_in = (uint32_t)size;
    stream->next_out = gzip->data;
    stream->avail_out = (uint32_t)gzip->bound;
    bool whole = isal_deflate(stream) == COMP_OK && stream->internal_state.state == ZSTATE_END;
    gzip->size = whole ? stream->total_out : 0;
}
#else
static bool fast_prepare(struct sonde__gzip *gzip, int level, size_t size) {
    (void)gzip;
    (void)level;
    (void)size;
    return false;
}
static void fast_work(struct sonde__gzip *gzip, const uint8_t *data, size_t size) {
    (void)gzip;
    (void)data;
    (void)size;
}
#endif

struct sonde__gzip *sonde__gzip_create(const struct sonde_alloc *alloc, int level, size_t size) {
    struct sonde__gzip *gzip = sonde_alloc_new(alloc, sizeof *gzip);
    if (!gzip)
        return NULL;
    gzip->compressor = NULL; /* not all of it: the buffers are large, and are written before they are read */
    gzip->data = NULL;
    gzip->size = 0;
    bool fast = fast_prepare(gzip, level, size);
    if (!fast)
        gzip->compressor = libdeflate_alloc_compressor(level);
    if (gzip->compressor)
        gzip->bound = libdeflate_gzip_compress_bound(gzip->compressor, size);
    if (gzip->compressor || fast)
        gzip->data = sonde_alloc_new(alloc, gzip->bound);
    if (!gzip->data) {
        sonde__gzip_destroy(alloc, gzip);
        return NULL;
    }
    return gzip;
}

void sonde__gzip_destroy(const struct sonde_alloc *alloc, struct sonde__gzip *gzip) {
    if (!gzip)
        return;
    if (gzip->compressor)
        libdeflate_free_compressor(gzip->compressor);
    sonde_alloc_free(alloc, gzip->data);
    sonde_alloc_free(alloc, gzip);
}

void sonde__gzip_work(struct sonde__gzip *gzip, const uint8_t *data, size_t size) {
    if (!gzip->compressor) {
        fast_work(gzip, data, size);
        return;
    }
    gzip->size = libdeflate_gzip_compress(gzip->compressor, data, size, gzip->data, gzip->bound);
    assert(gzip->size > 0); /* the bound suffices for every input of that size */
}

bool sonde__gzip_steal(const struct sonde_alloc *alloc, struct sonde__gzip *gzip, uint8_t **ret_data,
                       size_t *ret_size) {
    if (gzip->size == 0)
        return false;
    /* Given back what the bound was too large by; a refusal to shrink is harmless. */
    uint8_t *smaller = alloc->resize(alloc->self, gzip->data, gzip->size);
    *ret_data = smaller ? smaller : gzip->data;
    *ret_size = gzip->size;
    gzip->data = NULL;
    return true;
}
