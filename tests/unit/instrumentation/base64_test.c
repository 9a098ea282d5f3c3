/* SPDX-License-Identifier: Apache-2.0 */
/* The examples of RFC 4648, 10, and bytes that use every bit. */
#include "instrumentation/wire/base64.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void examples_of_the_rfc(void **state) {
    (void)state;
    static const char *const rows[][3] = {
        {"", "", ""},
        {"f", "Zg==", "Zg"},
        {"fo", "Zm8=", "Zm8"},
        {"foo", "Zm9v", "Zm9v"},
        {"foob", "Zm9vYg==", "Zm9vYg"},
        {"fooba", "Zm9vYmE=", "Zm9vYmE"},
        {"foobar", "Zm9vYmFy", "Zm9vYmFy"},
        {"\xff\xef\xbe", "/+++", "/+++"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        for (int padded = 0; padded < 2; padded++) {
            char text[16];
            const char *want = rows[i][padded ? 1 : 2];
            size_t size = strlen(rows[i][0]);
            assert_int_equal(sonde__base64_size(size, padded), strlen(want));
            assert_int_equal(sonde__base64_write(rows[i][0], size, padded, text), strlen(want));
            assert_memory_equal(text, want, strlen(want));
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(examples_of_the_rfc),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
