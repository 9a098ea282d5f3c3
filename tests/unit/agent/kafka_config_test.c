/* SPDX-License-Identifier: Apache-2.0 */
/* What librdkafka is told of the Kafka collector's options, and the patterns. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "agent/collect/kafka_config.h"
#include "tests/lib/fakes.h"
#include <sonde/err.h>
#include <string.h>

static char *brokers[] = {"a:1", "b:2"};
static struct sonde__kafka_config config;

static int setup(void **state) {
    (void)state;
    config = (struct sonde__kafka_config){.brokers = {brokers, 2},
                                          .request_timeout_ns = 3000000000u,
                                          .sasl_mechanism = "SCRAM-SHA-512",
                                          .sasl_username = "u",
                                          .sasl_password = "p",
                                          .ca_file = "/ca",
                                          .cert_file = "/cert",
                                          .key_file = "/key",
                                          .key_password = "k"};
    return 0;
}

static void expect(const rd_kafka_conf_t *conf, const char *property, const char *expected) {
    char value[256];
    size_t size = sizeof value;
    assert_int_equal(rd_kafka_conf_get(conf, property, value, &size), RD_KAFKA_CONF_OK);
    assert_string_equal(value, expected);
}
static void expect_unset(const rd_kafka_conf_t *conf, const char *property) {
    char value[256] = "";
    size_t size = sizeof value;
    assert_true(rd_kafka_conf_get(conf, property, value, &size) != RD_KAFKA_CONF_OK || !value[0]);
}

static rd_kafka_conf_t *made(enum sonde__kafka_purpose purpose) {
    rd_kafka_conf_t *conf = NULL;
    char text[256] = "";
    if (sonde__kafka_conf_make(&config, purpose, &conf, text, sizeof text) != 0)
        fail_msg("%s", text);
    return conf;
}

static void options_become_properties(void **state) {
    (void)state;
    config.security_protocol = 3;
    rd_kafka_conf_t *conf = made(SONDE__KAFKA_FOR_ALL);
    expect(conf, "bootstrap.servers", "a:1,b:2");
    expect(conf, "security.protocol", "sasl_ssl");
    expect(conf, "sasl.mechanisms", "SCRAM-SHA-512");
    expect(conf, "sasl.username", "u");
    expect(conf, "sasl.password", "p");
    expect(conf, "ssl.ca.location", "/ca");
    expect(conf, "ssl.certificate.location", "/cert");
    expect(conf, "ssl.key.location", "/key");
    expect(conf, "ssl.key.password", "k");
    expect(conf, "enable.ssl.certificate.verification", "true");
    expect(conf, "ssl.endpoint.identification.algorithm", "https"); /* the certificate must name the broker */
    expect(conf, "isolation.level", "read_uncommitted");
    expect(conf, "socket.timeout.ms", "3000");
    expect(conf, "enable.auto.commit", "false");
    expect_unset(conf, "group.id"); /* it joins no group */
    rd_kafka_conf_destroy(conf);
    config.insecure_skip_verify = true;
    conf = made(SONDE__KAFKA_FOR_STABLE);
    expect(conf, "isolation.level", "read_committed");
    expect(conf, "enable.ssl.certificate.verification", "false");
    expect(conf, "ssl.endpoint.identification.algorithm", "none");
    rd_kafka_conf_destroy(conf);
}

static void passwords_are_not_told_without_sasl(void **state) {
    (void)state;
    rd_kafka_conf_t *conf = made(SONDE__KAFKA_FOR_RECORDS);
    expect(conf, "security.protocol", "plaintext");
    expect_unset(conf, "sasl.password");
    expect(conf, "enable.partition.eof", "true");
    rd_kafka_conf_destroy(conf);
}

static void properties_win_and_bad_ones_are_named(void **state) {
    (void)state;
    char *keys[] = {"client.rack"}, *values[] = {"r1"}, text[256];
    config.properties = (struct sonde_string_map){keys, values, 1};
    rd_kafka_conf_t *conf = made(SONDE__KAFKA_FOR_ALL);
    expect(conf, "client.rack", "r1");
    rd_kafka_conf_destroy(conf);
    keys[0] = "no.such";
    assert_int_equal(sonde__kafka_conf_make(&config, SONDE__KAFKA_FOR_ALL, &conf, text, sizeof text), SONDE_EINVALID);
    assert_non_null(strstr(text, "properties.no.such: "));
    config.properties.count = 0;
    char long_name[5000];
    memset(long_name, 'a', sizeof long_name - 1);
    long_name[sizeof long_name - 1] = '\0';
    char *many[] = {long_name};
    config.brokers = (struct sonde_string_list){many, 1};
    assert_int_equal(sonde__kafka_conf_make(&config, SONDE__KAFKA_FOR_ALL, &conf, text, sizeof text), SONDE_EINVALID);
    assert_non_null(strstr(text, "brokers: "));
}

static void patterns_search_and_bad_ones_are_named(void **state) {
    (void)state;
    struct fakes fakes;
    struct sonde__kafka_rules rules;
    char text[256];
    char *good[] = {"^pay", "ship(s|ping)$"}, *bad[] = {"fine", "un(closed"};
    fakes_init(&fakes);
    struct sonde_alloc alloc = fakes_seams(&fakes).alloc;
    config.groups = (struct sonde_string_list){good, 2};
    assert_int_equal(sonde__kafka_rules_init(&rules, &config, &alloc, text, sizeof text), 0);
    assert_true(sonde__kafka_patterns_match(&rules.groups, "payments"));
    assert_true(sonde__kafka_patterns_match(&rules.groups, "eu-shipping"));
    assert_false(sonde__kafka_patterns_match(&rules.groups, "repay"));
    assert_false(sonde__kafka_patterns_match(&rules.exact, "payments"));
    sonde__kafka_rules_deinit(&rules, &alloc);
    config.exact_groups = (struct sonde_string_list){bad, 2};
    assert_int_equal(sonde__kafka_rules_init(&rules, &config, &alloc, text, sizeof text), SONDE_EINVALID);
    assert_non_null(strstr(text, "exact_groups: \"un(closed\""));
    sonde__kafka_rules_deinit(&rules, &alloc);
    assert_int_equal(fakes.live, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(options_become_properties, setup),
        cmocka_unit_test_setup(passwords_are_not_told_without_sasl, setup),
        cmocka_unit_test_setup(properties_win_and_bad_ones_are_named, setup),
        cmocka_unit_test_setup(patterns_search_and_bad_ones_are_named, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
