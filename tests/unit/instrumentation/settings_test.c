/* SPDX-License-Identifier: Apache-2.0 */
#include "instrumentation/resource/environment.h"
#include "instrumentation/resource/settings.h"
#include "instrumentation/resource/variables.h"
#include "tests/lib/child.h"
#include <errno.h>
#include <locale.h>
#include <setjmp.h>
#include <sonde/err.h>
#include <sonde/sonde.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static int reports;
static char last_report[256];
static void report(void *user, const char *message) {
    (void)user;
    reports++;
    snprintf(last_report, sizeof last_report, "%s", message);
}

static int start(void) {
    struct sonde_options options = SONDE_OPTIONS_INIT;
    options.report = report;
    return sonde__settings_start(&options);
}

static void defaults_are_the_specification_s(void) {
    const struct sonde__settings *s = sonde__settings_get();
    CHECK(!s->disabled && s->sampler == SONDE__SAMPLER_ALWAYS_ON && s->sampler_parent_based && s->sampler_ratio == 1);
    CHECK(s->attribute_value_length_limit == SIZE_MAX && s->log_attribute_value_length_limit == SIZE_MAX);
    CHECK(s->span_attribute_count_limit == 128 && s->span_event_count_limit == 128 && s->span_link_count_limit == 128);
    CHECK(s->event_attribute_count_limit == 128 && s->link_attribute_count_limit == 128);
    CHECK(s->log_attribute_count_limit == 128);
    CHECK(!s->service_name[0] && !s->agent_socket[0] && !s->resource_attributes[0]);
}

static void samplers_are_known_by_name(void) {
    static const struct {
        const char *name, *argument;
        enum sonde__sampler_kind kind;
        bool parent_based;
        double ratio;
        int reports;
    } cases[] = {
        {"always_on", NULL, SONDE__SAMPLER_ALWAYS_ON, false, 1, 0},
        {"always_off", NULL, SONDE__SAMPLER_ALWAYS_OFF, false, 1, 0},
        {"traceidratio", "0.25", SONDE__SAMPLER_RATIO, false, 0.25, 0},
        {"TraceIdRatio", "1e-3", SONDE__SAMPLER_RATIO, false, 0.001, 0},
        {"parentbased_always_on", "0.5", SONDE__SAMPLER_ALWAYS_ON, true, 1, 0}, /* takes no argument */
        {"parentbased_always_off", NULL, SONDE__SAMPLER_ALWAYS_OFF, true, 1, 0},
        {"parentbased_traceidratio", "0", SONDE__SAMPLER_RATIO, true, 0, 0},
        {"parentbased_traceidratio", "", SONDE__SAMPLER_RATIO, true, 1, 0},
        {"traceidratio", "1.5", SONDE__SAMPLER_RATIO, false, 1, 1},
        {"traceidratio", "half", SONDE__SAMPLER_RATIO, false, 1, 1},
        {"jaeger_remote", NULL, SONDE__SAMPLER_RATIO, false, 0.001, 0}, /* the agent is the remote */
        {"parentbased_jaeger_remote", "initialSamplingRate=0.25", SONDE__SAMPLER_RATIO, true, 0.25, 0},
        {"parentbased_jaeger_remote", "initialSamplingRate=2", SONDE__SAMPLER_RATIO, true, 0.001, 1},
        {"jaeger_remote", "endpoint=http://h:14250,initialSamplingRate=0.5", SONDE__SAMPLER_RATIO, false, 0.5, 1},
        {"sonde_rate_limiting", "10.5", SONDE__SAMPLER_RATE, false, 1, 0},
        {"parentbased_sonde_rate_limiting", "-1", SONDE__SAMPLER_RATE, true, 1, 1},
        {"xray", NULL, SONDE__SAMPLER_ALWAYS_ON, true, 1, 1},
        {"consistent_probability", NULL, SONDE__SAMPLER_ALWAYS_ON, true, 1, 1},
        {"", NULL, SONDE__SAMPLER_ALWAYS_ON, true, 1, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        pid_t child = child_fork();
        if (child == 0) {
            setenv("OTEL_TRACES_SAMPLER", cases[i].name, 1);
            if (cases[i].argument)
                setenv("OTEL_TRACES_SAMPLER_ARG", cases[i].argument, 1);
            CHECK(start() == 0);
            CHECK(sonde__settings.sampler == cases[i].kind);
            CHECK(sonde__settings.sampler_parent_based == cases[i].parent_based);
            double difference = sonde__settings.sampler_ratio - cases[i].ratio;
            CHECK(difference < 1e-12 && difference > -1e-12);
            if (cases[i].kind == SONDE__SAMPLER_RATE)
                CHECK(sonde__settings.sampler_rate == (cases[i].reports ? 100 : 10.5));
            CHECK(reports == cases[i].reports);
            _exit(0);
        }
        int status;
        CHECK(waitpid(child, &status, 0) == child);
        if (status)
            fprintf(stderr, "case %zu: %s\n", i, cases[i].name);
        CHECK(status == 0);
    }
}

static void limits_are_read(void) {
    setenv("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "100", 1);
    setenv("OTEL_ATTRIBUTE_COUNT_LIMIT", "50", 1);
    setenv("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "7", 1);
    setenv("OTEL_SPAN_EVENT_COUNT_LIMIT", "0", 1);
    setenv("OTEL_SPAN_LINK_COUNT_LIMIT", "", 1);
    setenv("OTEL_LOGRECORD_ATTRIBUTE_VALUE_LENGTH_LIMIT", "9", 1);
    CHECK(start() == 0 && reports == 0);
    const struct sonde__settings *s = &sonde__settings;
    CHECK(s->attribute_value_length_limit == 100 && s->log_attribute_value_length_limit == 9);
    CHECK(s->span_attribute_count_limit == 7 && s->event_attribute_count_limit == 50);
    CHECK(s->link_attribute_count_limit == 50 && s->log_attribute_count_limit == 50);
    CHECK(s->span_event_count_limit == 0 && s->span_link_count_limit == 128);
}

static void bad_limits_are_ignored_and_reported(void) {
    setenv("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "-1", 1);
    setenv("OTEL_SPAN_EVENT_COUNT_LIMIT", "12x", 1);
    setenv("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "99999999999999999999", 1);
    setenv("OTEL_SPAN_LINK_COUNT_LIMIT", "1000", 1); /* more than this version can keep */
    CHECK(start() == 0 && reports == 4);
    CHECK(sonde__settings.span_attribute_count_limit == 128 && sonde__settings.span_event_count_limit == 128);
    CHECK(sonde__settings.attribute_value_length_limit == SIZE_MAX && sonde__settings.span_link_count_limit == 128);
}

static void disabled_is_true_only_when_it_says_so(void) {
    setenv("OTEL_SDK_DISABLED", "yes", 1);
    CHECK(start() == 0 && !sonde__settings.disabled && reports == 1);
    CHECK(strstr(last_report, "OTEL_SDK_DISABLED"));
}

static void options_beat_the_environment(void) {
    setenv("OTEL_TRACES_SAMPLER", "always_off", 1);
    setenv("OTEL_SERVICE_NAME", "of-environment", 1);
    setenv("SONDE_AGENT_SOCKET", "/of/environment", 1);
    struct sonde_options options = SONDE_OPTIONS_INIT;
    options.service_name = "of-options";
    options.sampler = "traceidratio";
    options.sampler_arg = 0.5;
    options.has_sampler_arg = true;
    options.agent_socket = "/of/options";
    CHECK(sonde__settings_start(&options) == 0);
    CHECK(strcmp(sonde__settings.service_name, "of-options") == 0);
    CHECK(strcmp(sonde__settings.agent_socket, "/of/options") == 0);
    CHECK(sonde__settings.sampler == SONDE__SAMPLER_RATIO && sonde__settings.sampler_ratio == 0.5);
}

static void options_leave_the_ratio_to_the_environment(void) {
    setenv("OTEL_TRACES_SAMPLER_ARG", "0.25", 1);
    struct sonde_options options = SONDE_OPTIONS_INIT;
    options.sampler = "parentbased_traceidratio";
    CHECK(sonde__settings_start(&options) == 0);
    CHECK(sonde__settings.sampler == SONDE__SAMPLER_RATIO && sonde__settings.sampler_ratio == 0.25);
}

static void disabled_by_options_is_disabled(void) {
    struct sonde_options options = SONDE_OPTIONS_INIT;
    options.disabled = true;
    CHECK(sonde_start(&options) == 0);
    struct sonde_span span;
    sonde_span_start(&span, SONDE_NAME("unseen"), NULL);
    CHECK(!sonde_span_is_recording(&span) && sonde_flush(10000) == SONDE_EDISABLED);
    sonde_span_end(&span);
}

static void bad_options_are_reported_and_the_rest_applied(void) {
    struct sonde_options options = SONDE_OPTIONS_INIT;
    options.report = report;
    options.sampler = "sometimes";
    options.sampler_arg = 2;
    options.has_sampler_arg = true;
    options.service_name = "good";
    CHECK(sonde_start(&options) == SONDE_EINVALID && reports == 2);
    CHECK(strcmp(sonde__settings.service_name, "good") == 0 && sonde__settings.sampler_ratio == 1);
    CHECK(sonde_start(&options) == -EALREADY);
}

static void start_after_first_use_is_too_late(void) {
    (void)sonde__settings_get();
    CHECK(start() == -EALREADY);
}

static void shorter_options_of_an_older_header_work(void) {
    struct sonde_options options;
    memset(&options, 0xA5, sizeof options);
    options.size = offsetof(struct sonde_options, service_namespace);
    options.service_name = "old";
    CHECK(sonde__settings_start(&options) == 0);
    CHECK(strcmp(sonde__settings.service_name, "old") == 0 && !sonde__settings.service_namespace[0]);
}

static void reports_are_rate_limited(void) {
    CHECK(start() == 0);
    for (int i = 0; i < 1000; i++)
        sonde__report("%d", i);
    CHECK(reports >= 10 && reports <= 30); /* a loop this short meets two seconds at most */
}

static void ratio_is_read_in_any_locale(void **state) {
    (void)state;
    static const struct {
        const char *text;
        bool good;
        double ratio;
    } cases[] = {{"0", true, 0},         {"1", true, 1},     {"1.0", true, 1},  {".5", true, 0.5},  {"5e-1", true, 0.5},
                 {"0.05E+1", true, 0.5}, {"", false, 0},     {".", false, 0},   {"-0.5", false, 0}, {"1.01", false, 0},
                 {"0,5", false, 0},      {"0.5 ", false, 0}, {"nan", false, 0}, {"inf", false, 0},  {"1e", false, 0},
                 {"0x1", false, 0},      {"1e400", false, 0}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        double ratio = -1;
        assert_int_equal(sonde__ratio_parse(cases[i].text, &ratio), cases[i].good);
        if (cases[i].good)
            assert_true(ratio - cases[i].ratio < 1e-12 && cases[i].ratio - ratio < 1e-12);
    }
}

/* Cases of one variable each: the child is told by its exit code. */
static void one_value(const char *name, const char *value, int wanted_reports, const char *in_report) {
    setenv(name, value, 1);
    CHECK(start() == 0);
    if (reports != wanted_reports || (in_report && !strstr(last_report, in_report)))
        fprintf(stderr, "%s=%s: %d reports, the last: %s\n", name, value, reports, last_report);
    CHECK(reports == wanted_reports && (!in_report || strstr(last_report, in_report)));
}

static void every_variable_empty_is_unset(void) {
    for (const struct sonde__variable *variable = sonde__variables; variable->name; variable++)
        setenv(variable->name, "", 1);
    CHECK(start() == 0 && reports == 0);
    const struct sonde__settings *s = &sonde__settings;
    CHECK(!s->disabled && !s->signals_off && !s->histogram_aggregation && s->span_attribute_count_limit == 128);
    CHECK(s->attribute_value_length_limit == SIZE_MAX && !s->service_name[0] && !s->process_context_disabled);
}

static void bad_values_are_ignored_and_told_with_what_is_accepted(void) {
    static const struct {
        const char *name, *value;
        int reports;
        const char *in_report;
    } cases[] = {
        {"OTEL_SPAN_EVENT_COUNT_LIMIT", "12x", 1, "\"12x\" is not accepted, ignored; accepted: a whole number"},
        {"OTEL_ATTRIBUTE_COUNT_LIMIT", "1000", 1, "more than 128"},
        {"OTEL_SDK_DISABLED", "1", 1, "\"1\" is neither true nor false"},
        {"OTEL_SDK_DISABLED", "FALSE", 0, NULL},
        {"OTEL_LOG_LEVEL", "loud", 1, "accepted: info, none, error, warn, debug"},
        {"OTEL_TRACES_SAMPLER", "sometimes\x1b[2J", 1, "sometimes?[2J"},
        {"OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION", "both", 1, "explicit_bucket_histogram"},
        {"OTEL_TRACES_EXPORTER", "zipkin", 1, "accepted: otlp"},
        {"OTEL_TRACES_EXPORTER", "none,otlp", 1, "none alone"},
        {"OTEL_LOGS_EXPORTER", "otlp", 0, NULL},
        {"OTEL_SEMCONV_STABILITY_OPT_IN", "http/dup, gen_ai_latest_experimental", 1, "http/dup is not supported"},
        {"OTEL_SEMCONV_STABILITY_OPT_IN", "http,rpc,messaging,database", 0, NULL},
        {"OTEL_CONFIG_FILE", "/etc/otel.yaml", 1, "not read"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4318", 1, "for the agent"},
        {"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "http://localhost:4318", 1, "OTLP_METRICS_ENDPOINT: not read"},
        {"OTEL_BSP_SCHEDULE_DELAY", "100", 1, "for the agent"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        pid_t child = child_fork();
        if (child == 0) {
            one_value(cases[i].name, cases[i].value, cases[i].reports, cases[i].in_report);
            CHECK(!sonde__settings.signals_off && !sonde__settings.disabled && !sonde__settings.histogram_aggregation);
            CHECK(sonde__settings.span_event_count_limit == 128 && sonde__settings.span_attribute_count_limit == 128);
            _exit(0);
        }
        int status;
        CHECK(waitpid(child, &status, 0) == child && status == 0);
    }
}

static void texts_that_are_too_long_are_ignored_and_told(void) {
    static char text[4097];
    memset(text, 'a', 256);
    setenv("OTEL_SERVICE_NAME", text, 1);
    memset(text, 'a', 4096);
    setenv("OTEL_RESOURCE_ATTRIBUTES", text, 1);
    CHECK(start() == 0 && reports == 2 && strstr(last_report, "longer than 4095 bytes"));
    CHECK(!sonde__settings.service_name[0] && !sonde__settings.resource_attributes[0]);
}

static void names_of_values_may_be_in_any_case(void) {
    setenv("OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION", "Explicit_Bucket_Histogram", 1);
    setenv("OTEL_METRICS_EXPORTER", " None ", 1);
    setenv("OTEL_SDK_DISABLED", "True", 1);
    CHECK(start() == 0 && reports == 0);
    CHECK(sonde__settings.histogram_aggregation == 1 && sonde__settings.disabled);
    CHECK(sonde__settings.signals_off == 1u << SONDE_SIGNAL_METRICS);
}

static void log_level_says_what_is_reported(void) {
    static const struct {
        const char *level;
        int reports;
    } cases[] = {{"none", 0}, {"error", 0}, {"warn", 1}, {"INFO", 2}, {"debug", 2}, {"", 2}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        pid_t child = child_fork();
        if (child == 0) {
            setenv("OTEL_LOG_LEVEL", cases[i].level, 1);
            setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4318", 1); /* info */
            setenv("OTEL_CONFIG_FILE", "otel.yaml", 1);                        /* warn */
            CHECK(start() == 0 && reports == cases[i].reports);
            _exit(0);
        }
        int status;
        CHECK(waitpid(child, &status, 0) == child && status == 0);
    }
}

static size_t stderr_of_start(const char *level, char *ret_text, size_t size) {
    int ends[2];
    CHECK(pipe(ends) == 0);
    pid_t child = child_fork();
    if (child == 0) {
        CHECK(dup2(ends[1], STDERR_FILENO) == STDERR_FILENO);
        close(ends[0]);
        close(ends[1]);
        if (level)
            setenv("OTEL_LOG_LEVEL", level, 1);
        setenv("OTEL_SDK_DISABLED", "maybe", 1);
        (void)sonde__settings_start(NULL);
        _exit(0);
    }
    close(ends[1]);
    size_t used = 0;
    for (ssize_t n; (n = read(ends[0], ret_text + used, size - 1 - used)) > 0;)
        used += (size_t)n;
    ret_text[used] = 0;
    close(ends[0]);
    int status;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    return used;
}

static void reports_go_to_stderr_when_the_level_is_asked_for_and_no_hook_is_there(void) {
    char text[512];
    CHECK(stderr_of_start(NULL, text, sizeof text) == 0);
    CHECK(stderr_of_start("none", text, sizeof text) == 0);
    CHECK(stderr_of_start("warn", text, sizeof text) > 0);
    CHECK(strcmp(text, "sonde: OTEL_SDK_DISABLED: \"maybe\" is neither true nor false, taken as false\n") == 0);
}

static void exporter_none_switches_the_signal_off(void) {
    setenv("OTEL_TRACES_EXPORTER", "none", 1);
    setenv("OTEL_METRICS_EXPORTER", "none", 1);
    setenv("OTEL_LOGS_EXPORTER", "none", 1);
    CHECK(start() == 0 && reports == 0);
    struct sonde_span span, child;
    sonde_span_start(&span, SONDE_NAME("root"), NULL);
    CHECK(!sonde_span_is_recording(&span) && !sonde_span_context_is_valid(&span.context));
    sonde_span_end(&span);
    /* a remote parent goes on to whoever comes next, unchanged */
    struct sonde_context parent, current;
    sonde_context_init(&parent);
    memset(parent.span.trace_id, 1, 16);
    memset(parent.span.span_id, 2, 8);
    parent.span.flags = SONDE_TRACE_FLAG_SAMPLED;
    parent.span.is_remote = true;
    memcpy(parent.tracestate, "a=b", 3);
    parent.tracestate_length = 3;
    struct sonde_span_options options = SONDE_SPAN_OPTIONS_INIT;
    options.parent = &parent;
    sonde_span_start(&span, SONDE_NAME("server"), &options);
    sonde_span_start(&child, SONDE_NAME("inner"), NULL);
    CHECK(!sonde_span_is_recording(&child) && memcmp(&child.context, &parent.span, sizeof parent.span) == 0);
    sonde_context_current(&current);
    CHECK(memcmp(&current.span, &parent.span, sizeof parent.span) == 0 && current.tracestate_length == 3);
    sonde_span_set_cstr(&child, SONDE_KEY("k"), "v");
    sonde_span_end(&child);
    sonde_span_end(&span);
    sonde_context_current(&current);
    CHECK(!sonde_span_context_is_valid(&current.span));
    sonde_log(SONDE_SEVERITY_INFO, "x", 1, NULL, 0);
    struct sonde_instrument_options wanted = {.size = sizeof wanted, .kind = SONDE_COUNTER, .name = "c"};
    struct sonde_instrument instrument;
    CHECK(sonde_instrument_create(&wanted, &instrument) == SONDE_EDISABLED && instrument.index == 0);
    sonde_counter_add(sonde_series_bind(instrument, NULL, 0), 1);
    struct sonde_stats stats = {.size = sizeof stats};
    sonde_stats_get(&stats);
    for (int signal = 0; signal < SONDE_SIGNAL_COUNT; signal++)
        for (int reason = 0; reason < SONDE_DROP_REASON_COUNT; reason++)
            CHECK(stats.dropped[signal][reason] == 0); /* nothing is lost that nobody wanted */
}

CHILD_TEST(defaults_are_the_specification_s)
CHILD_TEST(samplers_are_known_by_name)
CHILD_TEST(limits_are_read)
CHILD_TEST(bad_limits_are_ignored_and_reported)
CHILD_TEST(disabled_is_true_only_when_it_says_so)
CHILD_TEST(options_beat_the_environment)
CHILD_TEST(options_leave_the_ratio_to_the_environment)
CHILD_TEST(disabled_by_options_is_disabled)
CHILD_TEST(bad_options_are_reported_and_the_rest_applied)
CHILD_TEST(start_after_first_use_is_too_late)
CHILD_TEST(shorter_options_of_an_older_header_work)
CHILD_TEST(reports_are_rate_limited)
CHILD_TEST(every_variable_empty_is_unset)
CHILD_TEST(bad_values_are_ignored_and_told_with_what_is_accepted)
CHILD_TEST(texts_that_are_too_long_are_ignored_and_told)
CHILD_TEST(names_of_values_may_be_in_any_case)
CHILD_TEST(log_level_says_what_is_reported)
CHILD_TEST(reports_go_to_stderr_when_the_level_is_asked_for_and_no_hook_is_there)
CHILD_TEST(exporter_none_switches_the_signal_off)

int main(void) {
    static const char *const cleared[] = {"OTEL_SERVICE_NAME",       "OTEL_RESOURCE_ATTRIBUTES", "OTEL_TRACES_SAMPLER",
                                          "OTEL_TRACES_SAMPLER_ARG", "OTEL_SDK_DISABLED",        "SONDE_AGENT_SOCKET"};
    for (size_t i = 0; i < sizeof cleared / sizeof *cleared; i++)
        unsetenv(cleared[i]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_are_the_specification_s_test),
        cmocka_unit_test(samplers_are_known_by_name_test),
        cmocka_unit_test(limits_are_read_test),
        cmocka_unit_test(bad_limits_are_ignored_and_reported_test),
        cmocka_unit_test(disabled_is_true_only_when_it_says_so_test),
        cmocka_unit_test(options_beat_the_environment_test),
        cmocka_unit_test(options_leave_the_ratio_to_the_environment_test),
        cmocka_unit_test(disabled_by_options_is_disabled_test),
        cmocka_unit_test(bad_options_are_reported_and_the_rest_applied_test),
        cmocka_unit_test(start_after_first_use_is_too_late_test),
        cmocka_unit_test(shorter_options_of_an_older_header_work_test),
        cmocka_unit_test(reports_are_rate_limited_test),
        cmocka_unit_test(ratio_is_read_in_any_locale),
        cmocka_unit_test(every_variable_empty_is_unset_test),
        cmocka_unit_test(bad_values_are_ignored_and_told_with_what_is_accepted_test),
        cmocka_unit_test(texts_that_are_too_long_are_ignored_and_told_test),
        cmocka_unit_test(names_of_values_may_be_in_any_case_test),
        cmocka_unit_test(log_level_says_what_is_reported_test),
        cmocka_unit_test(reports_go_to_stderr_when_the_level_is_asked_for_and_no_hook_is_there_test),
        cmocka_unit_test(exporter_none_switches_the_signal_off_test),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
