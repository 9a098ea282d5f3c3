/* SPDX-License-Identifier: Apache-2.0 */
#include "exporters/otlp/gzip.h"
#include <assert.h>
#include <libdeflate.h>

struct sonde__gzip {
    struct libdeflate_compressor *compressor;
    uint8_t *data;
    size_t size, bound;
};

struct sonde__gzip *sonde__gzip_create(const struct sonde_alloc *alloc, int level, size_t size) {
    struct sonde__gzip *gzip = sonde_alloc_new(alloc, sizeof *gzip);
    if (!gzip)
        return NULL;
    *gzip = (struct sonde__gzip){.compressor = libdeflate_alloc_compressor(level)};
    if (gzip->compressor) {
        gzip->bound = libdeflate_gzip_compress_bound(gzip->compressor, size);
        gzip->data = sonde_alloc_new(alloc, gzip->bound);
    }
    if (!gzip->data) {
        sonde__gzip_destroy(alloc, gzip);
        return NULL;
    }
    return gzip;
}

void sonde__gzip_destroy(const struct sonde_alloc *alloc, struct sonde__gzip *gzip) {
    if (!gzip)
        return;
    libdeflate_free_compressor(gzip->compressor);
    sonde_alloc_free(alloc, gzip->data);
    sonde_alloc_free(alloc, gzip);
}

void sonde__gzip_work(struct sonde__gzip *gzip, const uint8_t *data, size_t size) {
    gzip->size = libdeflate_gzip_compress(gzip->compressor, data, size, gzip->data, gzip->bound);
    assert(gzip->size > 0); /* the bound suffices for every input of that size */
}

void sonde__gzip_steal(const struct sonde_alloc *alloc, struct sonde__gzip *gzip, uint8_t **ret_data,
                       size_t *ret_size) {
    /* Given back what the bound was too large by; a refusal to shrink is harmless. */
    uint8_t *smaller = alloc->resize(alloc->self, gzip->data, gzip->size);
    *ret_data = smaller ? smaller : gzip->data;
    *ret_size = gzip->size;
    gzip->data = NULL;
}
