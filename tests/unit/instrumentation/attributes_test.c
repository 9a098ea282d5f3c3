/* SPDX-License-Identifier: Apache-2.0 */
/* Attributes of spans: every type, replacing, limits, growth into extents. The last test compares thousands of random
 * spans with a plain model. */
#include "tests/lib/records.h"
#include <setjmp.h>
#include <sonde/sonde.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct sonde_span span;

static void start(void) {
    sonde_span_start(&span, SONDE_NAME("test"), NULL);
    assert_true(sonde_span_is_recording(&span));
}
static Pb__Span *finish(void) {
    sonde_span_end(&span);
    return records_span();
}
static const Pb__AnyValue *value_of(const Pb__Span *pb, const char *key) {
    return records_value(pb->attributes, pb->n_attributes, key);
}

static void attribute_of_every_type_is_recorded(void **state) {
    (void)state;
    const int64_t numbers[] = {1, -2, 3};
    struct sonde_attribute list = {.key = SONDE_KEY("list"), .type = SONDE_VALUE_INT64_ARRAY, .size = 3};
    list.value.int64s = numbers;
    start();
    sonde_span_set_string(&span, SONDE_KEY("s"), "text\0more", 4);
    sonde_span_set_cstr(&span, SONDE_KEY("c"), "cstr");
    sonde_span_set_bool(&span, SONDE_KEY("t"), true);
    sonde_span_set_bool(&span, SONDE_KEY("f"), false);
    sonde_span_set_int64(&span, SONDE_KEY("i"), INT64_MIN);
    sonde_span_set_double(&span, SONDE_KEY("d"), 2.5);
    sonde_span_set_bytes(&span, SONDE_KEY("b"), "\0\xFF\1", 3);
    sonde_span_set(&span, &list);
    sonde_span_set_string(&span, SONDE_KEY("empty"), "", 0);
    Pb__Span *pb = finish();
    assert_int_equal(pb->n_attributes, 9);
    assert_string_equal(value_of(pb, "s")->string_value, "text");
    assert_string_equal(value_of(pb, "c")->string_value, "cstr");
    assert_true(value_of(pb, "t")->bool_value);
    assert_int_equal(value_of(pb, "f")->value_case, PB__ANY_VALUE__VALUE_BOOL_VALUE);
    assert_false(value_of(pb, "f")->bool_value);
    assert_true(value_of(pb, "i")->int_value == INT64_MIN);
    assert_true(value_of(pb, "d")->double_value == 2.5);
    assert_int_equal(value_of(pb, "b")->bytes_value.len, 3);
    assert_memory_equal(value_of(pb, "b")->bytes_value.data, "\0\xFF\1", 3);
    assert_int_equal(value_of(pb, "list")->array_value->n_values, 3);
    assert_string_equal(value_of(pb, "empty")->string_value, "");
    pb__span__free_unpacked(pb, NULL);
}

static void attribute_set_again_replaces_value_and_type(void **state) {
    (void)state;
    start();
    sonde_span_set_int64(&span, SONDE_KEY("first"), 1);
    sonde_span_set_string(&span, SONDE_KEY("key"), "old", 3);
    sonde_span_set_int64(&span, SONDE_KEY("last"), 3);
    sonde_span_set_int64(&span, sonde_key_cstr("key"), 300); /* another way to make the same key */
    sonde_span_set_double(&span, SONDE_KEY("last"), 0.5);
    sonde_span_set_bool(&span, SONDE_KEY("first"), true);
    Pb__Span *pb = finish();
    assert_int_equal(pb->n_attributes, 3);
    assert_int_equal(value_of(pb, "key")->int_value, 300);
    assert_true(value_of(pb, "last")->double_value == 0.5);
    assert_true(value_of(pb, "first")->bool_value);
    assert_string_equal(pb->name, "test");
    assert_int_equal(pb->dropped_attributes_count, 0);
    pb__span__free_unpacked(pb, NULL);
}

static void attribute_with_colliding_numbers_is_told_apart(void **state) {
    (void)state;
    struct sonde_key a = SONDE_KEY("aa"), b = SONDE_KEY("bb"), c = SONDE_KEY("aaa");
    memcpy(b.bits, a.bits, sizeof b.bits);
    memcpy(c.bits, a.bits, sizeof c.bits);
    start();
    sonde_span_set_int64(&span, a, 1);
    sonde_span_set_int64(&span, b, 2);
    sonde_span_set_int64(&span, c, 3);
    sonde_span_set_int64(&span, a, 4);
    Pb__Span *pb = finish();
    assert_int_equal(pb->n_attributes, 3);
    assert_int_equal(value_of(pb, "aa")->int_value, 4);
    assert_int_equal(value_of(pb, "bb")->int_value, 2);
    assert_int_equal(value_of(pb, "aaa")->int_value, 3);
    pb__span__free_unpacked(pb, NULL);
}

static void attribute_with_bad_text_is_repaired(void **state) {
    (void)state;
    start();
    sonde_span_set_string(&span, SONDE_KEY("value"), "a\xFFz", 3);
    sonde_span_set_int64(&span, sonde_key_cstr("k\xC3"), 1);
    sonde_span_set_int64(&span, sonde_key_cstr("k\xC3"), 2); /* replaces: it is the same key when repaired */
    sonde_span_set_string(&span, SONDE_KEY("good"), "gr\xC3\xBC\xC3\x9F", 6);
    Pb__Span *pb = finish();
    assert_int_equal(pb->n_attributes, 3);
    assert_string_equal(value_of(pb, "value")->string_value, "a\xEF\xBF\xBDz");
    assert_int_equal(value_of(pb, "k\xEF\xBF\xBD")->int_value, 2);
    assert_string_equal(value_of(pb, "good")->string_value, "gr\xC3\xBC\xC3\x9F");
    pb__span__free_unpacked(pb, NULL);
}

static void attribute_that_cannot_be_is_dropped_and_counted(void **state) {
    (void)state;
    char key[SONDE_KEY_SIZE_MAX + 2];
    memset(key, 'k', sizeof key);
    key[sizeof key - 1] = 0;
    struct sonde_attribute null = {.key = SONDE_KEY("null"), .type = SONDE_VALUE_STRING, .size = 3};
    struct sonde_stats before = {.size = sizeof before}, after = {.size = sizeof after};
    sonde_stats_get(&before);
    start();
    sonde_span_set_int64(&span, sonde_key_cstr(""), 1);
    sonde_span_set_string(&span, sonde_key_cstr(key), "x", 1);
    sonde_span_set(&span, &null);
    sonde_span_set_cstr(&span, SONDE_KEY("ignored"), NULL);
    sonde_span_set_int64(&span, sonde_key_n(key, SONDE_KEY_SIZE_MAX), 1); /* the longest there may be */
    Pb__Span *pb = finish();
    sonde_stats_get(&after);
    assert_int_equal(pb->n_attributes, 1);
    assert_int_equal(pb->dropped_attributes_count, 3);
    assert_int_equal(after.attributes_dropped - before.attributes_dropped, 3);
    pb__span__free_unpacked(pb, NULL);
}

static void attributes_over_the_count_limit_are_dropped_but_known_keys_still_change(void **state) {
    (void)state;
    char key[16];
    start();
    for (int i = 0; i < 130; i++) {
        snprintf(key, sizeof key, "key.%d", i);
        sonde_span_set_int64(&span, sonde_key_cstr(key), i);
    }
    sonde_span_set_int64(&span, SONDE_KEY("key.5"), 500);
    sonde_span_set_string(&span, SONDE_KEY("key.6"),
                          "a string that is longer than the short way takes: "
                          "................................................................"
                          "................................................................",
                          178);
    Pb__Span *pb = finish();
    assert_int_equal(pb->n_attributes, SONDE_SPAN_ATTRIBUTES_MAX);
    assert_int_equal(pb->dropped_attributes_count, 2);
    assert_int_equal(value_of(pb, "key.5")->int_value, 500);
    assert_int_equal(strlen(value_of(pb, "key.6")->string_value), 178);
    assert_null(value_of(pb, "key.129"));
    pb__span__free_unpacked(pb, NULL);
}

static void attribute_fills_extents_up_to_the_size_limit(void **state) {
    (void)state;
    char *text = malloc(70000), key[16];
    for (size_t i = 0; i < 70000; i++)
        text[i] = (char)('a' + i % 23);
    start();
    for (int i = 0; i < 20; i++) { /* 16 of them fit */
        snprintf(key, sizeof key, "big.%d", i);
        sonde_span_set_string(&span, sonde_key_cstr(key), text + i, 4000);
    }
    sonde_span_set_string(&span, SONDE_KEY("huge"), text, 70000);
    sonde_span_set_int64(&span, SONDE_KEY("small"), 1);
    Pb__Span *pb = finish();
    assert_int_equal(pb->n_attributes, 17);
    assert_int_equal(pb->dropped_attributes_count, 5);
    for (int i = 0; i < 16; i++) {
        snprintf(key, sizeof key, "big.%d", i);
        assert_int_equal(strlen(value_of(pb, key)->string_value), 4000);
        assert_memory_equal(value_of(pb, key)->string_value, text + i, 4000);
    }
    assert_non_null(value_of(pb, "small"));
    pb__span__free_unpacked(pb, NULL);
    free(text);
}

static void attribute_replaces_across_extents(void **state) {
    (void)state;
    char *text = malloc(9000);
    memset(text, 'x', 9000);
    start();
    sonde_span_set_string(&span, SONDE_KEY("front"), "f", 1);
    sonde_span_set_string(&span, SONDE_KEY("big"), text, 9000);
    sonde_span_set_string(&span, SONDE_KEY("back"), "b", 1);
    memset(text, 'y', 9000);
    sonde_span_set_string(&span, SONDE_KEY("big"), text, 8000);
    sonde_span_set_string(&span, SONDE_KEY("back"), "bb", 2);
    sonde_span_set_string(&span, SONDE_KEY("front"), "ff", 2);
    sonde_span_set_string(&span, SONDE_KEY("big"), "small", 5);
    sonde_span_set_string(&span, SONDE_KEY("more"), text, 3000);
    Pb__Span *pb = finish();
    assert_int_equal(pb->n_attributes, 4);
    assert_string_equal(value_of(pb, "front")->string_value, "ff");
    assert_string_equal(value_of(pb, "back")->string_value, "bb");
    assert_string_equal(value_of(pb, "big")->string_value, "small");
    assert_memory_equal(value_of(pb, "more")->string_value, text, 3000);
    pb__span__free_unpacked(pb, NULL);
    free(text);
}

static void extents_come_back_when_spans_end(void **state) {
    (void)state;
    char *text = calloc(1, 60000);
    memset(text, 'x', 60000);
    for (int i = 0; i < 2000; i++) { /* 15 extents each: the pool of 1,024 would be empty after 68 */
        start();
        sonde_span_set_string(&span, SONDE_KEY("big"), text, 60000);
        Pb__Span *pb = finish();
        assert_int_equal(pb->n_attributes, 1);
        pb__span__free_unpacked(pb, NULL);
    }
    free(text);
}

static void attribute_is_dropped_when_the_extents_are_used_up(void **state) {
    (void)state;
    struct sonde_span_options options = SONDE_SPAN_OPTIONS_INIT;
    struct sonde_span spans[SONDE_SPAN_SLOTS_PER_THREAD];
    char *text = malloc(60000);
    size_t held = 0, dropped = 0;
    memset(text, 'x', 60000);
    options.not_current = true;
    int taken[SONDE__EXTENTS], count = 0;
    while (count < (int)SONDE__EXTENTS - 30 && (taken[count] = sonde__extent_take()) >= 0)
        count++;
    for (int i = 0; i < 4; i++) { /* 30 extents are left, 15 go into each */
        sonde_span_start(&spans[i], SONDE_NAME("big"), &options);
        sonde_span_set_string(&spans[i], SONDE_KEY("big"), text, 60000);
        sonde_span_set_int64(&spans[i], SONDE_KEY("small"), i);
    }
    for (int i = 0; i < 4; i++) {
        sonde_span_end(&spans[i]);
        Pb__Span *pb = records_span();
        held += value_of(pb, "big") != NULL;
        dropped += pb->dropped_attributes_count;
        assert_non_null(value_of(pb, "small"));
        pb__span__free_unpacked(pb, NULL);
    }
    while (count)
        sonde__extent_give(taken[--count]);
    assert_int_equal(held, 2);
    assert_int_equal(dropped, 2);
    free(text);
}

/* ---- random spans against a model ---- */

static uint64_t seed = 42;
static uint32_t next(uint32_t below) {
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((seed >> 33) % below);
}

struct model {
    bool set;
    size_t size; /* of a string of 'a' + key; or SIZE_MAX: the number */
    int64_t number;
};

static void random_spans_agree_with_a_model(void **state) {
    (void)state;
    enum { KEYS = 40 };
    static char text[KEYS][3000];
    char key[64];
    for (int k = 0; k < KEYS; k++)
        memset(text[k], 'a' + k % 26, sizeof text[k]);
    for (int round = 0; round < 3000; round++) {
        struct model model[KEYS] = {{0}};
        size_t count = 0;
        start();
        for (uint32_t calls = next(60); calls; calls--) {
            uint32_t k = next(KEYS);
            snprintf(key, sizeof key, "some.attribute.number.%u", k);
            model[k].set = true;
            if (next(2)) {
                model[k].size = next(20) ? next(150) : next(3000);
                sonde_span_set_string(&span, sonde_key_cstr(key), text[k], model[k].size);
            } else {
                model[k].size = SIZE_MAX;
                model[k].number = (int64_t)(seed >> next(64));
                sonde_span_set_int64(&span, sonde_key_cstr(key), model[k].number);
            }
            if (next(10) == 0)
                sonde_span_set_name(&span, SONDE_NAME("renamed"));
            if (next(10) == 0)
                sonde_span_set_status(&span, SONDE_STATUS_ERROR, "oops");
        }
        Pb__Span *pb = finish();
        for (uint32_t k = 0; k < KEYS; k++) {
            snprintf(key, sizeof key, "some.attribute.number.%u", k);
            const Pb__AnyValue *value = value_of(pb, key);
            assert_int_equal(value != NULL, model[k].set);
            if (!value)
                continue;
            count++;
            if (model[k].size == SIZE_MAX) {
                assert_true(value->int_value == model[k].number);
            } else {
                assert_int_equal(strlen(value->string_value), model[k].size);
                assert_memory_equal(value->string_value, text[k], model[k].size);
            }
        }
        assert_int_equal(pb->n_attributes, count);
        assert_int_equal(pb->dropped_attributes_count, 0);
        pb__span__free_unpacked(pb, NULL);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(attribute_of_every_type_is_recorded),
        cmocka_unit_test(attribute_set_again_replaces_value_and_type),
        cmocka_unit_test(attribute_with_colliding_numbers_is_told_apart),
        cmocka_unit_test(attribute_with_bad_text_is_repaired),
        cmocka_unit_test(attribute_that_cannot_be_is_dropped_and_counted),
        cmocka_unit_test(attributes_over_the_count_limit_are_dropped_but_known_keys_still_change),
        cmocka_unit_test(attribute_fills_extents_up_to_the_size_limit),
        cmocka_unit_test(attribute_replaces_across_extents),
        cmocka_unit_test(extents_come_back_when_spans_end),
        cmocka_unit_test(attribute_is_dropped_when_the_extents_are_used_up),
        cmocka_unit_test(random_spans_agree_with_a_model),
    };
    setenv("SONDE_AGENT_SOCKET", "/nonexistent/sonde.sock", 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
