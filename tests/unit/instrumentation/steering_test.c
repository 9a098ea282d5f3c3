/* SPDX-License-Identifier: Apache-2.0 */
/* Remote sampling: what the agent's control page says is what the next root does. */
#include "fake_agent.h"
#include "instrumentation/ring/steering.h"
#include "instrumentation/trace/sampler.h"
#include "tests/lib/records.h"
#include <setjmp.h>
#include <sonde/sonde.h>
#include <stdarg.h>

#include <cmocka.h>

static struct fake_agent agent;

static uint64_t rate(double ratio) {
    return SONDE__STEERING_SAMPLES | sonde__sampler_threshold(ratio, 4);
}

static void say(const char *name, uint64_t sampling) {
    struct sonde__steering_row rows[2] = {{"somebody-else", rate(0), 0}, {name, sampling, 0}};
    sonde__steering_publish(agent.control, rows, name ? 2 : 1);
}

/* A span without parent. Returns whether it was recorded; ret_th: whether its tracestate tells a threshold. */
static bool root_is_recorded(struct sonde_context *ret_context) {
    struct sonde_span span;
    sonde_span_start(&span, SONDE_NAME("root"), NULL);
    bool recorded = sonde_span_is_recording(&span);
    sonde_span_context_get(&span, ret_context);
    sonde_span_end(&span);
    return recorded;
}

static unsigned recorded_of(unsigned count, const char *tracestate) {
    struct sonde_context context;
    unsigned recorded = 0;
    for (unsigned i = 0; i < count; i++) {
        if (!root_is_recorded(&context))
            continue;
        recorded++;
        CHECK(context.tracestate_length == strlen(tracestate) &&
              memcmp(context.tracestate, tracestate, strlen(tracestate)) == 0);
    }
    return recorded;
}

static void start(const char *sampler) {
    struct sonde_options options = SONDE_OPTIONS_INIT;
    struct sonde_context context;
    options.service_name = "shop";
    options.sampler = sampler;
    fake_agent_init(&agent);
    fake_agent_start(&agent);
    CHECK(sonde_start(&options) == 0);
    (void)root_is_recorded(&context);
    CHECK(sonde_flush(10000) == 0);
}

static void end(void) {
    fake_agent_stop(&agent);
    fake_agent_deinit(&agent);
}

static void next_root_does_what_the_agent_says(void) {
    start(NULL); /* parent-based, always on */
    CHECK(recorded_of(50, "") == 50);
    say("shop", rate(0));
    CHECK(recorded_of(50, "") == 0);
    say("shop", rate(0.25));
    unsigned recorded = recorded_of(2000, "ot=th:c");
    CHECK(recorded > 400 && recorded < 600); /* five sigma */
    say("shop", rate(1));
    CHECK(recorded_of(50, "ot=th:0") == 50);
    say(NULL, 0); /* the service's own again */
    CHECK(recorded_of(50, "") == 50);
    say("*", rate(0)); /* every service */
    CHECK(recorded_of(50, "") == 0);
    struct sonde__steering_row rows[2] = {{"*", rate(0), 0}, {"shop", rate(1), 0}};
    sonde__steering_publish(agent.control, rows, 2); /* the own row is the stronger one */
    CHECK(recorded_of(50, "ot=th:0") == 50);
    end();
}

static void parents_are_followed_all_the_same(void) {
    start("parentbased_always_off");
    struct sonde_context remote = {.span = {.trace_id = {1}, .span_id = {1}, .flags = 1, .is_remote = 1}};
    struct sonde_span_options options = SONDE_SPAN_OPTIONS_INIT;
    struct sonde_span span;
    say("shop", rate(0));
    options.parent = &remote;
    sonde_span_start(&span, SONDE_NAME("server"), &options);
    CHECK(sonde_span_is_recording(&span));
    sonde_span_end(&span);
    say("shop", rate(1));
    remote.span.flags = 0;
    sonde_span_start(&span, SONDE_NAME("server"), &options);
    CHECK(!sonde_span_is_recording(&span));
    sonde_span_end(&span);
    CHECK(recorded_of(10, "ot=th:0") == 10); /* roots */
    end();
}

/* The page stays when the agent is gone; the next one's word counts from when it is there. */
static void last_rate_stays_when_the_agent_dies_and_the_next_one_says_anew(void) {
    start(NULL);
    say("shop", rate(0));
    CHECK(recorded_of(10, "") == 0);
    fake_agent_stop(&agent);
    struct sonde_stats stats = {.size = sizeof stats};
    do
        sonde_stats_get(&stats);
    while (stats.connected);
    CHECK(recorded_of(10, "") == 0);
    pid_t child = child_fork(); /* nor does a fork change it */
    if (child == 0)
        _exit((int)recorded_of(10, ""));
    int status;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    fake_agent_start(&agent);
    struct sonde_context context;
    CHECK_SOON(root_is_recorded(&context));
    CHECK(recorded_of(10, "") == 10);
    end();
}

/* An agent of layout 1.0 hands over one page: nothing is read behind it. */
static void page_of_an_older_agent_says_nothing(void) {
    struct sonde_context context;
    start(NULL);
    say("shop", rate(0));
    CHECK(recorded_of(10, "") == 0);
    fake_agent_stop(&agent);
    agent.control_size = SONDE__PAGE;
    fake_agent_start(&agent);
    CHECK_SOON(root_is_recorded(&context));
    CHECK(recorded_of(10, "") == 10);
    atomic_store(&agent.control->steering_generation, 12345); /* and if it says that there is something, there is not */
    CHECK(recorded_of(10, "") == 10);
    fake_agent_stop(&agent);
    agent.control_size = 0;
    fake_agent_start(&agent);
    CHECK_SOON((say("shop", rate(0)), !root_is_recorded(&context)));
    end();
}

static void composed_sampler_asks_where_it_says_remote(void) {
    const struct sonde_sampler *remote, *off = sonde_sampler_always_off();
    struct sonde_sampler_rule rules[2] = {SONDE_SAMPLER_RULE_INIT, SONDE_SAMPLER_RULE_INIT};
    struct sonde_options options = SONDE_OPTIONS_INIT;
    struct sonde_context context;
    struct sonde_span span;
    CHECK(sonde_sampler_remote(off, &remote) == 0);
    rules[0].name = "health";
    rules[0].sampler = off;
    rules[1].sampler = remote;
    CHECK(sonde_sampler_rule_based(rules, 2, &options.composed_sampler) == 0);
    options.service_name = "shop";
    fake_agent_init(&agent);
    fake_agent_start(&agent);
    CHECK(sonde_start(&options) == 0);
    CHECK(!root_is_recorded(&context));
    CHECK(sonde_flush(10000) == 0);
    say("shop", rate(1));
    CHECK(root_is_recorded(&context));
    sonde_span_start(&span, SONDE_NAME("health"), NULL);
    CHECK(!sonde_span_is_recording(&span));
    sonde_span_end(&span);
    end();
}

static size_t debug_records(void) {
    (void)records_skip();
    sonde_log(SONDE_SEVERITY_DEBUG, "x", 1, NULL, 0);
    return records_skip();
}

/* What sonde_log_enabled() says is what becomes of the record. */
static void logs_below_the_severity_that_the_agent_says_are_not_taken(void) {
    start(NULL);
    CHECK(sonde_log_enabled(SONDE_SEVERITY_DEBUG) && debug_records() == 1);
    struct sonde__steering_row row = {"shop", 0, SONDE_SEVERITY_INFO};
    sonde__steering_publish(agent.control, &row, 1);
    CHECK(!sonde_log_enabled(SONDE_SEVERITY_DEBUG) && debug_records() == 0);
    CHECK(sonde_log_enabled(SONDE_SEVERITY_INFO) && sonde_log_enabled(0));
    say(NULL, 0);
    CHECK(sonde_log_enabled(SONDE_SEVERITY_DEBUG) && debug_records() == 1);
    end();
}

/* ---- the page alone ---- */

static struct sonde__control *page_new(void) {
    struct sonde__control *page =
        mmap(NULL, SONDE__CONTROL_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(page != MAP_FAILED);
    page->start_unix_ns = 1700000000000000000u;
    return page;
}

static void tables_hold_as_many_rows_as_they_say(void) {
    static char names[SONDE__STEERINGS][SONDE__STEERING_NAME_MAX + 1];
    struct sonde__steering_row rows[SONDE__STEERINGS];
    char longest[SONDE__STEERING_NAME_MAX + 1] = "";
    memset(longest, 'x', SONDE__STEERING_NAME_MAX);
    struct sonde__control *page = page_new();
    CHECK(sonde__steering_sampling() == 0); /* no page yet */
    for (uint32_t i = 0; i < SONDE__STEERINGS; i++) {
        (void)snprintf(names[i], sizeof names[i], "%.*s%u", (int)(i % 100), longest, i);
        rows[i] = (struct sonde__steering_row){names[i], i + 1, i % 24 + 1};
    }
    rows[127].name = longest;
    sonde__steering_name_set("", 0);
    sonde__steering_name_set(longest, SONDE__STEERING_NAME_MAX);
    sonde__steering_name_set("other", 5); /* the first one stays */
    atomic_store(&sonde__control_page, page);
    CHECK(sonde__steering_sampling() == 0);
    sonde__steering_publish(page, rows, SONDE__STEERINGS);
    CHECK(sonde__steering_sampling() == 128 && sonde__steering_severity() == 127 % 24 + 1);
    rows[127].sampling = 0; /* that field is nobody's business: the row of all has it */
    rows[0].name = "*";
    sonde__steering_publish(page, rows, SONDE__STEERINGS);
    CHECK(sonde__steering_sampling() == 1 && sonde__steering_severity() == 127 % 24 + 1);
    sonde__steering_publish(page, rows + 1, 5);
    CHECK(sonde__steering_sampling() == 0 && sonde__steering_severity() == 0);
}

static _Atomic bool done;
static void *publish_for_a_while(void *page) {
    for (uint64_t i = 0; i < 20000; i++) {
        /* a reader that mixes two tables sees a value of the wrong row, or of a name that is not its own */
        struct sonde__steering_row odd[2] = {{"a", 1000, 0}, {"shop", i % 2 ? 7 : 8, 0}};
        struct sonde__steering_row even[1] = {{"shop", i % 2 ? 7 : 8, 0}};
        sonde__steering_publish(page, i % 3 ? odd : even, i % 3 ? 2 : 1);
    }
    atomic_store(&done, true);
    return NULL;
}

static void readers_never_see_half_a_change(void) {
    struct sonde__control *page = page_new();
    struct sonde__steering_row row = {"shop", 7, 0};
    pthread_t writer;
    sonde__steering_name_set("shop", 4);
    sonde__steering_publish(page, &row, 1);
    atomic_store(&sonde__control_page, page);
    CHECK(pthread_create(&writer, NULL, publish_for_a_while, page) == 0);
    while (!atomic_load(&done)) {
        uint64_t value = sonde__steering_sampling();
        CHECK(value == 7 || value == 8 || value == 0 /* changed four times while it looked */);
    }
    pthread_join(writer, NULL);
    CHECK(sonde__steering_sampling() == 7);
}

CHILD_TEST(next_root_does_what_the_agent_says)
CHILD_TEST(parents_are_followed_all_the_same)
CHILD_TEST(last_rate_stays_when_the_agent_dies_and_the_next_one_says_anew)
CHILD_TEST(page_of_an_older_agent_says_nothing)
CHILD_TEST(composed_sampler_asks_where_it_says_remote)
CHILD_TEST(logs_below_the_severity_that_the_agent_says_are_not_taken)
CHILD_TEST(tables_hold_as_many_rows_as_they_say)
CHILD_TEST(readers_never_see_half_a_change)

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(next_root_does_what_the_agent_says_test),
        cmocka_unit_test(parents_are_followed_all_the_same_test),
        cmocka_unit_test(last_rate_stays_when_the_agent_dies_and_the_next_one_says_anew_test),
        cmocka_unit_test(page_of_an_older_agent_says_nothing_test),
        cmocka_unit_test(composed_sampler_asks_where_it_says_remote_test),
        cmocka_unit_test(logs_below_the_severity_that_the_agent_says_are_not_taken_test),
        cmocka_unit_test(tables_hold_as_many_rows_as_they_say_test),
        cmocka_unit_test(readers_never_see_half_a_change_test),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
