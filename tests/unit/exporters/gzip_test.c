/* SPDX-License-Identifier: Apache-2.0 */
/* What is compressed inflates to the same, by zlib, whatever it is and whichever library did it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
/* after the three above */
#include <cmocka.h>

#include "exporters/otlp/gzip.h"
#include <libdeflate.h>
#include <stdlib.h>
#include <string.h>

#define SIZE_MAX_TRIED (4u << 20)

static void *heap_resize(void *self, void *old, size_t size) {
    (void)self;
    if (size == 0) {
        free(old);
        return NULL;
    }
    return realloc(old, size);
}
static const struct sonde_alloc heap = {.resize = heap_resize};

static uint8_t *make_data(size_t size, int kind) {
    uint8_t *data = malloc(size);
    uint64_t x = 88172645463325252u;
    for (size_t i = 0; i < size; i++) {
        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        data[i] = kind == 0 ? 0 : kind == 1 ? (uint8_t)(x >> 32) : (uint8_t)("GET /api/users"[i % 14] + (x % 16 == 0));
    }
    return data;
}

static void round_trip(size_t size, int kind, int level) {
    uint8_t *data = make_data(size, kind), *packed = NULL, *back = malloc(size);
    size_t packed_size = 0, back_size = 0;
    struct sonde__gzip *gzip = sonde__gzip_create(&heap, level, size);
    assert_non_null(gzip);
    sonde__gzip_work(gzip, data, size);
    assert_true(sonde__gzip_steal(&heap, gzip, &packed, &packed_size));
    assert_true(packed_size <= size + size / 1000 + 64); /* what does not shrink is stored */
    struct libdeflate_decompressor *inflate = libdeflate_alloc_decompressor();
    assert_int_equal(libdeflate_gzip_decompress(inflate, packed, packed_size, back, size, &back_size),
                     LIBDEFLATE_SUCCESS);
    assert_int_equal(back_size, size);
    assert_memory_equal(back, data, size);
    libdeflate_free_decompressor(inflate);
    sonde__gzip_destroy(&heap, gzip);
    free(data);
    free(packed);
    free(back);
}

static void gzip_inflates_to_the_same(void **state) {
    static const size_t sizes[] = {1, 2, 100, 4095, 65535, 65536, 300001, SIZE_MAX_TRIED - 1};
    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        for (int kind = 0; kind < 3; kind++)
            for (int level = 1; level <= 6; level += 5)
                round_trip(sizes[i], kind, level);
}

static void *no_memory(void *self, void *old, size_t size) {
    int *left = self;
    if (size != 0 && (*left)-- <= 0)
        return NULL;
    return heap_resize(NULL, old, size);
}

static void gzip_is_not_made_without_memory(void **state) {
    (void)state;
    for (int level = 1; level <= 6; level += 5) {
        for (int allowed = 0; allowed < 2; allowed++) {
            int left = allowed;
            const struct sonde_alloc failing = {.resize = no_memory, .self = &left};
            assert_null(sonde__gzip_create(&failing, level, 1000));
        }
    }
}

int main(void) {
    const struct CMUnitTest cases[] = {
        cmocka_unit_test(gzip_inflates_to_the_same),
        cmocka_unit_test(gzip_is_not_made_without_memory),
    };
    return cmocka_run_group_tests(cases, NULL, NULL);
}
