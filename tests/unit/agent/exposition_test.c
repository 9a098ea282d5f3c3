/* SPDX-License-Identifier: Apache-2.0 */
/* The text formats of Prometheus and OpenMetrics: what is read, and what is refused. */
#include "agent/receive/exposition.h"
#include "agent/receive/scrape.h"
#include <math.h>
#include <setjmp.h>
#include <sonde/err.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
/* cmocka.h needs those four first */
#include <cmocka.h>

static char out[8192];
static size_t out_size;

static int on_sample(void *user, const struct sonde__exposition_sample *sample) {
    (void)user;
    char *at = out + out_size;
    size_t room = sizeof out - out_size;
    int size = snprintf(at, room, "%d %s", (int)sample->type, sample->name);
    for (size_t i = 0; i < sample->label_count; i++)
        size += snprintf(at + size, room - (size_t)size, " %s=[%s]", sample->labels[i].name, sample->labels[i].value);
    size += snprintf(at + size, room - (size_t)size, " %.17g%s%s\n", sample->value,
                     sample->is_created ? " created " : " ", sample->help);
    out_size += (size_t)size;
    assert_true(out_size < sizeof out);
    return 0;
}

static struct sonde__exposition reader;
static int read_text(const char *text, size_t size, bool openmetrics) {
    char *copy = malloc(size ? size : 1); /* exact: a read past it is seen */
    assert_non_null(copy);
    memcpy(copy, text, size);
    out_size = 0;
    out[0] = '\0';
    memset(&reader, 0xa5, sizeof reader);
    reader = (struct sonde__exposition){.is_openmetrics = openmetrics, .samples_max = 100, .sample = on_sample};
    int err = sonde__exposition_read(&reader, copy, size);
    free(copy);
    assert_true(!err == !reader.problem);
    return err;
}

static void reads_prometheus_text(void **state) {
    (void)state;
    static const struct {
        const char *text, *samples;
    } rows[] = {
        {"", ""},
        {"\n\n  \n# only a comment\n#\n#EOF\n", ""},
        {"a 1", "0 a 1 \n"}, /* no newline at the end */
        {"a 1\r\nb 2\r\n", "0 a 1 \n0 b 2 \n"},
        {"a:b_c9 +0.5e-1 -12\n", "0 a:b_c9 0.050000000000000003 \n"},
        {"a{} 1\n", "0 a 1 \n"},
        {"a{b=\"c\",} 1\n", "0 a b=[c] 1 \n"},
        {"\ta { b = \"c\" , d=\"e\" } \t 1 5 \n", "0 a b=[c] d=[e] 1 \n"},
        {"a{b=\"\\\\ \\\" \\n {},= #\"} 1\n", "0 a b=[\\ \" \n {},= #] 1 \n"},
        {"a{b=\"\",c=\"x\"} 1\n", "0 a c=[x] 1 \n"},
        {"a nan\nb -inf\nc Inf\nd +INF\n", "0 a nan \n0 b -inf \n0 c inf \n0 d inf \n"},
        {"a 123456789012345678901234567890\n", "0 a 1.2345678901234568e+29 \n"},
        {"a 999999999999999\nb 9007199254740993\n", "0 a 999999999999999 \n0 b 9007199254740992 \n"},
        {"# TYPE a counter\n# HELP a Say \\\\ it\\nnow.\na 1\nab 2\n", "1 a 1 Say \\ it\nnow.\n0 ab 2 \n"},
        {"# HELP a  two  words \n# TYPE a gauge\na 1\n", "2 a 1  two  words \n"},
        {"# TYPE a histogram\na_bucket{le=\"1\"} 1\na_sum 2\na_count 1\na 1\n",
         "3 a_bucket le=[1] 1 \n3 a_sum 2 \n3 a_count 1 \n0 a 1 \n"},
        {"# TYPE a summary\na{quantile=\"0.5\"} 1\na_sum 2\na_created 3\n",
         "4 a quantile=[0.5] 1 \n4 a_sum 2 \n0 a_created 3 \n"},
        {"# TYPE a untyped\na 1\n# TYPE b counter\nb_total 1\n", "0 a 1 \n1 b_total 1 \n"},
        {"# HELP a \xff\xfe\na 1\n", "0 a 1 \n"}, /* no text at all */
        {"# HELP a b\n# TYPE b counter\nb 1\n", "1 b 1 \n"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_int_equal(read_text(rows[i].text, strlen(rows[i].text), false), 0);
        assert_string_equal(out, rows[i].samples);
    }
}

static void reads_openmetrics(void **state) {
    (void)state;
    static const char text[] = "# TYPE a counter\n# UNIT a seconds\n# HELP a Help.\n"
                               "a_total{x=\"1\"} 5 # {trace_id=\"0123\"} 0.5 1.5\na_created{x=\"1\"} 12.5\n"
                               "# TYPE i info\ni_info{v=\"1\"} 1\n# TYPE s stateset\ns{s=\"on\"} 1\n"
                               "# TYPE g gaugehistogram\ng_bucket{le=\"+Inf\"} 1 123.5\ng_gcount 1\ng_gsum 2\n"
                               "# TYPE u unknown\nu 1\n# EOF\n";
    assert_int_equal(read_text(text, strlen(text), true), 0);
    assert_string_equal(out, "1 a_total x=[1] 5 Help.\n1 a_total x=[1] 12.5 created Help.\n6 i_info v=[1] 1 \n"
                             "7 s s=[on] 1 \n5 g_bucket le=[+Inf] 1 \n5 g_gcount 1 \n5 g_gsum 2 \n0 u 1 \n");
    assert_int_equal(reader.samples, 8);
    assert_int_equal(read_text("# EOF", 5, true), 0);
}

static void refuses_what_is_no_exposition(void **state) {
    (void)state;
    static const struct {
        const char *text;
        bool openmetrics;
        int error;
    } rows[] = {
        {"a", false, SONDE_EMALFORMED},
        {"a ", false, SONDE_EMALFORMED},
        {"a{", false, SONDE_EMALFORMED},
        {"a{b", false, SONDE_EMALFORMED},
        {"a{b=", false, SONDE_EMALFORMED},
        {"a{b=\"", false, SONDE_EMALFORMED},
        {"a{b=\"c", false, SONDE_EMALFORMED},
        {"a{b=\"c\\", false, SONDE_EMALFORMED},
        {"a{b=\"c\\x\"} 1", false, SONDE_EMALFORMED},
        {"a{b=\"c\"", false, SONDE_EMALFORMED},
        {"a{b=\"c\" d=\"e\"} 1", false, SONDE_EMALFORMED},
        {"a{,} 1", false, SONDE_EMALFORMED},
        {"a{b=c} 1", false, SONDE_EMALFORMED},
        {"a{b=\"c\",b=\"d\"} 1", false, SONDE_EMALFORMED},
        {"a{b:c=\"d\"} 1", false, SONDE_EMALFORMED},
        {"a{\"quoted.name\"} 1", false, SONDE_EMALFORMED},
        {"1a 1", false, SONDE_EMALFORMED},
        {"a-b 1", false, SONDE_EMALFORMED},
        {"{a=\"b\"} 1", false, SONDE_EMALFORMED},
        {"a 1 2 3", false, SONDE_EMALFORMED},
        {"a 1 x", false, SONDE_EMALFORMED},
        {"a 0x10", false, SONDE_EMALFORMED},
        {"a nan(1)", false, SONDE_EMALFORMED},
        {"a 1e", false, SONDE_EMALFORMED},
        {"a 1_000", false, SONDE_EMALFORMED},
        {"a --1", false, SONDE_EMALFORMED},
        {"a 1 # {b=\"c\"} 1", false, SONDE_EMALFORMED},
        {"\xff\xfe\xfd 1", false, SONDE_EMALFORMED},
        {"<html><body>", false, SONDE_EMALFORMED},
        {"# TYPE a thing\n", false, SONDE_EMALFORMED},
        {"# TYPE a counter x\n", false, SONDE_EMALFORMED},
        {"# TYPE\n", false, SONDE_EMALFORMED},
        {"# TYPE 9 counter\n", false, SONDE_EMALFORMED},
        {"# HELP\n", false, SONDE_EMALFORMED},
        {"a 1\n", true, SONDE_EMALFORMED},
        {"", true, SONDE_EMALFORMED},
        {"a 1\n# EOF\nb 1\n", true, SONDE_EMALFORMED},
        {"a 1\n# EOF x\n", true, SONDE_EMALFORMED},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (read_text(rows[i].text, strlen(rows[i].text), rows[i].openmetrics) != rows[i].error)
            fail_msg("row %zu: %s", i, rows[i].text);
    assert_int_equal(read_text("a\0b 1\n", 6, false), SONDE_EMALFORMED);
    assert_int_equal(read_text("ok 1\nbad\n", 9, false), SONDE_EMALFORMED);
    assert_int_equal(reader.line, 2);
}

static char *repeated(const char *begin, const char *part, size_t times, const char *end) {
    size_t size = strlen(begin) + strlen(part) * times + strlen(end) + 1, at = strlen(begin);
    char *text = malloc(size);
    assert_non_null(text);
    memcpy(text, begin, at);
    for (size_t i = 0; i < times; i++, at += strlen(part))
        memcpy(text + at, part, strlen(part));
    memcpy(text + at, end, strlen(end) + 1);
    return text;
}

static int nothing(void *user, const struct sonde__exposition_sample *sample) {
    (void)user, (void)sample;
    return 0;
}
static int read_quietly(const char *text) {
    reader = (struct sonde__exposition){.samples_max = 100, .sample = nothing};
    return sonde__exposition_read(&reader, text, strlen(text));
}

static void every_size_has_a_limit(void **state) {
    (void)state;
    static const struct {
        const char *begin, *part;
        size_t times;
        const char *end;
        int error;
    } rows[] = {
        {"", "a 1\n", 100, "", 0},
        {"", "a 1\n", 101, "", SONDE_ETOOBIG},
        {"", "n", 255, " 1\n", 0},
        {"", "n", 256, " 1\n", SONDE_ETOOBIG},
        {"# TYPE ", "n", 256, " counter\n", SONDE_ETOOBIG},
        {"a{b=\"", "v", 16000, "\"} 1\n", 0},
        {"a{b=\"", "v", 16384, "\"} 1\n", SONDE_ETOOBIG},
        {"a{", "n", 16384, "=\"x\"} 1\n", SONDE_ETOOBIG},
        {"# HELP a ", "\xc3\xa4", 4000, "\na 1\n", 0},
        {"a ", "1", 65, "\n", SONDE_EMALFORMED},
        {"# ", "x", 100000, "\na 1\n", 0},
        {"a 1 ", " ", 100000, "\n", 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char *text = repeated(rows[i].begin, rows[i].part, rows[i].times, rows[i].end);
        int err = read_quietly(text);
        free(text);
        if (err != rows[i].error)
            fail_msg("row %zu: %d", i, err);
    }
    char text[2048] = "a{";
    for (int i = 0; i < 65; i++)
        (void)snprintf(text + strlen(text), sizeof text - strlen(text), "l%d=\"v\",", i);
    (void)snprintf(text + strlen(text), sizeof text - strlen(text), "} 1\n");
    assert_int_equal(read_text(text, strlen(text), false), SONDE_ETOOBIG);
}

/* Cut off anywhere, or with any byte changed: an answer or a refusal, never more (sanitizers look on). */
static void any_bytes_are_survived(void **state) {
    (void)state;
    static const char good[] =
        "# HELP a b\\\\c\n# TYPE a counter\na_total{b=\"c\\n\",d=\"e\"} 1 2 # {x=\"y\"} 1\n# EOF\n";
    char text[sizeof good];
    for (size_t size = 0; size < sizeof good; size++)
        (void)read_text(good, size, size % 2);
    for (size_t at = 0; at < sizeof good - 1; at++)
        for (unsigned byte = 0; byte < 256; byte++) {
            memcpy(text, good, sizeof good);
            text[at] = (char)byte;
            (void)read_text(text, sizeof good - 1, byte % 2);
        }
}

static void takes_addresses_apart(void **state) {
    (void)state;
    static const struct {
        const char *target, *url, *instance, *host;
        unsigned port;
    } rows[] = {
        {"a:9090", "http://a:9090/metrics", "a:9090", "a", 9090},
        {"a", "http://a:80/metrics", "a:80", "a", 80},
        {"[::1]:9", "http://[::1]:9/metrics", "[::1]:9", "::1", 9},
        {"https://a.b/x?y=z", "https://a.b:443/x?y=z", "a.b:443", "a.b", 443},
        {"http://a:1", "http://a:1/metrics", "a:1", "a", 1},
        {"", NULL, NULL, NULL, 0},
        {":80", NULL, NULL, NULL, 0},
        {"a:", NULL, NULL, NULL, 0},
        {"a:0", NULL, NULL, NULL, 0},
        {"a:65536", NULL, NULL, NULL, 0},
        {"a:8x", NULL, NULL, NULL, 0},
        {"a/b", NULL, NULL, NULL, 0},
        {"a b", NULL, NULL, NULL, 0},
        {"u@a:1", NULL, NULL, NULL, 0},
        {"http://u:p@a", NULL, NULL, NULL, 0},
        {"file:///etc/passwd", NULL, NULL, NULL, 0},
        {"http://a/\r\nX: y", NULL, NULL, NULL, 0},
        {"[::1", NULL, NULL, NULL, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct sonde__scrape_address address;
        int err = sonde__scrape_address_parse(rows[i].target, "http", "/metrics", &address);
        if (!err != !!rows[i].url)
            fail_msg("%s: %d", rows[i].target, err);
        if (err)
            continue;
        assert_string_equal(address.url, rows[i].url);
        assert_string_equal(address.instance, rows[i].instance);
        assert_string_equal(address.host, rows[i].host);
        assert_int_equal(address.port, rows[i].port);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_prometheus_text),         cmocka_unit_test(reads_openmetrics),
        cmocka_unit_test(refuses_what_is_no_exposition), cmocka_unit_test(every_size_has_a_limit),
        cmocka_unit_test(any_bytes_are_survived),        cmocka_unit_test(takes_addresses_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
