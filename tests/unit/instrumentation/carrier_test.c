/* SPDX-License-Identifier: Apache-2.0 */
/* The same expectations of every carrier that can be written to: HTTP pairs, libcurl's list, Redis Streams fields;
 * and reading from hiredis' reply. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <sonde/carrier/curl.h>
#include <sonde/carrier/hiredis.h>
#include <sonde/carrier/http.h>
#include <sonde/carrier/redis_streams.h>
#include <sonde/propagation.h>

enum { JOINED_MAX = 512 };
#define TEXT(literal) ((struct sonde_string){literal, sizeof(literal) - 1})

static const char *const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

struct fixture {
    struct sonde_http_header headers[8];
    struct sonde_http_headers http;
    const char *argv[20];
    size_t argvlen[20];
    struct sonde_redis_fields redis;
    struct curl_slist *list;
    char http_text[SONDE_HTTP_INJECT_SIZE], redis_text[SONDE_REDIS_INJECT_SIZE];
    struct sonde_carrier carriers[3];
};
static struct fixture f;

static int setup(void **state) {
    (void)state;
    memset(&f, 0, sizeof f);
    f.http = (struct sonde_http_headers){f.headers, 0, 8, f.http_text, sizeof f.http_text, 0};
    static const char *const xadd[] = {"XADD", "orders", "*"};
    for (size_t i = 0; i < 3; i++) {
        f.argv[i] = xadd[i];
        f.argvlen[i] = strlen(xadd[i]);
    }
    f.redis = (struct sonde_redis_fields){f.argv, f.argvlen, 3, 3, 20, f.redis_text, sizeof f.redis_text, 0};
    f.carriers[0] = sonde_http_carrier(&f.http);
    f.carriers[1] = sonde_redis_carrier(&f.redis);
    f.carriers[2] = sonde_curl_carrier(&f.list);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    curl_slist_free_all(f.list);
    return 0;
}

/** Adds without replacing, as an application or a peer would. */
static void add(int carrier, const char *name, const char *value) {
    if (carrier == 0) {
        f.headers[f.http.count++] = (struct sonde_http_header){{name, strlen(name)}, {value, strlen(value)}};
    } else if (carrier == 1) {
        f.argv[f.redis.count] = name;
        f.argvlen[f.redis.count++] = strlen(name);
        f.argv[f.redis.count] = value;
        f.argvlen[f.redis.count++] = strlen(value);
    } else {
        char line[256];
        (void)snprintf(line, sizeof line, "%s: %s", name, value);
        f.list = curl_slist_append(f.list, line);
    }
}

static bool join(void *user, struct sonde_string text) {
    char *joined = user;
    size_t used = strlen(joined);
    (void)snprintf(joined + used, JOINED_MAX - used, "%.*s|", (int)text.size, text.data);
    return true;
}

static void assert_keys(int carrier, const char *want) {
    char keys[JOINED_MAX] = "";
    f.carriers[carrier].ops->keys(f.carriers[carrier].self, join, keys);
    assert_string_equal(keys, want);
}

static void assert_values(int carrier, struct sonde_string name, const char *want) {
    char values[JOINED_MAX] = "";
    f.carriers[carrier].ops->each(f.carriers[carrier].self, name, join, values);
    assert_string_equal(values, want);
}

static void carrier_set_replaces_all_values_by_one(void **state) {
    for (int c = 0; c < 3; c++) {
        (void)state;
        const struct sonde_carrier *carrier = &f.carriers[c];
        struct sonde_string value;
        add(c, "x", "1");
        add(c, "y", "2");
        add(c, "x", "3");
        assert_values(c, TEXT("x"), "1|3|");
        assert_true(carrier->ops->get(carrier->self, TEXT("x"), &value));
        assert_memory_equal(value.data, "1", 1);
        assert_int_equal(carrier->ops->set(carrier->self, TEXT("x"), TEXT("longer")), 0);
        assert_values(c, TEXT("x"), "longer|");
        assert_int_equal(carrier->ops->set(carrier->self, TEXT("x"), TEXT("short")), 0);
        assert_values(c, TEXT("x"), "short|");
        assert_int_equal(carrier->ops->set(carrier->self, TEXT("z"), TEXT("new")), 0);
        assert_values(c, TEXT("z"), "new|");
        assert_values(c, TEXT("y"), "2|");
        carrier->ops->remove(carrier->self, TEXT("x"));
        carrier->ops->remove(carrier->self, TEXT("absent"));
        assert_false(carrier->ops->get(carrier->self, TEXT("x"), &value));
        assert_keys(c, "y|z|");
    }
}

static void carrier_remove_takes_neighbours_of_one_name(void **state) {
    (void)state;
    for (int c = 0; c < 3; c++) {
        static const char *const names[] = {"x", "x", "y", "x", "x"};
        for (size_t i = 0; i < 5; i++)
            add(c, names[i], "v");
        f.carriers[c].ops->remove(f.carriers[c].self, TEXT("x"));
        assert_keys(c, "y|");
    }
}

static void http_names_compare_without_case_and_values_are_trimmed(void **state) {
    (void)state;
    for (int c = 0; c < 3; c += 2) {
        add(c, "TraceParent", " \tvalue \t");
        assert_values(c, TEXT("traceparent"), "value|");
        assert_int_equal(f.carriers[c].ops->set(f.carriers[c].self, TEXT("traceparent"), TEXT("n")), 0);
        assert_values(c, TEXT("traceparent"), "n|");
    }
    add(1, "Traceparent", "v"); /* Redis fields have case */
    assert_values(1, TEXT("traceparent"), "");
}

static void http_set_refuses_bytes_that_would_split_the_header(void **state) {
    (void)state;
    for (int c = 0; c < 3; c += 2) {
        const struct sonde_carrier *carrier = &f.carriers[c];
        assert_int_equal(carrier->ops->set(carrier->self, TEXT("a"), TEXT("x\r\ny: z")), SONDE_EINVALID);
        assert_int_equal(carrier->ops->set(carrier->self, TEXT("a"), TEXT("x\0y")), SONDE_EINVALID);
        assert_int_equal(carrier->ops->set(carrier->self, TEXT("a"), TEXT("\xc3\xa9")), SONDE_EINVALID);
        assert_keys(c, "");
    }
    assert_int_equal(f.carriers[0].ops->set(f.carriers[0].self, TEXT("a:b"), TEXT("x")), SONDE_EINVALID);
}

static void http_set_judges_every_byte_at_every_position(void **state) {
    (void)state;
    for (size_t at = 0; at < 20; at++)
        for (int byte = 0; byte < 256; byte++) {
            char text[20];
            memset(text, byte == 0x7e ? 0x20 : 0x7e, sizeof text); /* the neighbours at the edge of the range */
            text[at] = (char)byte;
            struct sonde_string value = {text, sizeof text};
            bool good = byte == '\t' || (byte >= 0x20 && byte <= 0x7e);
            f.http.count = f.http.text_used = 0;
            assert_int_equal(f.carriers[0].ops->set(f.carriers[0].self, TEXT("a"), value), good ? 0 : SONDE_EINVALID);
        }
}

static void carrier_without_room_is_unchanged(void **state) {
    (void)state;
    f.http.capacity = 1;
    f.redis.capacity = 5;
    for (int c = 0; c < 2; c++) {
        const struct sonde_carrier *carrier = &f.carriers[c];
        add(c, "x", "1");
        assert_int_equal(carrier->ops->set(carrier->self, TEXT("y"), TEXT("2")), SONDE_ETOOBIG);
        f.http.text_size = f.redis.text_size = 4;
        assert_int_equal(carrier->ops->set(carrier->self, TEXT("x"), TEXT("four")), SONDE_ETOOBIG);
        assert_values(c, TEXT("x"), "1|");
        assert_int_equal(carrier->ops->set(carrier->self, TEXT("x"), TEXT("abc")), 0);
        assert_int_equal(carrier->ops->set(carrier->self, TEXT("x"), TEXT("xyz")), 0); /* in the room of the old */
        assert_values(c, TEXT("x"), "xyz|");
        assert_keys(c, "x|");
    }
}

static struct sonde_context make_context(const char *tracestate) {
    struct sonde_context context;
    memset(&context, 0, sizeof context);
    assert_int_equal(sonde_traceparent_read(traceparent, strlen(traceparent), &context.span), SONDE_EXTRACT_OK);
    assert_true(sonde_tracestate_append(&context, tracestate, strlen(tracestate)));
    return context;
}

static void context_comes_back_out_of_every_carrier(void **state) {
    (void)state;
    struct sonde_context with = make_context("a=1,b=2"), without = make_context(""), back;
    for (int c = 0; c < 3; c++) {
        add(c, "content-type", "text/plain");
        assert_int_equal(sonde_inject(&with, &f.carriers[c]), 0);
        assert_keys(c, "content-type|traceparent|tracestate|");
        assert_int_equal(sonde_extract(&f.carriers[c], &back), SONDE_EXTRACT_OK);
        assert_memory_equal(&back.span, &with.span, sizeof back.span);
        assert_int_equal(back.tracestate_length, 7);
        assert_memory_equal(back.tracestate, "a=1,b=2", 7);
        for (int retry = 0; retry < 50; retry++) /* a message that is sent again needs no more room */
            assert_int_equal(sonde_inject(&with, &f.carriers[c]), 0);
        assert_int_equal(sonde_inject(&without, &f.carriers[c]), 0);
        assert_keys(c, "content-type|traceparent|"); /* the stale tracestate is gone */
        assert_values(c, TEXT("traceparent"), "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01|");
    }
    assert_string_equal(f.headers[1].value.data, traceparent); /* NUL-terminated for C interfaces */
    assert_string_equal(f.argv[5], "traceparent");
    assert_int_equal(f.redis.count, 7);
}

static void inject_of_an_invalid_context_leaves_the_carrier_alone(void **state) {
    (void)state;
    struct sonde_context invalid;
    memset(&invalid, 0, sizeof invalid);
    for (int c = 0; c < 3; c++) {
        add(c, "tracestate", "a=1");
        assert_int_equal(sonde_inject(&invalid, &f.carriers[c]), 0);
        assert_values(c, TEXT("tracestate"), "a=1|");
        assert_keys(c, "tracestate|");
    }
}

static void inject_without_room_leaves_a_pair_that_belongs_together(void **state) {
    (void)state;
    struct sonde_context context = make_context("a=1");
    f.http.text_size = f.redis.text_size = 70; /* traceparent fits, tracestate does not */
    for (int c = 0; c < 2; c++) {
        add(c, "tracestate", "z=1");
        assert_int_equal(sonde_inject(&context, &f.carriers[c]), SONDE_ETOOBIG);
        assert_keys(c, "traceparent|");
    }
    (void)setup(state);
    f.http.text_size = f.redis.text_size = 10; /* nothing fits */
    for (int c = 0; c < 2; c++) {
        add(c, "traceparent", "old");
        add(c, "tracestate", "old=1");
        assert_int_equal(sonde_inject(&context, &f.carriers[c]), SONDE_ETOOBIG);
        assert_keys(c, "traceparent|tracestate|");
        assert_values(c, TEXT("traceparent"), "old|");
    }
}

static void inject_fits_the_longest_tracestate_into_the_advised_room(void **state) {
    (void)state;
    struct sonde_context context = make_context("");
    memset(context.tracestate, 'v', sizeof context.tracestate);
    context.tracestate[1] = context.tracestate[259] = context.tracestate[517] = context.tracestate[775] = '=';
    context.tracestate[257] = context.tracestate[515] = context.tracestate[773] = ',';
    context.tracestate_length = SONDE_TRACESTATE_SIZE_MAX;
    for (int c = 0; c < 3; c++)
        assert_int_equal(sonde_inject(&context, &f.carriers[c]), 0);
}

static void extract_writes_the_invalid_context_when_there_is_none(void **state) {
    (void)state;
    struct sonde_context context;
    memset(&context, 0x55, sizeof context);
    static const struct sonde_span_context zero;
    assert_int_equal(sonde_extract(&f.carriers[0], &context), SONDE_EXTRACT_ABSENT);
    assert_memory_equal(&context.span, &zero, sizeof zero);
    assert_int_equal(context.tracestate_length, 0);
    add(0, "traceparent", traceparent);
    add(0, "tracestate", "a=1,B=2");
    assert_int_equal(sonde_extract(&f.carriers[0], &context), SONDE_EXTRACT_TRACESTATE);
    assert_int_equal(context.span.is_remote, 1);
    assert_int_equal(context.tracestate_length, 0);
    add(0, "Traceparent", traceparent);
    assert_int_equal(sonde_extract(&f.carriers[0], &context), SONDE_EXTRACT_DUPLICATE);
    assert_memory_equal(&context.span, &zero, sizeof zero);
}

static void extract_does_with_get_alone(void **state) {
    (void)state;
    struct sonde_carrier_ops only_get = {.get = f.carriers[0].ops->get};
    struct sonde_carrier carrier = {&only_get, &f.http};
    struct sonde_context context;
    add(0, "traceparent", traceparent);
    add(0, "tracestate", "a=1");
    assert_int_equal(sonde_extract(&carrier, &context), SONDE_EXTRACT_OK);
    assert_int_equal(context.tracestate_length, 3);
    assert_int_equal(sonde_inject(&context, &carrier), SONDE_EINVALID);
}

static redisReply text_reply(const char *text) {
    return (redisReply){.type = REDIS_REPLY_STRING, .str = (char *)(uintptr_t)text, .len = strlen(text)};
}

static void hiredis_entry_is_a_carrier(void **state) {
    (void)state;
    redisReply texts[] = {text_reply("order_id"),  text_reply("7"),          text_reply("traceparent"),
                          text_reply(traceparent), text_reply("tracestate"), text_reply("a=1")};
    redisReply *elements[6];
    for (size_t i = 0; i < 6; i++)
        elements[i] = &texts[i];
    redisReply entry = {.type = REDIS_REPLY_ARRAY, .elements = 6, .element = elements}, nil = {.type = REDIS_REPLY_NIL};
    struct sonde_carrier carrier = sonde_hiredis_carrier(&entry);
    struct sonde_context context;
    assert_int_equal(sonde_extract(&carrier, &context), SONDE_EXTRACT_OK);
    assert_int_equal(context.tracestate_length, 3);
    struct sonde_string value;
    assert_true(carrier.ops->get(carrier.self, TEXT("order_id"), &value));
    assert_int_equal(value.size, 1);
    char keys[JOINED_MAX] = "";
    carrier.ops->keys(carrier.self, join, keys);
    assert_string_equal(keys, "order_id|traceparent|tracestate|");
    carrier = sonde_hiredis_carrier(&nil); /* a deleted entry, read again */
    assert_int_equal(sonde_extract(&carrier, &context), SONDE_EXTRACT_ABSENT);
    carrier = sonde_hiredis_carrier(NULL);
    assert_int_equal(sonde_extract(&carrier, &context), SONDE_EXTRACT_ABSENT);
}

int main(void) {
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(carrier_set_replaces_all_values_by_one),
        CASE(carrier_remove_takes_neighbours_of_one_name),
        CASE(http_names_compare_without_case_and_values_are_trimmed),
        CASE(http_set_refuses_bytes_that_would_split_the_header),
        CASE(http_set_judges_every_byte_at_every_position),
        CASE(carrier_without_room_is_unchanged),
        CASE(context_comes_back_out_of_every_carrier),
        CASE(inject_of_an_invalid_context_leaves_the_carrier_alone),
        CASE(inject_without_room_leaves_a_pair_that_belongs_together),
        CASE(inject_fits_the_longest_tracestate_into_the_advised_room),
        CASE(extract_writes_the_invalid_context_when_there_is_none),
        CASE(extract_does_with_get_alone),
        CASE(hiredis_entry_is_a_carrier),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
