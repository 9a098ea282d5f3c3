/* SPDX-License-Identifier: Apache-2.0 */
/* The specification's checklist: baggage. Each test is named after its item in items.tsv. */
#include "tests/checklist/checklist.h"
#include <sonde/carrier/http.h>

static void basic_support(void **state) {
    (void)state;
    struct sonde_context context;
    struct sonde_baggage_entry entry;
    char value[16];
    size_t size;
    uint32_t position = 0;
    sonde_context_init(&context);
    assert_int_equal(sonde_baggage_set(&context, sonde_text("tenant"), sonde_text("a b"), sonde_text("ttl=3")), 0);
    assert_int_equal(sonde_baggage_set(&context, sonde_text("user"), sonde_text("u1"), sonde_text("")), 0);
    assert_int_equal(sonde_baggage_get(&context, sonde_text("tenant"), value, sizeof value, &size), 0);
    assert_int_equal(size, 3);
    assert_memory_equal(value, "a b", 3);
    assert_true(sonde_baggage_next(&context, &position, &entry));
    assert_int_equal(entry.metadata.size, 5);
    assert_true(sonde_baggage_next(&context, &position, &entry));
    assert_false(sonde_baggage_next(&context, &position, &entry));
    assert_true(sonde_baggage_remove(&context, sonde_text("tenant")));
    assert_false(sonde_baggage_find(&context, sonde_text("tenant"), &entry));
    sonde_baggage_clear(&context);
    assert_int_equal(context.baggage_length, 0);
}

static void the_official_header_name(void **state) {
    (void)state;
    struct sonde_context context, back;
    struct sonde_http_header storage[4];
    char text[256];
    struct sonde_http_headers headers = {.headers = storage, .capacity = 4, .text = text, .text_size = sizeof text};
    struct sonde_carrier carrier = sonde_http_carrier(&headers);
    sonde_context_init(&context);
    assert_int_equal(sonde_baggage_set(&context, sonde_text("tenant"), sonde_text("a"), sonde_text("")), 0);
    assert_int_equal(sonde_inject(&context, &carrier), 0);
    assert_int_equal(headers.count, 1);
    assert_int_equal(headers.headers[0].name.size, 7);
    assert_memory_equal(headers.headers[0].name.data, "baggage", 7);
    (void)sonde_extract(&carrier, &back);
    assert_int_equal(back.baggage_length, context.baggage_length);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(basic_support),
        cmocka_unit_test(the_official_header_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
