/* SPDX-License-Identifier: Apache-2.0 */
/* The validator against protobuf-c: what it accepts, a decoder must accept; what the library writes, it must accept. */
#include "instrumentation/ring/layout.h"
#include "instrumentation/wire/skim.h"
#include "instrumentation/wire/validate.h"
#include "instrumentation/wire/writer.h"
#include "telemetry.pb-c.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static uint64_t random_state = 88172645463325252u;
static uint64_t random_next(void) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

static void write_attribute(struct sonde__writer *w, uint32_t field) {
    static const int64_t numbers[] = {1, -1, INT64_MAX};
    static const struct sonde_string strings[] = {{"a", 1}, {"\xE2\x82\xAC", 3}};
    char text[200];
    memset(text, 'a' + (int)(random_next() % 26), sizeof text);
    struct sonde_attribute a = sonde_attribute_string_n(SONDE_KEY("http.route"), text, random_next() % sizeof text);
    switch (random_next() % 6) {
    case 0:
        a = sonde_attribute_int64(SONDE_KEY("n"), (int64_t)random_next());
        break;
    case 1:
        a = sonde_attribute_double(SONDE_KEY("ratio"), 0.5);
        break;
    case 2:
        a = (struct sonde_attribute){SONDE_KEY("list"), SONDE_VALUE_INT64_ARRAY, 3, {.int64s = numbers}};
        break;
    case 3:
        a = (struct sonde_attribute){SONDE_KEY("words"), SONDE_VALUE_STRING_ARRAY, 2, {.strings = strings}};
        break;
    default:
        break;
    }
    sonde__write_attribute(w, field, &a, SIZE_MAX);
}

static void write_id(struct sonde__writer *w, uint32_t field, size_t size) {
    uint64_t id[2] = {random_next(), random_next()};
    sonde__write_bytes(w, field, id, size);
}

static void write_event(struct sonde__writer *w) {
    uint8_t *event = sonde__write_begin(w, 11);
    sonde__write_fixed64(w, 1, random_next());
    sonde__write_string(w, 2, "exception", 9, SIZE_MAX);
    write_attribute(w, 3);
    sonde__write_end(w, event);
}

static void write_link(struct sonde__writer *w) {
    uint8_t *link = sonde__write_begin(w, 13);
    write_id(w, 1, 16);
    write_id(w, 2, 8);
    sonde__write_string(w, 3, "a=b", 3, SIZE_MAX);
    sonde__write_fixed32(w, 6, 0x101);
    sonde__write_end(w, link);
}

/* A span with some of everything. Returns its size. */
static size_t span_make(uint8_t *to, size_t room) {
    struct sonde__writer w;
    sonde__writer_init(&w, to, room);
    write_id(&w, 1, 16);
    write_id(&w, 2, 8);
    sonde__write_fixed64(&w, 7, random_next());
    sonde__write_fixed64(&w, 8, random_next());
    sonde__write_uint(&w, 6, random_next() % 6);
    sonde__write_raw(&w, "\x85\x01\x01\x01\0\0", 6);
    if (random_next() & 1)
        write_id(&w, 4, 8);
    sonde__write_string(&w, 5, "GET /caf\xC3\xA9", 10, SIZE_MAX);
    for (uint64_t n = random_next() % 5; n > 0; n--)
        write_attribute(&w, 9);
    if (random_next() & 1)
        write_event(&w);
    if (random_next() & 1)
        write_link(&w);
    uint8_t *status = sonde__write_begin(&w, 15);
    sonde__write_uint(&w, 3, random_next() % 3);
    sonde__write_end(&w, status);
    assert_false(w.full);
    return sonde__writer_size(&w);
}

static size_t log_make(uint8_t *to, size_t room) {
    struct sonde__writer w;
    sonde__writer_init(&w, to, room);
    sonde__write_fixed64(&w, 1, random_next());
    sonde__write_fixed64(&w, 11, random_next());
    sonde__write_uint(&w, 2, random_next() % 25);
    uint8_t *body = sonde__write_begin(&w, 5);
    sonde__write_string(&w, 1, "it broke", 8, SIZE_MAX);
    sonde__write_end(&w, body);
    write_attribute(&w, 6);
    write_attribute(&w, 6);
    write_id(&w, 9, 16);
    write_id(&w, 10, 8);
    sonde__write_fixed32(&w, 8, 1);
    sonde__write_string(&w, 12, "order.placed", 12, SIZE_MAX);
    return sonde__writer_size(&w);
}

/* An exact copy, so that ASan sees any read past it. */
static uint8_t *mutate(const uint8_t *from, size_t *size) {
    size_t cut = random_next() % 4 ? *size : 1 + random_next() % *size;
    uint8_t *copy = malloc(cut);
    assert_non_null(copy);
    memcpy(copy, from, cut);
    for (uint64_t n = random_next() % 4; n > 0; n--)
        copy[random_next() % cut] = random_next() & 1 ? (uint8_t)random_next() : copy[random_next() % cut];
    *size = cut;
    return copy;
}

static void span_valid_means_that_a_decoder_accepts_it(void **state) {
    (void)state;
    uint8_t bytes[4096];
    unsigned accepted = 0;
    for (int i = 0; i < 40000; i++) {
        size_t size = span_make(bytes, sizeof bytes);
        if (i % 8 == 0)
            assert_true(sonde__span_is_valid(bytes, size));
        uint8_t *copy = mutate(bytes, &size);
        struct sonde__span_fields fields;
        bool skimmed = sonde__span_skim(copy, size, NULL, &fields);
        size_t prefix = sonde__span_valid_prefix(copy, size);
        assert_true(prefix == 0 || sonde__span_is_valid(copy, prefix));
        if (sonde__span_is_valid(copy, size)) {
            accepted++;
            assert_true(skimmed);
            assert_int_equal(prefix, size);
            Pb__Span *span = pb__span__unpack(NULL, size, copy);
            assert_non_null(span);
            assert_int_equal(span->trace_id.len, 16);
            assert_memory_equal(span->trace_id.data, fields.trace_id, 16);
            assert_memory_equal(span->span_id.data, fields.span_id, 8);
            assert_int_equal(span->start_time_unix_nano, fields.start_unix_ns);
            assert_int_equal(span->end_time_unix_nano, fields.end_unix_ns);
            assert_int_equal(span->kind, (int)fields.kind);
            assert_int_equal(span->flags, fields.flags);
            pb__span__free_unpacked(span, NULL);
        }
        free(copy);
    }
    assert_in_range(accepted, 5000, 35000);
}

static void log_valid_means_that_a_decoder_accepts_it(void **state) {
    (void)state;
    uint8_t bytes[2048];
    unsigned accepted = 0;
    for (int i = 0; i < 20000; i++) {
        size_t size = log_make(bytes, sizeof bytes);
        assert_true(sonde__log_is_valid(bytes, size));
        uint8_t *copy = mutate(bytes, &size);
        struct sonde__log_fields fields;
        bool skimmed = sonde__log_skim(copy, size, NULL, &fields);
        if (sonde__log_is_valid(copy, size)) {
            accepted++;
            assert_true(skimmed);
            Pb__LogRecord *log = pb__log_record__unpack(NULL, size, copy);
            assert_non_null(log);
            assert_int_equal(log->time_unix_nano, fields.time_unix_ns);
            assert_int_equal((uint32_t)log->severity_number, fields.severity);
            pb__log_record__free_unpacked(log, NULL);
        }
        free(copy);
    }
    assert_in_range(accepted, 2000, 18000);
}

static void span_is_refused_when_a_field_is_wrong(void **state) {
    (void)state;
    static const struct {
        const char *bytes;
        size_t size;
        bool valid;
    } rows[] = {
        {"", 0, true},         /* nothing appended: the span alone */
        {"\x50\x01", 2, true}, /* dropped attributes */
        {"\x4A\x07\x0A\x01k\x12\x02\x10\x01", 9, true},
        {"\x4A\x07\x0A\x01k\x12\x02\x10\x02", 9, false},          /* a bool of 2 */
        {"\x4A\x04\x12\x02\x10\x01", 6, false},                   /* no key */
        {"\x4A\x06\x0A\x01k\x0A\x01k", 8, false},                 /* two keys */
        {"\x4A\x09\x0A\x01k\x12\x04\x10\x01\x10\x01", 11, false}, /* two kinds of value */
        {"\x4A\x05\x0A\x01k\x12\x00", 7, true},                   /* the empty value */
        {"\x4A\x03\x0A\x01\xFF", 5, false},                       /* not UTF-8 */
        {"\x0A\x10\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 18, false},  /* zero trace id */
        {"\x12\x08\0\0\0\0\0\0\0\0", 10, false},                  /* zero span id */
        {"\x12\x04\1\2\3\4", 6, false},
        {"\x22\x00", 2, true}, /* no parent */
        {"\x22\x08\0\0\0\0\0\0\0\0", 10, false},
        {"\x30\x06", 2, false},         /* kind */
        {"\x7A\x02\x18\x03", 4, false}, /* status */
        {"\x7A\x02\x18\x02", 4, true},
        {"\x8A\x01\x00", 3, false},                 /* field 17 */
        {"\xCA\x00\x00", 3, false},                 /* a tag spelled longer than it is */
        {"\x4B", 1, false},                         /* a group */
        {"\x50\x80\x80\x80\x80\x10", 6, false},     /* over uint32 */
        {"\x2A\x80\x80\x80\x80\x80\x00", 7, false}, /* a length of 6 bytes */
        {"\x6A\x02\x1A\x00", 4, false},             /* a link without ids */
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint8_t bytes[4096];
        size_t size = span_make(bytes, sizeof bytes);
        memcpy(bytes + size, rows[i].bytes, rows[i].size);
        if (sonde__span_is_valid(bytes, size + rows[i].size) != rows[i].valid)
            fail_msg("row %zu", i);
    }
}

static size_t nested_make(uint8_t *to, size_t room, unsigned depth) {
    struct sonde__writer w;
    sonde__writer_init(&w, to, room);
    write_id(&w, 1, 16);
    write_id(&w, 2, 8);
    uint8_t *open[100], **last = open;
    *last++ = sonde__write_begin(&w, 9);
    sonde__write_string(&w, 1, "k", 1, SIZE_MAX);
    *last++ = sonde__write_begin(&w, 2);
    for (unsigned i = 0; i < depth; i++) {
        *last++ = sonde__write_begin(&w, 5);
        *last++ = sonde__write_begin(&w, 1);
    }
    while (last > open)
        sonde__write_end(&w, *--last);
    return sonde__writer_size(&w);
}

static void span_is_refused_when_values_nest_too_deep(void **state) {
    (void)state;
    uint8_t bytes[2048];
    assert_true(sonde__span_is_valid(bytes, nested_make(bytes, sizeof bytes, SONDE__VALUE_DEPTH_MAX)));
    assert_false(sonde__span_is_valid(bytes, nested_make(bytes, sizeof bytes, SONDE__VALUE_DEPTH_MAX + 1)));
}

static void resource_and_scope_are_checked(void **state) {
    (void)state;
    assert_true(sonde__resource_is_valid("", 0));
    assert_true(sonde__resource_is_valid("\x0A\x07\x0A\x01k\x12\x02\x10\x01", 9));
    assert_false(sonde__resource_is_valid("\x0A\x07\x0A\x01k\x12\x02\x10", 8));
    assert_false(sonde__resource_is_valid("\x1A\x00", 2));
    assert_true(sonde__scope_is_valid("\x0A\x01s\x12\x01v", 6));
    assert_false(sonde__scope_is_valid("\x0A\x01\xC0", 3));
    assert_false(sonde__scope_is_valid("\x0A\x02s", 3));
}

static void skim_finds_what_it_is_asked_for_in_any_order(void **state) {
    (void)state;
    uint8_t bytes[1024];
    struct sonde__writer w;
    sonde__writer_init(&w, bytes, sizeof bytes);
    struct sonde_attribute route = sonde_attribute_string(SONDE_KEY("http.route"), "/a");
    struct sonde_attribute code = sonde_attribute_int64(SONDE_KEY("http.response.status_code"), -7);
    struct sonde_attribute ratio = sonde_attribute_double(SONDE_KEY("r"), 0.25);
    sonde__write_attribute(&w, 9, &code, SIZE_MAX);
    sonde__write_raw(&w, "\x7A\x02\x18\x02", 4);
    sonde__write_string(&w, 5, "name", 4, SIZE_MAX);
    sonde__write_raw(&w, "\x9A\x06\x03xyz", 6); /* a field of a later version is passed over */
    write_id(&w, 2, 8);
    sonde__write_attribute(&w, 9, &route, SIZE_MAX);
    sonde__write_raw(&w, "\x4A\x07\x12\x02\x10\x01\x0A\x01z", 9); /* value before key */
    write_id(&w, 1, 16);
    sonde__write_attribute(&w, 9, &ratio, SIZE_MAX);
    struct sonde__skim_keys keys;
    sonde__skim_keys_init(&keys);
    static const char *const names[] = {"http.route", "http.response.status_code", "r", "z", "absent", "http.rouge"};
    for (int i = 0; i < 6; i++)
        assert_int_equal(sonde__skim_keys_add(&keys, names[i]), i);
    struct sonde__span_fields f;
    assert_true(sonde__span_skim(bytes, sonde__writer_size(&w), &keys, &f));
    assert_int_equal(f.status, 2);
    assert_int_equal(f.name_size, 4);
    assert_null(f.parent_id);
    assert_int_equal(f.values[0].type, SONDE__VALUE_STRING);
    assert_memory_equal(f.values[0].data, "/a", 2);
    assert_int_equal(f.values[1].integer, -7);
    assert_true(f.values[2].type == SONDE__VALUE_DOUBLE && f.values[2].real == 0.25);
    assert_true(f.values[3].type == SONDE__VALUE_BOOL && f.values[3].integer == 1);
    assert_int_equal(f.values[4].type, SONDE__VALUE_ABSENT);
    assert_int_equal(f.values[5].type, SONDE__VALUE_ABSENT);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(span_valid_means_that_a_decoder_accepts_it),
        cmocka_unit_test(log_valid_means_that_a_decoder_accepts_it),
        cmocka_unit_test(span_is_refused_when_a_field_is_wrong),
        cmocka_unit_test(span_is_refused_when_values_nest_too_deep),
        cmocka_unit_test(resource_and_scope_are_checked),
        cmocka_unit_test(skim_finds_what_it_is_asked_for_in_any_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
