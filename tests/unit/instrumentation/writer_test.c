/* SPDX-License-Identifier: Apache-2.0 */
/* What is written is read back with protobuf-c; every buffer has its exact size, so that a sanitizer sees an overrun.
 */
#include "instrumentation/wire/writer.h"
#include "telemetry.pb-c.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void varint_has_its_canonical_bytes(void **state) {
    (void)state;
    for (unsigned bit = 0; bit < 64; bit++) {
        for (int delta = -1; delta <= 1; delta++) {
            uint64_t value = ((uint64_t)1 << bit) + (uint64_t)delta, back = 0;
            uint8_t buffer[10];
            struct sonde__writer w;
            sonde__writer_init(&w, buffer, sizeof buffer);
            sonde__write_varint(&w, value);
            size_t size = sonde__writer_size(&w);
            assert_int_equal(size, sonde__varint_size(value));
            for (size_t i = 0; i < size; i++) {
                assert_int_equal(buffer[i] >> 7, i + 1 < size);
                back |= (uint64_t)(buffer[i] & 0x7F) << (7 * i);
            }
            assert_true(back == value);
            assert_true(size == 1 || buffer[size - 1] != 0);
        }
    }
}

/* Encodes one attribute as Span.attributes (9) and decodes it. */
static Pb__Span *round_trip(const struct sonde_attribute *attribute, size_t limit) {
    size_t size = 70000;
    uint8_t *buffer = malloc(size);
    struct sonde__writer w;
    sonde__writer_init(&w, buffer, size);
    sonde__write_attribute(&w, 9, attribute, limit);
    assert_false(w.full);
    Pb__Span *span = pb__span__unpack(NULL, sonde__writer_size(&w), buffer);
    assert_non_null(span);
    assert_int_equal(span->n_attributes, 1);
    free(buffer);
    return span;
}

static void attribute_string_survives_at_every_size(void **state) {
    (void)state;
    static const size_t sizes[] = {0,   1,   3,   4,   7,   8,   9,   15,    16,    17,   31,  90,
                                   108, 109, 110, 111, 112, 113, 114, 115,   116,   117,  118, 119,
                                   120, 121, 122, 127, 128, 129, 200, 16383, 16384, 60000};
    char *text = malloc(60001);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        for (size_t k = 0; k < sizes[i]; k++)
            text[k] = (char)('!' + (k * 7 + i) % 90);
        text[sizes[i]] = 0;
        struct sonde_attribute padded = sonde_attribute_string_n(SONDE_KEY("http.route"), text, sizes[i]);
        struct sonde_attribute plain = sonde_attribute_string_n(sonde_key_cstr("url.path"), text, sizes[i]);
        Pb__Span *a = round_trip(&padded, SIZE_MAX), *b = round_trip(&plain, SIZE_MAX);
        assert_string_equal(a->attributes[0]->key, "http.route");
        assert_string_equal(a->attributes[0]->value->string_value, text);
        assert_string_equal(b->attributes[0]->key, "url.path");
        assert_string_equal(b->attributes[0]->value->string_value, text);
        pb__span__free_unpacked(a, NULL);
        pb__span__free_unpacked(b, NULL);
    }
    free(text);
}

static void attribute_key_survives_at_every_size(void **state) {
    (void)state;
    char key[SONDE_KEY_SIZE_MAX + 1];
    for (size_t size = 1; size <= SONDE_KEY_SIZE_MAX; size++) {
        memset(key, 'k', size);
        key[size] = 0;
        struct sonde_attribute number = sonde_attribute_int64(sonde_key_cstr(key), INT64_MIN);
        Pb__Span *span = round_trip(&number, SIZE_MAX);
        assert_string_equal(span->attributes[0]->key, key);
        assert_true(span->attributes[0]->value->int_value == INT64_MIN);
        pb__span__free_unpacked(span, NULL);
    }
}

static void attribute_scalars_survive(void **state) {
    (void)state;
    static const int64_t numbers[] = {
        0, 1, -1, 127, 128, 16383, 16384, 1 << 28, INT64_MAX, INT64_MIN, 0x00FFFFFFFFFFFFFF};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        struct sonde_attribute a = sonde_attribute_int64(SONDE_KEY("n"), numbers[i]);
        Pb__Span *span = round_trip(&a, SIZE_MAX);
        assert_int_equal(span->attributes[0]->value->value_case, PB__ANY_VALUE__VALUE_INT_VALUE);
        assert_true(span->attributes[0]->value->int_value == numbers[i]);
        pb__span__free_unpacked(span, NULL);
    }
    for (int flag = 0; flag < 2; flag++) {
        struct sonde_attribute a = sonde_attribute_bool(SONDE_KEY("b"), flag);
        Pb__Span *span = round_trip(&a, SIZE_MAX);
        assert_int_equal(span->attributes[0]->value->value_case, PB__ANY_VALUE__VALUE_BOOL_VALUE);
        assert_int_equal(span->attributes[0]->value->bool_value, flag);
        pb__span__free_unpacked(span, NULL);
    }
    struct sonde_attribute a = sonde_attribute_double(SONDE_KEY("d"), -0.1);
    Pb__Span *span = round_trip(&a, SIZE_MAX);
    assert_true(span->attributes[0]->value->double_value == -0.1);
    pb__span__free_unpacked(span, NULL);
}

static void attribute_arrays_survive(void **state) {
    (void)state;
    const struct sonde_string strings[] = {{"one", 3}, {"", 0}, {"dr\xFFi", 4}};
    const bool booleans[] = {true, false};
    const int64_t int64s[] = {-5, 5};
    const double doubles[] = {0.5};
    struct sonde_attribute a = {.key = SONDE_KEY("list"), .type = SONDE_VALUE_STRING_ARRAY, .size = 3};
    a.value.strings = strings;
    Pb__Span *span = round_trip(&a, SIZE_MAX);
    Pb__ArrayValue *list = span->attributes[0]->value->array_value;
    assert_int_equal(list->n_values, 3);
    assert_string_equal(list->values[0]->string_value, "one");
    assert_string_equal(list->values[1]->string_value, "");
    assert_string_equal(list->values[2]->string_value, "dr\xEF\xBF\xBDi");
    pb__span__free_unpacked(span, NULL);

    a.type = SONDE_VALUE_BOOL_ARRAY, a.size = 2, a.value.booleans = booleans;
    span = round_trip(&a, SIZE_MAX);
    list = span->attributes[0]->value->array_value;
    assert_true(list->n_values == 2 && list->values[0]->bool_value && !list->values[1]->bool_value);
    pb__span__free_unpacked(span, NULL);

    a.type = SONDE_VALUE_INT64_ARRAY, a.value.int64s = int64s;
    span = round_trip(&a, SIZE_MAX);
    list = span->attributes[0]->value->array_value;
    assert_true(list->n_values == 2 && list->values[0]->int_value == -5 && list->values[1]->int_value == 5);
    pb__span__free_unpacked(span, NULL);

    a.type = SONDE_VALUE_DOUBLE_ARRAY, a.size = 1, a.value.doubles = doubles;
    span = round_trip(&a, SIZE_MAX);
    list = span->attributes[0]->value->array_value;
    assert_true(list->n_values == 1 && list->values[0]->double_value == 0.5);
    pb__span__free_unpacked(span, NULL);

    a.size = 0;
    span = round_trip(&a, SIZE_MAX);
    assert_int_equal(span->attributes[0]->value->array_value->n_values, 0);
    pb__span__free_unpacked(span, NULL);
}

static void attribute_value_is_cut_at_the_limit_in_characters(void **state) {
    (void)state;
    struct sonde_attribute text = sonde_attribute_string(SONDE_KEY("k"), "a\xC3\xBC\xE2\x82\xACz");
    Pb__Span *span = round_trip(&text, 2);
    assert_string_equal(span->attributes[0]->value->string_value, "a\xC3\xBC");
    pb__span__free_unpacked(span, NULL);
    struct sonde_attribute bytes = {
        .key = SONDE_KEY("k"), .type = SONDE_VALUE_BYTES, .size = 5, .value.bytes = "\0\1\2\3\4"};
    span = round_trip(&bytes, 3);
    assert_int_equal(span->attributes[0]->value->bytes_value.len, 3);
    assert_memory_equal(span->attributes[0]->value->bytes_value.data, "\0\1\2", 3);
    pb__span__free_unpacked(span, NULL);
}

static void attribute_key_and_value_are_repaired(void **state) {
    (void)state;
    struct sonde_attribute a = sonde_attribute_string(sonde_key_cstr("k\xC0"), "v\xFF");
    Pb__Span *span = round_trip(&a, SIZE_MAX);
    assert_string_equal(span->attributes[0]->key, "k\xEF\xBF\xBD");
    assert_string_equal(span->attributes[0]->value->string_value, "v\xEF\xBF\xBD");
    pb__span__free_unpacked(span, NULL);
}

static void attribute_is_written_whole_or_not_at_all(void **state) {
    (void)state;
    struct sonde_attribute a = sonde_attribute_string(SONDE_KEY("http.route"), "/users/{id}");
    struct sonde__writer w;
    for (size_t size = 0; size < 400; size++) {
        uint8_t *buffer = malloc(size);
        sonde__writer_init(&w, buffer, size);
        size_t count = 0;
        while (!w.full) {
            sonde__write_attribute(&w, 9, &a, SIZE_MAX);
            count += !w.full;
        }
        Pb__Span *span = pb__span__unpack(NULL, sonde__writer_size(&w), buffer);
        assert_non_null(span);
        assert_int_equal(span->n_attributes, count);
        assert_int_equal(count, size / 29);
        pb__span__free_unpacked(span, NULL);
        free(buffer);
    }
}

static void attributes_that_do_not_fit_are_left_out_and_counted(void **state) {
    (void)state;
    char key[SONDE_KEY_SIZE_MAX + 2];
    memset(key, 'k', sizeof key - 1);
    key[sizeof key - 1] = 0;
    const struct sonde_attribute attributes[] = {sonde_attribute_int64(sonde_key_cstr(""), 1),
                                                 sonde_attribute_int64(sonde_key_cstr(key), 1),
                                                 {.key = SONDE_KEY("null"), .type = SONDE_VALUE_STRING, .size = 4},
                                                 sonde_attribute_int64(SONDE_KEY("a"), 1),
                                                 sonde_attribute_int64(SONDE_KEY("b"), 2),
                                                 sonde_attribute_int64(SONDE_KEY("c"), 3)};
    uint8_t buffer[400];
    struct sonde__writer w;
    sonde__writer_init(&w, buffer, sizeof buffer);
    assert_int_equal(sonde__write_attributes(&w, 9, attributes, 6, 2, SIZE_MAX), 4);
    Pb__Span *span = pb__span__unpack(NULL, sonde__writer_size(&w), buffer);
    assert_int_equal(span->n_attributes, 2);
    assert_string_equal(span->attributes[1]->key, "b");
    pb__span__free_unpacked(span, NULL);
}

static void nested_messages_move_when_they_grow(void **state) {
    (void)state;
    uint8_t buffer[600];
    char text[301] = {0};
    struct sonde__writer w;
    for (size_t size = 100; size <= 300; size++) {
        memset(text, 'x', size);
        sonde__writer_init(&w, buffer, sizeof buffer);
        uint8_t *event = sonde__write_begin(&w, 11);
        sonde__write_string(&w, 2, text, size, SIZE_MAX);
        sonde__write_end(&w, event);
        sonde__write_fixed32(&w, 16, 7);
        Pb__Span *span = pb__span__unpack(NULL, sonde__writer_size(&w), buffer);
        assert_non_null(span);
        assert_int_equal(strlen(span->events[0]->name), size);
        assert_int_equal(span->flags, 7);
        pb__span__free_unpacked(span, NULL);
    }
}

static void string_is_cut_to_its_limit_after_repair(void **state) {
    (void)state;
    uint8_t buffer[64];
    struct sonde__writer w;
    sonde__writer_init(&w, buffer, sizeof buffer);
    sonde__write_string(&w, 5, "ab\xFF\xFF", 4, 6);
    Pb__Span *span = pb__span__unpack(NULL, sonde__writer_size(&w), buffer);
    assert_string_equal(span->name, "ab\xEF\xBF\xBD");
    pb__span__free_unpacked(span, NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(varint_has_its_canonical_bytes),
        cmocka_unit_test(attribute_string_survives_at_every_size),
        cmocka_unit_test(attribute_key_survives_at_every_size),
        cmocka_unit_test(attribute_scalars_survive),
        cmocka_unit_test(attribute_arrays_survive),
        cmocka_unit_test(attribute_value_is_cut_at_the_limit_in_characters),
        cmocka_unit_test(attribute_key_and_value_are_repaired),
        cmocka_unit_test(attribute_is_written_whole_or_not_at_all),
        cmocka_unit_test(attributes_that_do_not_fit_are_left_out_and_counted),
        cmocka_unit_test(nested_messages_move_when_they_grow),
        cmocka_unit_test(string_is_cut_to_its_limit_after_repair),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
