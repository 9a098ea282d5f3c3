/* SPDX-License-Identifier: Apache-2.0 */
/* Vectors: FIPS 180-4 examples (NIST CSRC, SHA256.pdf), and the million a's of FIPS 180-2, B.3. */
#include "instrumentation/wire/sha256.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void is_hash(struct sonde__sha256 *hash, const char *expected) {
    uint8_t digest[SONDE__SHA256_SIZE];
    char text[65];
    sonde__sha256_finish(hash, digest);
    for (int i = 0; i < 32; i++)
        snprintf(text + 2 * i, 3, "%02x", digest[i]);
    assert_string_equal(text, expected);
}

static const struct {
    const char *text, *hash;
} vectors[] = {
    {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
    {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
    {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
     "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
    {"abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqrstu",
     "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1"},
};

static void vectors_of_fips_180(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++) {
        for (size_t step = 1; step < 130; step += 7) { /* in pieces of every kind */
            struct sonde__sha256 hash;
            size_t size = strlen(vectors[i].text);
            sonde__sha256_init(&hash);
            for (size_t at = 0; at < size; at += step)
                sonde__sha256_add(&hash, vectors[i].text + at, size - at < step ? size - at : step);
            is_hash(&hash, vectors[i].hash);
        }
    }
}

static void a_million_letters(void **state) {
    (void)state;
    struct sonde__sha256 hash;
    char text[1000];
    memset(text, 'a', sizeof text);
    sonde__sha256_init(&hash);
    for (int i = 0; i < 1000; i++)
        sonde__sha256_add(&hash, text, sizeof text);
    is_hash(&hash, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

/* Lengths round a block's end, against the same in one piece. */
static void every_length_gives_one_hash(void **state) {
    (void)state;
    uint8_t text[200], whole[32], parts[32], last[32] = {0};
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = (uint8_t)(i * 7);
    for (size_t size = 0; size <= sizeof text; size++) {
        struct sonde__sha256 hash;
        sonde__sha256(text, size, whole);
        sonde__sha256_init(&hash);
        sonde__sha256_add(&hash, text, size / 3);
        sonde__sha256_add(&hash, text + size / 3, size - size / 3);
        sonde__sha256_finish(&hash, parts);
        assert_memory_equal(whole, parts, 32);
        assert_memory_not_equal(whole, last, 32);
        memcpy(last, whole, 32);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vectors_of_fips_180),
        cmocka_unit_test(a_million_letters),
        cmocka_unit_test(every_length_gives_one_hash),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
