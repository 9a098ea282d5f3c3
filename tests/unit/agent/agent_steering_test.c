/* SPDX-License-Identifier: Apache-2.0 */
/* What an operator wants of services: names, ratios, levels, who may say so, and what services read of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
/* after the three above */
#include <cmocka.h>

#include "agent/config/config.h"
#include "agent/receive/steering.h"
#include "instrumentation/trace/sampler.h"
#include "tests/lib/fakes.h"
#include <math.h>
#include <sonde/err.h>
#include <stdlib.h>
#include <string.h>

static void ratios_and_levels_are_read(void **state) {
    (void)state;
    static const char *const bad[] = {"",    "1.5", "-0.1", "nan",    "NaN",   "inf", "0,5",
                                      "1/2", "50%", "off",  "0x1p-1", "1e400", " 1"};
    double ratio = 7;
    uint32_t severity = 0;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(sonde_steering_ratio_parse(bad[i], &ratio));
    assert_true(ratio > 6);
    assert_true(sonde_steering_ratio_parse("2.5e-1", &ratio) && ratio > 0.2499 && ratio < 0.2501);
    assert_true(sonde_steering_ratio_parse("0", &ratio) && sonde_steering_ratio_parse("1", &ratio));
    assert_true(sonde_steering_level_parse("WARN", &severity));
    assert_int_equal(severity, 13);
    assert_false(sonde_steering_level_parse("warning", &severity));
    assert_string_equal(sonde_steering_level_name(14), "warn"); /* WARN2 */
    assert_string_equal(sonde_steering_level_name(0), "");
}

static void rules_are_set_and_taken_back(void **state) {
    (void)state;
    struct sonde_steering steering = {.count = 0};
    char long_name[200];
    assert_int_equal(sonde_steering_sample(&steering, "shop", 0.25, true), 0);
    assert_int_equal(sonde_steering_log_level(&steering, "shop", 17, true), 0);
    assert_int_equal(steering.count, 1);
    assert_int_equal(sonde_steering_sample(&steering, "shop", (double)NAN, true), SONDE_EINVALID);
    assert_int_equal(sonde_steering_sample(&steering, "", 1, true), SONDE_EINVALID);
    assert_int_equal(sonde_steering_sample(&steering, "a\nb", 1, true), SONDE_EINVALID);
    assert_int_equal(sonde_steering_log_level(&steering, "shop", 25, true), SONDE_EINVALID);
    memset(long_name, 'x', sizeof long_name);
    long_name[128] = '\0';
    assert_int_equal(sonde_steering_sample(&steering, long_name, 1, true), SONDE_EINVALID);
    assert_int_equal(sonde_steering_sample_off(&steering, "shop"), 0);
    assert_int_equal(sonde_steering_sample_off(&steering, "shop"), SONDE_ENOTFOUND);
    assert_int_equal(steering.count, 1); /* the level stays */
    assert_int_equal(sonde_steering_log_level_off(&steering, "shop"), 0);
    assert_int_equal(steering.count, 0);
    for (unsigned i = 0; i < SONDE__STEERINGS; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "s%u", i);
        assert_int_equal(sonde_steering_sample(&steering, name, 1, true), 0);
    }
    assert_int_equal(sonde_steering_sample(&steering, "one more", 1, true), SONDE_EFULL);
    assert_int_equal(sonde_steering_sample(&steering, "s7", 0.5, true), 0);
}

static void services_read_what_is_published(void **state) {
    (void)state;
    struct sonde_steering steering = {.count = 0};
    struct sonde__control *page = calloc(1, SONDE__CONTROL_SIZE);
    assert_non_null(page);
    page->start_unix_ns = 1700000000000000000u;
    sonde__steering_name_set("shop", 4);
    atomic_store(&sonde__control_page, page);
    assert_int_equal(sonde_steering_sample(&steering, "*", 0, true), 0);
    assert_int_equal(sonde_steering_sample(&steering, "shop", 0.25, true), 0);
    sonde_steering_publish(&steering, page);
    assert_true(sonde__steering_sampling() == (SONDE__STEERING_SAMPLES | 0xc0000000000000));
    assert_int_equal(sonde_steering_sample_off(&steering, "shop"), 0);
    sonde_steering_publish(&steering, page);
    assert_true(sonde__steering_sampling() == (SONDE__STEERING_SAMPLES | SONDE__THRESHOLD_MAX));
    assert_int_equal(sonde_steering_sample_off(&steering, "*"), 0);
    assert_int_equal(sonde_steering_log_level(&steering, "*", 13, true), 0);
    sonde_steering_publish(&steering, page);
    assert_true(sonde__steering_sampling() == 0 && sonde__steering_severity() == 13);
    atomic_store(&sonde__control_page, NULL);
    free(page);
}

static union {
    struct sonde__steered answer;
    uint8_t bytes[SONDE__STEERED_SIZE_MAX];
} out;

static void only_who_may_is_heard(void **state) {
    (void)state;
    struct sonde_steering steering = {.count = 0};
    struct sonde__steer steer = {
        .message = {SONDE__STEER, 1, sizeof steer}, .action = SONDE__STEER_SAMPLE, .ratio = 0.5};
    bool changed;
    memcpy(steer.service, "shop", 4);
    assert_int_equal(sonde_steering_answer(&steering, &steer, sizeof steer, false, &out.answer, &changed),
                     sizeof out.answer);
    assert_int_equal(out.answer.result, SONDE_EREFUSED);
    assert_false(changed);
    assert_int_equal(steering.count, 0);
    size_t size = sonde_steering_answer(&steering, &steer, sizeof steer, true, &out.answer, &changed);
    assert_int_equal(size, sizeof out.answer + sizeof out.answer.rows[0]);
    assert_true(changed && out.answer.result == 0 && out.answer.rows[0].by_command);
    steer.action = SONDE__STEER_LIST; /* anybody may look */
    assert_int_equal(sonde_steering_answer(&steering, &steer, sizeof steer, false, &out.answer, &changed), size);
    assert_string_equal(out.answer.rows[0].service, "shop");
    assert_false(changed);
    steer.action = 77;
    (void)sonde_steering_answer(&steering, &steer, sizeof steer, true, &out.answer, &changed);
    assert_int_equal(out.answer.result, SONDE_EINVALID);
    memset(steer.service, 'x', sizeof steer.service); /* without its NUL: cut, and it has 127 bytes */
    steer.action = SONDE__STEER_SAMPLE;
    (void)sonde_steering_answer(&steering, &steer, sizeof steer, true, &out.answer, &changed);
    assert_int_equal(out.answer.result, 0);
    assert_int_equal(strlen(steering.rules[1].service), 127);
    assert_int_equal(sonde_steering_answer(&steering, &steer, sizeof steer - 1, true, &out.answer, &changed), 0);
}

static void configuration_says_so_too(void **state) {
    (void)state;
    static const struct {
        const char *text, *error;
    } rows[] = {
        {"agent: {sampling: {shop: 0.25, \"*\": 1}, service_log_levels: {shop: warn}}", NULL},
        {"agent: {sampling: {shop: 1.5}}", "agent.sampling: \"shop\""},
        {"agent: {sampling: {shop: .nan}}", "a ratio from 0 to 1"},
        {"agent: {service_log_levels: {shop: loud}}", "agent.service_log_levels: \"shop\""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct sonde_config *config = NULL;
        struct sonde_config_error error;
        assert_int_equal(sonde_config_read(rows[i].text, strlen(rows[i].text), &sonde_config_catalog_real,
                                           &sonde_config_sources_real, &sonde_heap, &config, &error),
                         0);
        int result = sonde_config_check_steering(config, &error);
        assert_int_equal(result, rows[i].error ? SONDE_EINVALID : 0);
        if (rows[i].error)
            assert_non_null(strstr(error.text, rows[i].error));
        sonde_config_destroy(config);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ratios_and_levels_are_read),      cmocka_unit_test(rules_are_set_and_taken_back),
        cmocka_unit_test(services_read_what_is_published), cmocka_unit_test(only_who_may_is_heard),
        cmocka_unit_test(configuration_says_so_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
