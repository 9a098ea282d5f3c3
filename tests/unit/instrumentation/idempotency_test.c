/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <sonde/carrier/http.h>
#include <sonde/carrier/kafka.h>
#include <sonde/err.h>
#include <sonde/resilience/idempotency.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/instrumentation/conventional.h"

static void a_made_key_is_a_random_uuid(void **state) {
    (void)state;
    struct sonde_idempotency_key first, second;
    sonde_idempotency_key_make(&first);
    sonde_idempotency_key_make(&second);
    assert_int_equal(first.size, 36);
    assert_int_equal(strlen(first.text), 36);
    assert_string_not_equal(first.text, second.text);
    for (int i = 0; i < 36; i++)
        assert_true(i == 8 || i == 13 || i == 18 || i == 23 ? first.text[i] == '-'
                                                            : strchr("0123456789abcdef", first.text[i]) != NULL);
    assert_int_equal(first.text[14], '4');
    assert_non_null(strchr("89ab", first.text[19]));
}

static void a_derived_key_is_a_function_of_its_parts(void **state) {
    (void)state;
    struct sonde_idempotency_key first, again, other;
    const struct sonde_string parts[] = {sonde_text("order-17"), sonde_text("charge")};
    const struct sonde_string shifted[] = {sonde_text("order-17c"), sonde_text("harge")};
    sonde_idempotency_key_derive(parts, 2, &first);
    sonde_idempotency_key_derive(parts, 2, &again);
    sonde_idempotency_key_derive(shifted, 2, &other);
    assert_int_equal(first.size, 32);
    assert_string_equal(first.text, again.text);
    assert_string_not_equal(first.text, other.text);
}

static struct sonde_idempotency_key key_of(const char *text) {
    struct sonde_idempotency_key key;
    memset(&key, 0, sizeof key);
    key.size = (uint8_t)strlen(text);
    memcpy(key.text, text, key.size);
    return key;
}

static void http_has_it_in_quotes_and_messages_bare(void **state) {
    (void)state;
    struct envelope envelope;
    struct sonde_carrier carrier = envelope_open(&envelope);
    struct sonde_idempotency_key key = key_of("a\"b\\c d"), back;
    assert_int_equal(sonde_idempotency_key_write(&key, SONDE_IDEMPOTENCY_HTTP, &carrier), 0);
    struct sonde_string value = envelope_get(&envelope, "idempotency-key");
    assert_int_equal(value.size, 11);
    assert_memory_equal(value.data, "\"a\\\"b\\\\c d\"", 11);
    assert_int_equal(sonde_idempotency_key_read(&carrier, &back), 0);
    assert_string_equal(back.text, key.text);
    assert_int_equal(back.size, key.size);

    struct sonde_pair pairs[2];
    char text[512];
    struct sonde_pairs headers = {pairs, 0, 2, text, sizeof text, 0};
    carrier = sonde_kafka_carrier(&headers);
    key = key_of("8e03978e-40d5-43e8-bc93-6894a57f9324");
    assert_int_equal(sonde_idempotency_key_write(&key, SONDE_IDEMPOTENCY_MESSAGE, &carrier), 0);
    assert_int_equal(headers.count, 1);
    assert_int_equal(pairs[0].value.size, 36);
    assert_int_equal(sonde_idempotency_key_read(&carrier, &back), 0);
    assert_string_equal(back.text, key.text);
}

static void the_longest_key_goes_through(void **state) {
    (void)state;
    struct envelope envelope;
    struct sonde_carrier carrier = envelope_open(&envelope);
    char text[SONDE_IDEMPOTENCY_KEY_SIZE_MAX + 1] = "";
    struct sonde_idempotency_key key, back;
    memset(text, '\\', SONDE_IDEMPOTENCY_KEY_SIZE_MAX);
    key = key_of(text);
    assert_int_equal(sonde_idempotency_key_write(&key, SONDE_IDEMPOTENCY_HTTP, &carrier), 0);
    assert_int_equal(sonde_idempotency_key_read(&carrier, &back), 0);
    assert_string_equal(back.text, text);
}

static void keys_are_read_as_peers_write_them(void **state) {
    (void)state;
    static const struct {
        const char *value, *key;
        int error;
    } rows[] = {
        {"\"abc\"", "abc", 0},
        {"abc", "abc", 0},
        {"  \"abc\" \t", "abc", 0},
        {"\"abc\";p=1", "abc", 0},
        {"a b", "a b", 0},
        {"\"\"", NULL, SONDE_EMALFORMED},
        {"", NULL, SONDE_EMALFORMED},
        {"\"abc", NULL, SONDE_EMALFORMED},
        {"\"abc\\", NULL, SONDE_EMALFORMED},
        {"\"a\\bc\"", NULL, SONDE_EMALFORMED},
        {"\"abc\" \"d\"", NULL, SONDE_EMALFORMED},
        {"\"abc\", \"d\"", NULL, SONDE_EMALFORMED},
        {"\xC3\xA4", NULL, SONDE_EMALFORMED},
        {"a\x01", NULL, SONDE_EMALFORMED},
    };
    struct sonde_idempotency_key key;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct envelope envelope;
        struct sonde_carrier carrier = envelope_open(&envelope);
        envelope_put(&envelope, "Idempotency-Key", rows[i].value);
        if (sonde_idempotency_key_read(&carrier, &key) != rows[i].error)
            fail_msg("%s", rows[i].value);
        assert_string_equal(key.text, rows[i].key ? rows[i].key : "");
    }
    struct envelope envelope;
    struct sonde_carrier carrier = envelope_open(&envelope);
    char text[SONDE_IDEMPOTENCY_KEY_SIZE_MAX + 2] = "";
    assert_int_equal(sonde_idempotency_key_read(&carrier, &key), SONDE_ENOTFOUND);
    memset(text, 'x', sizeof text - 1);
    envelope_put(&envelope, "idempotency-key", text);
    assert_int_equal(sonde_idempotency_key_read(&carrier, &key), SONDE_ETOOBIG);
    assert_int_equal(key.size, 0);
}

static void two_keys_that_differ_are_none(void **state) {
    (void)state;
    struct envelope envelope;
    struct sonde_carrier carrier = envelope_open(&envelope);
    struct sonde_idempotency_key key;
    envelope_put(&envelope, "idempotency-key", "\"a\"");
    envelope_put(&envelope, "idempotency-key", "a");
    assert_int_equal(sonde_idempotency_key_read(&carrier, &key), 0);
    envelope_put(&envelope, "idempotency-key", "b");
    assert_int_equal(sonde_idempotency_key_read(&carrier, &key), SONDE_EMALFORMED);
    assert_int_equal(key.size, 0);
}

static void keys_that_cannot_be_sent_are_refused(void **state) {
    (void)state;
    struct envelope envelope;
    struct sonde_carrier carrier = envelope_open(&envelope);
    struct sonde_idempotency_key none = key_of(""), bad = key_of("a\nb");
    assert_int_equal(sonde_idempotency_key_write(&none, SONDE_IDEMPOTENCY_HTTP, &carrier), SONDE_EINVALID);
    assert_int_equal(sonde_idempotency_key_write(&bad, SONDE_IDEMPOTENCY_MESSAGE, &carrier), SONDE_EINVALID);
    assert_int_equal(envelope.headers.count, 0);
}

static void fingerprints_are_the_beginning_of_sha_256(void **state) {
    (void)state;
    assert_true(sonde_idempotency_fingerprint("abc", 3) == 0xba7816bf8f01cfeaull);
    assert_true(sonde_idempotency_fingerprint(NULL, 0) == 0xe3b0c44298fc1c14ull);
}

static void spans_have_the_key_only_hashed(void **state) {
    (void)state;
    struct sonde_span span;
    sonde_span_start(&span, SONDE_NAME("pay"), NULL);
    sonde_idempotency_record(&span, sonde_text("abc"), SONDE_IDEMPOTENCY_CONFLICT);
    sonde_span_end(&span);
    span_take("pay", SONDE_SPAN_KIND_INTERNAL);
    span_has_text("sonde.idempotency.key", "ba7816bf8f01cfea");
    span_has_text("sonde.idempotency.result", "conflict");
    sonde_idempotency_record(NULL, sonde_text("abc"), SONDE_IDEMPOTENCY_CONFLICT);
    assert_int_equal(measured("sonde.idempotency.request", "conflict", NULL).count, 2);
    assert_int_equal(measured("sonde.idempotency.request", "abc", NULL).series, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_made_key_is_a_random_uuid),
        cmocka_unit_test(a_derived_key_is_a_function_of_its_parts),
        cmocka_unit_test(http_has_it_in_quotes_and_messages_bare),
        cmocka_unit_test(the_longest_key_goes_through),
        cmocka_unit_test(keys_are_read_as_peers_write_them),
        cmocka_unit_test(two_keys_that_differ_are_none),
        cmocka_unit_test(keys_that_cannot_be_sent_are_refused),
        cmocka_unit_test(fingerprints_are_the_beginning_of_sha_256),
        cmocka_unit_test_setup_teardown(spans_have_the_key_only_hashed, conventional_setup, conventional_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
