/* SPDX-License-Identifier: Apache-2.0 */
#include "exporters/http_headers.h"
#include <setjmp.h>
#include <sonde/err.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void names_and_values_are_checked(void **state) {
    (void)state;
    static const char *const ours[] = {"host", NULL};
    static const struct {
        const char *key, *value, *problem; /* NULL: good */
    } rows[] = {
        {"X-Scope-OrgID", "tenant", NULL}, {"x", "", NULL},
        {"x", "a\tb \xC3\xA9", NULL},      {"", "v", "letters"},
        {"a b", "v", "letters"},           {"a:", "v", "letters"},
        {"HOST", "v", "host is set"},      {"x", "secret\r\nInjected: 1", "one line"},
        {"x", "secret\x7f", "control"},    {"x", "secret\x01", "control"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char text[256] = "", *key = (char *)(uintptr_t)rows[i].key, *value = (char *)(uintptr_t)rows[i].value;
        struct sonde_string_map map = {&key, &value, 1};
        assert_int_equal(sonde__http_headers_check(&map, ours, text, sizeof text),
                         rows[i].problem ? SONDE_EINVALID : 0);
        assert_true(!rows[i].problem || strstr(text, rows[i].problem));
        assert_null(strstr(text, "secret")); /* values are secrets */
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_and_values_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
