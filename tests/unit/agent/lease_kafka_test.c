/* SPDX-License-Identifier: Apache-2.0 */
/* Names of leases by Kafka, what is refused, and one whose brokers are not there: it is never held, and ends at once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "agent/collect/lease.h"
#include "agent/collect/lease_kafka.h"
#include <sonde/err.h>
#include <stdio.h>
#include <string.h>

static char text[300];

static void names_are_taken_apart(void **state) {
    (void)state;
    struct sonde__kafka_lease_name name;
    assert_int_equal(sonde__kafka_lease_parse("a:9092/sonde/leases", &name, text, sizeof text), 0);
    assert_string_equal(name.brokers, "a:9092");
    assert_string_equal(name.group, "sonde");
    assert_string_equal(name.topic, "leases");
    assert_int_equal(sonde__kafka_lease_parse("a:1,[::1]:2/of a/team's/t_1.x-y", &name, text, sizeof text), 0);
    assert_string_equal(name.brokers, "a:1,[::1]:2");
    assert_string_equal(name.group, "of a/team's"); /* a group may be called anything */
    assert_string_equal(name.topic, "t_1.x-y");
}

static void other_names_are_refused(void **state) {
    (void)state;
    static const char *const bad[] = {"",          "a:1",      "a:1/g",          "a:1/g/",    "a:1//t",    "/g/t",
                                      ":1/g/t",    ",a:1/g/t", "a b:1/g/t",      "a:1/g/t u", "a:1/g/t:u", "a:1/g/..",
                                      "a:1/g\n/t", "a:1/g/.",  "a:1/g/\xc3\xa4", "a:1/g/t,u", "a\n:1/g/t", "a=1/g/t"};
    struct sonde__kafka_lease_name name;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        text[0] = '\0';
        assert_int_equal(sonde__kafka_lease_parse(bad[i], &name, text, sizeof text), SONDE_EINVALID);
        assert_non_null(strstr(text, "kafka:HOST:PORT"));
    }
}

static void each_part_has_its_longest(void **state) {
    (void)state;
    struct sonde__kafka_lease_name name;
    char longest[1200], part[700];
    memset(part, 'x', sizeof part);
    for (int over = 0; over < 4; over++) {
        (void)snprintf(longest, sizeof longest, "%.*s/%.*s/%.*s", 599 + (over == 1), part, 255 + (over == 2), part,
                       249 + (over == 3), part);
        assert_int_equal(sonde__kafka_lease_parse(longest, &name, text, sizeof text), over ? SONDE_EINVALID : 0);
    }
}

/* --- with the library --- */

static struct sonde_loop *loop;

static int setup(void **state) {
    (void)state;
    text[0] = '\0';
    return sonde_loop_create(&loop);
}
static int teardown(void **state) {
    (void)state;
    sonde_loop_destroy(loop);
    return 0;
}

static int create(const char *lease, char *key, char *value, struct sonde__lease **ret_lease) {
    struct sonde_string_map properties = {&key, &value, key ? 1 : 0};
    struct sonde_collector_env env = {.name = "redis",
                                      .lease = lease,
                                      .lease_properties = &properties,
                                      .loop = loop,
                                      .seams = sonde_loop_seams(loop)};
    return sonde__lease_create(&env, 1000000000, ret_lease, text, sizeof text);
}

static void check_refused(const char *lease, const char *key, const char *value, const char *word) {
    struct sonde__lease *made = NULL;
    assert_int_equal(create(lease, (char *)(uintptr_t)key, (char *)(uintptr_t)value, &made), SONDE_EINVALID);
    if (!strstr(text, word))
        fail_msg("\"%s\" does not say %s", text, word);
}

static void properties_are_checked(void **state) {
    (void)state;
    check_refused("kafka:a:1/g/t", "no.such", "1", "lease_properties.no.such");
    check_refused("kafka:a:1/g/t", "session.timeout.ms", "soon", "lease_properties.session.timeout.ms");
    check_refused("kafka:a:1/g/t", "session.timeout.ms", "1000", "at least 2000");
    check_refused("kafka:a:1/g/t", "group.id", "another", "lease_properties.group.id");
    check_refused("kafka:a:1/g/t", "security.protocol", "sasl_plaintext", "sasl"); /* without a user */
    check_refused("file:/tmp/lease", "security.protocol", "ssl", "by Kafka only");
    check_refused("kafka:a:1", NULL, NULL, "kafka:HOST:PORT");
    check_refused("everyone", NULL, NULL, "kafka:HOST:PORT");
}

static void without_brokers_it_is_not_held(void **state) {
    (void)state;
    struct sonde__lease *lease = NULL;
    const char *trouble;
    assert_int_equal(create("kafka:127.0.0.1:1/g/t", NULL, NULL, &lease), 0);
    assert_false(sonde__lease_hold(lease, &trouble));
    sonde__lease_destroy(lease);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_taken_apart),
        cmocka_unit_test(other_names_are_refused),
        cmocka_unit_test(each_part_has_its_longest),
        cmocka_unit_test_setup_teardown(properties_are_checked, setup, teardown),
        cmocka_unit_test_setup_teardown(without_brokers_it_is_not_held, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
