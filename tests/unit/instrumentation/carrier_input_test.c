/* SPDX-License-Identifier: Apache-2.0 */
/* Hostile values and names, set into every carrier: one comes out again as it went in, to the byte and alone, or is
 * refused and has changed nothing. So no value can end its header, cut itself short, or put a header beside its own. */
#include "tests/unit/instrumentation/envelopes.h"

#define PIECE(literal)                                                                                                 \
    { literal, sizeof(literal) - 1 }

static const struct sonde_string values[] = {
    PIECE("a=1\r\nx-evil: 1"), PIECE("a=1\nx"), PIECE("a=1\rx"),   PIECE("a=1\0x"),      PIECE("a=\x7f"),
    PIECE("a=\x01"),           PIECE("a=\xff"), PIECE("a=\xc3"),   PIECE("a=\xc0\x80"),  PIECE("a=\xed\xa0\x80"),
    PIECE("a=\xc3\xa9"),       PIECE("a='*/"),  PIECE("a=\"\\,}"), PIECE("a=%00%0d%0a"),
};

static bool has_nul(struct sonde_string value) {
    return memchr(value.data, '\0', value.size) != NULL;
}

static bool is_ascii(struct sonde_string value) {
    for (size_t i = 0; i < value.size; i++)
        if (value.data[i] < 0x20 || value.data[i] > 0x7e)
            return false;
    return true;
}

/* Those with a byte over 0x7f, but for the one that is well-formed. */
static bool is_utf8(struct sonde_string value) {
    return !memchr(value.data, '\xff', value.size) && !memchr(value.data, '\xc0', value.size) &&
           !memchr(value.data, '\xed', value.size) && (!memchr(value.data, '\xc3', value.size) || value.size == 4);
}

static bool must_refuse(enum values kind, struct sonde_string value) {
    return (kind == ASCII && !is_ascii(value)) || ((kind == UTF8 || kind == NO_NUL) && has_nul(value)) ||
           ((kind == UTF8 || kind == CODED) && !is_utf8(value));
}

static unsigned keys_of(const struct sonde_carrier *carrier) {
    unsigned keys = 0;
    if (carrier->ops->keys)
        carrier->ops->keys(carrier->self, count, &keys);
    return keys;
}

static void assert_is(const struct sonde_carrier *carrier, struct sonde_string name, struct sonde_string want) {
    struct sonde_string value;
    assert_true(carrier->ops->get(carrier->self, name, &value));
    assert_int_equal(value.size, want.size);
    assert_memory_equal(value.data, want.data, want.size);
}

static void check_values(const struct envelope *envelope, const struct sonde_carrier *carrier) {
    struct sonde_string before = TEXT("a=0"), name = TEXT("tracestate");
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        assert_int_equal(carrier->ops->set(carrier->self, name, before), 0);
        unsigned keys = keys_of(carrier);
        int error = carrier->ops->set(carrier->self, name, values[i]);
        if (must_refuse(envelope->values, values[i]))
            assert_true(error != 0);
        assert_is(carrier, name, error ? before : values[i]);
        assert_int_equal(count_of(carrier, name), 1);
        assert_int_equal(keys_of(carrier), keys);
        assert_int_equal(count_of(carrier, TEXT("x-evil")), 0);
    }
}
static void hostile_values_are_refused_or_come_back_whole(void **state) {
    (void)state;
    each_envelope(check_values);
}

static void check_names(const struct envelope *envelope, const struct sonde_carrier *carrier) {
    static const struct sonde_string names[] = {
        PIECE("a\r\nx-evil: 1\r\nb"), PIECE("a\nb"), PIECE("a\0b"), PIECE("a: b"), PIECE("\xc3\xa9"), PIECE("\xff"),
        PIECE("a='1',x-evil"),        PIECE("a\"b"), PIECE(""),
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        unsigned keys = keys_of(carrier);
        int error = carrier->ops->set(carrier->self, names[i], TEXT("v"));
        if (envelope->values == ASCII && i < 6)
            assert_true(error != 0);
        if (error) {
            assert_int_equal(keys_of(carrier), keys);
            assert_int_equal(count_of(carrier, names[i]), 0);
        } else {
            assert_is(carrier, names[i], TEXT("v"));
            assert_true(keys_of(carrier) <= keys + 1); /* JSON's leave out those with escapes */
            carrier->ops->remove(carrier->self, names[i]);
        }
        assert_int_equal(count_of(carrier, TEXT("a")), 0);
        assert_int_equal(count_of(carrier, TEXT("x-evil")), 0);
    }
}
static void hostile_names_are_refused_or_come_back_whole(void **state) {
    (void)state;
    each_envelope(check_names);
}

static void check_sizes(const struct envelope *envelope, const struct sonde_carrier *carrier) {
    static char huge[TEXT_SIZE * 2];
    (void)envelope;
    memset(huge, 'v', sizeof huge);
    assert_int_equal(carrier->ops->set(carrier->self, TEXT("tracestate"), TEXT("a=0")), 0);
    static const size_t sizes[] = {255, 256, 1024, 1025, 4096, 8192, 8193, 65535, 65536, sizeof huge};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct sonde_string value = {huge, sizes[i]}, now;
        int error = carrier->ops->set(carrier->self, TEXT("tracestate"), value);
        assert_int_equal(count_of(carrier, TEXT("tracestate")) <= 1, 1);
        if (error == 0 && carrier->ops->get(carrier->self, TEXT("tracestate"), &now))
            assert_int_equal(now.size, sizes[i]);
        if (error) {
            assert_true(error == SONDE_ETOOBIG || error == SONDE_EINVALID);
            if (carrier->ops->get(carrier->self, TEXT("tracestate"), &now))
                assert_true(now.size < sizes[i]);
        }
    }
    memset(huge, 'n', sizeof huge);
    unsigned keys = keys_of(carrier);
    if (carrier->ops->set(carrier->self, (struct sonde_string){huge, sizeof huge}, TEXT("v")) != 0)
        assert_int_equal(keys_of(carrier), keys);
}
static void sizes_are_capped(void **state) {
    (void)state;
    each_envelope(check_sizes);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hostile_values_are_refused_or_come_back_whole),
        cmocka_unit_test(hostile_names_are_refused_or_come_back_whole),
        cmocka_unit_test(sizes_are_capped),
    };
    if (!envelopes_begin())
        return 1;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    envelopes_end();
    return failed;
}
