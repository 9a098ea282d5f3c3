/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/net/gzip_stream.h"
#include <errno.h>
#include <string.h>
#include <zlib.h>

/* Names and labels repeat from line to line: a window of 16 KiB finds them as well, in half the memory. */
#define WINDOW_BITS 14
#define GZIP        16 /* zlib's way to ask for gzip's head and end */
#define LEVEL       1

struct sonde__gzip_stream {
    const struct sonde_alloc *alloc;
    z_stream z;
    char *out;
    size_t out_size;
};

static voidpf z_new(voidpf alloc, uInt count, uInt size) {
    return sonde_alloc_new(alloc, (size_t)count * size);
}
static void z_free(voidpf alloc, voidpf memory) {
    sonde_alloc_free(alloc, memory);
}

int sonde__gzip_stream_create(const struct sonde_alloc *alloc, struct sonde__gzip_stream **ret_stream) {
    struct sonde__gzip_stream *stream = sonde_alloc_new(alloc, sizeof *stream);
    if (!stream)
        return -ENOMEM;
    *stream = (struct sonde__gzip_stream){.alloc = alloc,
                                          .z = {.zalloc = z_new, .zfree = z_free, .opaque = (void *)(uintptr_t)alloc}};
    if (deflateInit2(&stream->z, LEVEL, Z_DEFLATED, WINDOW_BITS + GZIP, 8, Z_DEFAULT_STRATEGY) != Z_OK) {
        sonde_alloc_free(alloc, stream);
        return -ENOMEM;
    }
    *ret_stream = stream;
    return 0;
}

void sonde__gzip_stream_destroy(struct sonde__gzip_stream *stream) {
    if (!stream)
        return;
    (void)deflateEnd(&stream->z);
    sonde_alloc_free(stream->alloc, stream->out);
    sonde_alloc_free(stream->alloc, stream);
}

int sonde__gzip_stream_put(struct sonde__gzip_stream *stream, const char *data, size_t size, bool is_last,
                           const char **ret_out, size_t *ret_size) {
    z_stream *z = &stream->z;
    size_t used = 0;
    z->next_in = (Bytef *)(uintptr_t)data; /* only read */
    z->avail_in = (uInt)size;
    for (int state = Z_OK;;) {
        if (stream->out_size - used < 4096) {
            char *grown = stream->alloc->resize(stream->alloc->self, stream->out, stream->out_size + 16384);
            if (!grown)
                return -ENOMEM;
            stream->out = grown;
            stream->out_size += 16384;
        }
        z->next_out = (Bytef *)stream->out + used;
        z->avail_out = (uInt)(stream->out_size - used);
        state = deflate(z, is_last ? Z_FINISH : Z_NO_FLUSH);
        used = stream->out_size - z->avail_out;
        if (state == Z_STREAM_END || (!is_last && !z->avail_in && z->avail_out))
            break;
    }
    *ret_out = stream->out;
    *ret_size = used;
    return 0;
}
