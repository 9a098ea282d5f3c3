/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
/* after the three above */
#include <cmocka.h>

#include "agent/command/command.h"
#include "agent/view/page.h"
#include "agent/view/self_metrics.h"
#include <stdlib.h>
#include <string.h>

#define HOSTILE "<script>alert('1')</script>\"&<img src=x onerror=1>\x1b[2J"

static json_t *hostile_status(void) {
    json_t *status =
        json_pack("{ss sI sI ss ss ss sb s[s] s{s{sI sI s{sI}}} s[{ss sI sI sI sI sI}] s[{ss sI sI sb sb}]"
                  " s[{ss ss sb sI sI ss sI s{s{sI sI sI sI sI s{sI}}}}] s[{ss ss sb ss}] s{sb ss} }",
                  "version", HOSTILE, "pid", (json_int_t)7, "uptime_seconds", (json_int_t)9, "state", HOSTILE, "listen",
                  HOSTILE, "socket", HOSTILE, "healthy", 0, "problems", HOSTILE, "signals", "traces", "received",
                  (json_int_t)12, "appended", (json_int_t)11, "dropped", "ring_full", (json_int_t)1, "services", "name",
                  HOSTILE, "peers", (json_int_t)1, "traces", (json_int_t)11, "logs", (json_int_t)0, "metrics",
                  (json_int_t)0, "dropped", (json_int_t)1, "peers", "service", HOSTILE, "pid", (json_int_t)1, "uid",
                  (json_int_t)2, "connected", 1, "alive", 1, "exporters", "name", HOSTILE, "endpoint", HOSTILE,
                  "failing", 1, "last_success_unix_ns", (json_int_t)1000000000, "last_error_unix_ns", (json_int_t)0,
                  "last_error", HOSTILE, "requests", (json_int_t)3, "signals", "traces", "appended", (json_int_t)11,
                  "queued", (json_int_t)4, "in_flight", (json_int_t)3, "delivered", (json_int_t)2, "refused",
                  (json_int_t)1, "dropped", "rejected", (json_int_t)1, "collectors", "name", HOSTILE, "address",
                  HOSTILE, "failing", 1, "trouble", HOSTILE, "ledger", "balanced", 0, "text", HOSTILE);
    assert_non_null(status);
    return status;
}

static char *written(const json_t *status, bool html) {
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    if (html)
        sonde__page_write(status, 121000000000u, out);
    else
        assert_int_equal(sonde__status_write(status, out), SONDE__EXIT_BAD);
    fclose(out);
    return text;
}

static void page_shows_hostile_strings_as_text(void **state) {
    (void)state;
    json_t *status = hostile_status();
    char *text = written(status, true);
    assert_null(strstr(text, "<script"));
    assert_null(strstr(text, "<img"));
    assert_null(strstr(text, "\x1b"));
    size_t escaped = 0;
    for (const char *at = text; (at = strstr(at, "&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&quot;&amp;")); at++)
        escaped++;
    assert_int_equal(escaped, 14);
    free(text);
    json_decref(status);
}

static void page_shows_figures_lights_and_reasons(void **state) {
    (void)state;
    json_t *status = hostile_status();
    char *text = written(status, true);
    assert_non_null(strstr(text, "ring_full 1"));
    assert_non_null(strstr(text, "rejected 1"));
    assert_non_null(strstr(text, "failing"));
    assert_non_null(strstr(text, "does not balance"));
    assert_non_null(strstr(text, "2 min ago"));
    assert_null(strstr(text, "style=")); /* the policy forbids inline styles, and scripts */
    free(text);
    json_decref(status);
}

static void page_of_nothing_says_what_to_do(void **state) {
    (void)state;
    json_t *status = json_object();
    char *text = written(status, true);
    assert_non_null(strstr(text, "SONDE_AGENT_SOCKET"));
    assert_non_null(strstr(text, "OTEL_EXPORTER_OTLP_ENDPOINT"));
    assert_non_null(strstr(text, "</html>"));
    free(text);
    json_decref(status);
}

static void status_text_has_no_control_characters(void **state) {
    (void)state;
    json_t *status = hostile_status();
    char *text = written(status, false);
    assert_null(strchr(text, 0x1b));
    assert_non_null(strstr(text, "FAILING"));
    assert_non_null(
        strstr(text, "11 appended, 4 queued, 3 in flight, 2 delivered, 1 refused, 1 dropped (rejected 1)\n"));
    assert_non_null(strstr(text, "12 received, 11 appended, 1 dropped (ring_full 1)\n"));
    assert_non_null(strstr(text, "DOES NOT BALANCE"));
    free(text);
    json_decref(status);
    status = json_object();
    text = written(status, false); /* an answer that lacks everything is not healthy, and nothing breaks */
    free(text);
    json_decref(status);
}

static void own_metrics_are_all_described(void **state) {
    (void)state;
    size_t count = 0;
    for (const struct sonde__self_metric *row = sonde__self_metrics; row->name; row++, count++) {
        assert_int_equal(strncmp(row->name, "sonde.agent.", 12), 0);
        assert_non_null(row->description);
        for (const struct sonde__self_metric *other = sonde__self_metrics; other != row; other++)
            assert_string_not_equal(other->name, row->name);
    }
    assert_true(count > 20);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(page_shows_hostile_strings_as_text), cmocka_unit_test(page_shows_figures_lights_and_reasons),
        cmocka_unit_test(page_of_nothing_says_what_to_do),    cmocka_unit_test(status_text_has_no_control_characters),
        cmocka_unit_test(own_metrics_are_all_described),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
