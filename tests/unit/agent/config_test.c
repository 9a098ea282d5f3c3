/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
/* after the three above */
#include <cmocka.h>

#include "agent/config/config.h"
#include "agent/config/value.h"
#include "tests/lib/fakes.h"
#include <errno.h>
#include <jansson.h>
#include <sonde/err.h>
#include <stdlib.h>
#include <string.h>

/* An exporter that has a row of every type. */
struct fake_config {
    bool flag;
    int64_t number;
    double ratio;
    uint64_t wait_ns, size;
    char *endpoint, *token, *ca_file, *traces_endpoint;
    int mode;
    struct sonde_string_list names;
    struct sonde_string_map headers;
    struct sonde_string_list signals;
    int temporality;
};
#define AT(member) offsetof(struct fake_config, member)
static const char *const modes[] = {"none", "gzip", NULL};
static const char *const temporalities[] = {"cumulative", "delta", "lowmemory", NULL};
static const struct sonde_option fake_rows[] = {
    {"endpoint", SONDE_OPTION_STRING, AT(endpoint), .sentence = "Where."},
    {"traces_endpoint", SONDE_OPTION_STRING, AT(traces_endpoint), .default_text = ""},
    {"flag", SONDE_OPTION_BOOL, AT(flag), .default_text = "true"},
    {"number", SONDE_OPTION_INT, AT(number), 1, 100, "7"},
    {"ratio", SONDE_OPTION_DOUBLE, AT(ratio), 0, 1, "0.5"},
    {"timeout", SONDE_OPTION_DURATION, AT(wait_ns), 10, 600000, "10s"},
    {"size", SONDE_OPTION_SIZE, AT(size), 1024, 4194304, "64KiB"},
    {"token", SONDE_OPTION_STRING, AT(token), .default_text = "", .secret = true},
    {"compression", SONDE_OPTION_ENUM, AT(mode), .default_text = "gzip", .values = modes},
    {"names", SONDE_OPTION_STRING_LIST, AT(names), .default_text = "a, b"},
    {"signals", SONDE_OPTION_STRING_LIST, AT(signals), .default_text = ""},
    {"temporality", SONDE_OPTION_ENUM, AT(temporality), .default_text = "cumulative", .values = temporalities},
    {"headers", SONDE_OPTION_STRING_MAP, AT(headers), .default_text = "", .secret = true},
    {"tls.ca_file", SONDE_OPTION_STRING, AT(ca_file), .default_text = ""},
    SONDE_OPTION_END,
};
static enum sonde_temporality fake_temporality(const void *config) {
    return (enum sonde_temporality)((const struct fake_config *)config)->temporality;
}
static uint32_t fake_signals(const void *config) {
    const struct sonde_string_list *signals = &((const struct fake_config *)config)->signals;
    return signals->count && strcmp(signals->items[0], "traces") == 0 ? 1u << SONDE_SIGNAL_TRACES : 7;
}
static const struct sonde_exporter_ops fake_exporter = {.name = "otlp_http",
                                                        .summary = "Fake.",
                                                        .config_size = sizeof(struct fake_config),
                                                        .options = fake_rows,
                                                        .signals = 7,
                                                        .signals_of = fake_signals,
                                                        .temporality_of = fake_temporality};
static const struct sonde_exporter_ops *const exporters[] = {&fake_exporter, NULL};
static const struct sonde_receiver_ops services = {.name = "services", .summary = "Fake."};
static const struct sonde_receiver_ops *const receivers[] = {&services, NULL};
static const struct sonde_collector_ops *const collectors[] = {NULL};
static const struct sonde_config_catalog catalog = {receivers, exporters, collectors};

struct variable {
    const char *name, *value;
};
static const char *fake_env(void *self, const char *name) {
    for (const struct variable *v = self; v && v->name; v++)
        if (strcmp(v->name, name) == 0)
            return v->value;
    return NULL;
}
static int fake_file(void *self, const struct sonde_alloc *alloc, const char *path, size_t size_max, char **ret_text,
                     size_t *ret_size) {
    (void)self, (void)size_max;
    if (strcmp(path, "/secret") != 0)
        return -ENOENT;
    char *text = sonde_alloc_new(alloc, 8);
    if (!text)
        return -ENOMEM;
    memcpy(text, "s3cr3t\n", 8);
    *ret_text = text;
    *ret_size = 7;
    return 0;
}

static struct fakes fakes;
static struct sonde_alloc alloc;
static struct sonde_config_error problem;

static int read_config(const char *text, const struct variable *variables, struct sonde_config **ret_config) {
    struct sonde_config_sources sources = {fake_env, fake_file, (void *)variables};
    return sonde_config_read(text, text ? strlen(text) : 0, &catalog, &sources, &alloc, ret_config, &problem);
}
static int setup(void **state) {
    (void)state;
    fakes_init(&fakes);
    alloc = fakes_seams(&fakes).alloc;
    return 0;
}
static int teardown(void **state) {
    (void)state;
    return fakes.live == 0 ? 0 : -1;
}
static const struct fake_config *exporter_config(const struct sonde_config *config, size_t index) {
    return config->instances[SONDE_CONFIG_EXPORTERS][index].config;
}

static void defaults_serve_without_a_file(void **state) {
    (void)state;
    struct sonde_config *config;
    assert_int_equal(read_config(NULL, NULL, &config), 0);
    assert_int_equal(config->counts[SONDE_CONFIG_RECEIVERS], 1);
    assert_string_equal(config->instances[SONDE_CONFIG_RECEIVERS][0].name, "services");
    assert_int_equal(config->counts[SONDE_CONFIG_EXPORTERS], 0);
    assert_string_equal(config->agent.listen, "127.0.0.1:4320");
    assert_int_equal(config->agent.metrics_interval_ns, 60000000000);
    assert_int_equal(config->queue.size, 64 << 20);
    sonde_config_destroy(config);
    for (const char *const *text =
             (const char *const[]){"", "---\n", "# nothing\n", "agent:\n", "exporters: ~\n", NULL};
         *text; text++) {
        assert_int_equal(read_config(*text, NULL, &config), 0);
        sonde_config_destroy(config);
    }
}

static void every_type_is_read(void **state) {
    (void)state;
    struct variable variables[] = {{"TOKEN", "tok"}, {"EMPTY", ""}, {NULL, NULL}};
    struct sonde_config *config;
    assert_int_equal(read_config("exporters:\n"
                                 "  otlp_http/backup:\n"
                                 "    endpoint: http://${env:HOST:-localhost}:4318\n"
                                 "    flag: false\n"
                                 "    number: 100\n"
                                 "    ratio: 0.25\n"
                                 "    timeout: 1m30s\n"
                                 "    size: 1MiB\n"
                                 "    token: ${file:/secret}\n"
                                 "    compression: none\n"
                                 "    names: [x, \"y z\"]\n"
                                 "    headers: {authorization: \"Bearer ${env:TOKEN}\", b: '$${x}'}\n"
                                 "    tls:\n"
                                 "      ca_file: /ca.pem\n"
                                 "queue: {size: 8MiB}\n",
                                 variables, &config),
                     0);
    const struct fake_config *fake = exporter_config(config, 0);
    assert_string_equal(config->instances[SONDE_CONFIG_EXPORTERS][0].name, "otlp_http/backup");
    assert_int_equal(config->instances[SONDE_CONFIG_EXPORTERS][0].signals, 7);
    assert_string_equal(fake->endpoint, "http://localhost:4318");
    assert_false(fake->flag);
    assert_int_equal(fake->number, 100);
    assert_true(fake->ratio == 0.25);
    assert_int_equal(fake->wait_ns, 90000000000);
    assert_int_equal(fake->size, 1 << 20);
    assert_string_equal(fake->token, "s3cr3t");
    assert_int_equal(fake->mode, 0);
    assert_int_equal(fake->names.count, 2);
    assert_string_equal(fake->names.items[1], "y z");
    assert_int_equal(fake->headers.count, 2);
    assert_string_equal(fake->headers.values[0], "Bearer tok");
    assert_string_equal(fake->headers.values[1], "${x}");
    assert_string_equal(fake->ca_file, "/ca.pem");
    assert_int_equal(config->queue.size, 8 << 20);
    sonde_config_destroy(config);
}

#define E "exporters:\n  otlp_http:\n    endpoint: x\n"
static const struct bad {
    const char *text;
    uint32_t line, column;
    const char *says;
} bads[] = {
    {"recievers: {}\n", 1, 1, "unknown key \"recievers\"; did you mean \"receivers\"?"},
    {"agent:\n  lisen: x\n", 2, 3,
     "unknown key \"lisen\" in agent; did you mean \"listen\"?; accepted: listen, insecure"},
    {"agent:\n  zzzzzz: x\n", 2, 3, "unknown key \"zzzzzz\" in agent; accepted: listen"},
    {"exporters:\n  otlp_htp: {}\n", 2, 3, "unknown exporter \"otlp_htp\"; did you mean \"otlp_http\"?"},
    {"exporters:\n  kafka: {}\n", 2, 3, "unknown exporter \"kafka\"; accepted: otlp_http"},
    {"processors:\n  redact: {}\n", 2, 3, "unknown processor \"redact\"; accepted: none in this build"},
    {"exporters:\n  otlp_http/: {}\n", 2, 3, "behind the slash"},
    {"exporters:\n  otlp_http/a b: {}\n", 2, 3, "behind the slash"},
    {"exporters:\n  otlp_http: {}\n", 2, 14, "exporter otlp_http needs the key \"endpoint\": Where."},
    {"exporters:\n  otlp_http:\n", 2, 13, "needs the key \"endpoint\""},
    {"exporters: [a]\n", 1, 12, "exporters takes instances by name"},
    {E "    endpont: y\n", 4, 5, "did you mean \"endpoint\"?"},
    {E "    number: 0\n", 4, 13, "\"0\" is not accepted for \"number\"; accepted: integer 1..100"},
    {E "    number: 1x\n", 4, 13, "integer 1..100"},
    {E "    number: 99999999999999999999\n", 4, 13, "integer 1..100"},
    {E "    ratio: nan\n", 4, 12, "number 0..1"},
    {E "    flag: yes\n", 4, 11, "accepted: true | false"},
    {E "    timeout: 5\n", 4, 14, "duration 10ms..10m as \"500ms\""},
    {E "    timeout: 5 s\n", 4, 14, "duration"},
    {E "    timeout: 9ms\n", 4, 14, "duration"},
    {E "    timeout: 99999999999999999999h\n", 4, 14, "duration"},
    {E "    size: 5MB\n", 4, 11, "size 1KiB..4MiB"},
    {E "    size: 5MiB\n", 4, 11, "size 1KiB..4MiB"},
    {E "    compression: zip\n", 4, 18, "accepted: none | gzip"},
    {E "    compression: [gzip]\n", 4, 18, "a list is not accepted for \"compression\"; accepted: none | gzip"},
    {E "    names: {a: b}\n", 4, 12, "a map is not accepted for \"names\""},
    {E "    names: [[a]]\n", 4, 13, "a list of plain text"},
    {E "    headers: [a]\n", 4, 14, "a list is not accepted for \"headers\""},
    {E "    headers: hunter2\n", 4, 14, "value of \"headers\" is not accepted"},
    {E "    tls: on\n", 4, 10, "\"tls\" in exporter otlp_http takes keys and values"},
    {E "    tls: {ca_fil: x}\n", 4, 11,
     "unknown key \"tls.ca_fil\" in exporter otlp_http; did you mean \"ca_file\"?; accepted: ca_file"},
    {E "    tls.ca_fil: x\n", 4, 5, "unknown key \"tls.ca_fil\""},
    {E "    tls.ca_file: x\n    tls: {ca_file: y}\n", 5, 11, "key \"tls.ca_file\" stands twice"},
    {E "    token: ${env:NOPE}\n", 4, 12, "environment variable NOPE is not set"},
    {E "    token: ${file:/nope}\n", 4, 12, "file /nope cannot be read: No such file"},
    {E "    token: ${NOPE}\n", 4, 12, "${NOPE} is not known; accepted: ${env:NAME}"},
    {E "    token: ${env:NOPE\n", 4, 12, "${ has no }"},
    {E "    number: 1\n    number: 2\n", 5, 5, "key \"number\" stands twice; the first is in line 4"},
    {E "    token: *x\n", 4, 12, "alias *x has no anchor before it"},
    {"agent: &a\n  b: *a\n", 2, 6, "alias *a is inside of what it stands for"},
    {"agent: [\n", 2, 1, "not YAML"},
    {"agent: {}\n---\nagent: {}\n", 2, 1, "a second document"},
    {"? [a]\n: b\n", 1, 3, "a key must be plain text"},
    {"just text\n", 1, 1, "a configuration has keys at the top"},
    {"agent: \"\\0\"\n", 1, 8, "a NUL character is not accepted"},
};

static void bad_configurations_are_told_with_their_place(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof bads / sizeof bads[0]; i++) {
        struct sonde_config *config = NULL;
        int error = read_config(bads[i].text, NULL, &config);
        if (error >= 0 || problem.line != bads[i].line || problem.column != bads[i].column ||
            !strstr(problem.text, bads[i].says))
            fail_msg("%s\n-> %d %u:%u: %s\nwanted %u:%u: %s", bads[i].text, error, problem.line, problem.column,
                     problem.text, bads[i].line, bads[i].column, bads[i].says);
        assert_null(strstr(problem.text, "hunter2"));
        assert_int_equal(fakes.live, 0);
    }
}

static void aliases_are_shared_and_bounded(void **state) {
    (void)state;
    struct sonde_config *config;
    assert_int_equal(read_config("exporters:\n  otlp_http/a: &x {endpoint: one}\n  otlp_http/b: *x\n", NULL, &config),
                     0);
    assert_string_equal(exporter_config(config, 1)->endpoint, "one");
    sonde_config_destroy(config);
    char bomb[2000] = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n";
    for (int i = 1; i < 12; i++) {
        char line[100];
        (void)snprintf(line, sizeof line, "a%d: &a%d [*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d]\n", i, i, i - 1, i - 1,
                       i - 1, i - 1, i - 1, i - 1, i - 1, i - 1);
        size_t used = strlen(bomb);
        (void)snprintf(bomb + used, sizeof bomb - used, "%s", line);
    }
    assert_int_equal(read_config(bomb, NULL, &config), SONDE_ETOOBIG);
    assert_non_null(strstr(problem.text, "more than 10000 values"));
}

static void depth_and_size_are_bounded(void **state) {
    (void)state;
    struct sonde_config *config;
    assert_int_equal(read_config("a: [[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]\n", NULL, &config), SONDE_ETOOBIG);
    assert_non_null(strstr(problem.text, "deeper than 16"));
    size_t size = (1u << 20) + 2;
    char *text = malloc(size);
    memset(text, '#', size - 1);
    text[size - 1] = '\0';
    assert_int_equal(read_config(text, NULL, &config), SONDE_ETOOBIG);
    free(text);
}

static void environment_configures_an_exporter(void **state) {
    (void)state;
    struct variable variables[] = {{"OTEL_EXPORTER_OTLP_ENDPOINT", "http://b:4318"},
                                   {"OTEL_EXPORTER_OTLP_HEADERS", "api-key=a%20b=c, x = y"},
                                   {"OTEL_EXPORTER_OTLP_TIMEOUT", "2500"},
                                   {"OTEL_EXPORTER_OTLP_COMPRESSION", "None"},
                                   {"OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "LowMemory"},
                                   {"OTEL_EXPORTER_OTLP_CERTIFICATE", "/it's/ca.pem"},
                                   {NULL, NULL}};
    struct sonde_config *config;
    assert_int_equal(read_config("agent: {}\n", variables, &config), 0);
    assert_true(config->exporters_from_environment);
    assert_int_equal(config->counts[SONDE_CONFIG_EXPORTERS], 1);
    const struct fake_config *fake = exporter_config(config, 0);
    assert_string_equal(fake->endpoint, "http://b:4318");
    assert_int_equal(fake->headers.count, 2);
    assert_string_equal(fake->headers.keys[0], "api-key");
    assert_string_equal(fake->headers.values[0], "a b=c");
    assert_string_equal(fake->headers.keys[1], "x");
    assert_string_equal(fake->headers.values[1], "y");
    assert_int_equal(fake->wait_ns, 2500000000);
    assert_int_equal(fake->mode, 0);
    assert_int_equal(fake->temporality, SONDE_TEMPORALITY_LOW_MEMORY);
    assert_string_equal(fake->ca_file, "/it's/ca.pem");
    sonde_config_destroy(config);
    assert_int_equal(read_config("exporters: {}\n", variables, &config), 0); /* the file has the word */
    assert_int_equal(config->counts[SONDE_CONFIG_EXPORTERS], 0);
    sonde_config_destroy(config);
}

static void environment_takes_only_signals_with_an_endpoint(void **state) {
    (void)state;
    struct variable variables[] = {{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://t/x"}, {NULL, NULL}};
    struct sonde_config *config;
    assert_int_equal(read_config(NULL, variables, &config), 0);
    const struct fake_config *fake = exporter_config(config, 0);
    assert_string_equal(fake->traces_endpoint, "http://t/x");
    assert_int_equal(fake->signals.count, 1);
    assert_string_equal(fake->signals.items[0], "traces");
    sonde_config_destroy(config);
    struct variable grpc[] = {
        {"OTEL_EXPORTER_OTLP_ENDPOINT", "http://b"}, {"OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"}, {NULL, NULL}};
    assert_int_equal(read_config(NULL, grpc, &config), SONDE_EINVALID);
    assert_non_null(strstr(problem.text, "accepted: http/protobuf"));
    struct variable bad[] = {{"OTEL_EXPORTER_OTLP_ENDPOINT", "http://b"},
                             {"OTEL_EXPORTER_OTLP_TIMEOUT", "soon"},
                             {"OTEL_EXPORTER_OTLP_HEADERS", "=,a,%,b=\x01"},
                             {NULL, NULL}};
    assert_int_not_equal(read_config(NULL, bad, &config), 0);
}

static void temporality_is_one_for_all_exporters_of_metrics(void **state) {
    (void)state;
    static const struct {
        const char *exporters;
        int error;
        enum sonde_temporality wanted;
    } cases[] = {
        {"{}", 0, SONDE_TEMPORALITY_CUMULATIVE},
        {"{otlp_http: {endpoint: a}}", 0, SONDE_TEMPORALITY_CUMULATIVE},
        {"{otlp_http: {endpoint: a, temporality: delta}}", 0, SONDE_TEMPORALITY_DELTA},
        {"{otlp_http: {endpoint: a, temporality: lowmemory}, otlp_http/b: {endpoint: b, temporality: lowmemory}}", 0,
         SONDE_TEMPORALITY_LOW_MEMORY},
        {"{otlp_http: {endpoint: a, temporality: delta}, otlp_http/b: {endpoint: b, signals: [traces]}}", 0,
         SONDE_TEMPORALITY_DELTA},
        {"{otlp_http: {endpoint: a, temporality: delta}, otlp_http/b: {endpoint: b}}", SONDE_EINVALID, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct sonde_config *config;
        enum sonde_temporality temporality = SONDE_TEMPORALITY_CUMULATIVE;
        char text[300];
        (void)snprintf(text, sizeof text, "exporters: %s\n", cases[i].exporters);
        assert_int_equal(read_config(text, NULL, &config), 0);
        assert_int_equal(sonde_config_temporality(config, &temporality, &problem), cases[i].error);
        if (cases[i].error)
            assert_non_null(strstr(problem.text,
                                   "exporter otlp_http/b: temporality is cumulative, but that of otlp_http "
                                   "is delta"));
        else
            assert_int_equal(temporality, cases[i].wanted);
        sonde_config_destroy(config);
    }
    struct variable bad[] = {{"OTEL_EXPORTER_OTLP_ENDPOINT", "http://b"},
                             {"OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "sometimes"},
                             {NULL, NULL}};
    struct sonde_config *config;
    assert_int_equal(read_config(NULL, bad, &config), SONDE_EINVALID);
    assert_non_null(strstr(problem.text, "lowmemory"));
}

static char *printed(const struct sonde_config *config) {
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    sonde_config_print(config, out);
    fclose(out);
    return text;
}

static void print_hides_secrets_and_reads_back(void **state) {
    (void)state;
    struct sonde_config *config, *again;
    assert_int_equal(read_config("exporters:\n  otlp_http:\n    endpoint: \"http://x/'\\\"$${y}\"\n    token: hunter2\n"
                                 "    headers: {authorization: hunter2}\n    timeout: 1500ms\n    tls: {ca_file: c}\n",
                                 NULL, &config),
                     0);
    char *text = printed(config);
    assert_null(strstr(text, "hunter2"));
    assert_non_null(strstr(text, "authorization\": \"***\""));
    assert_non_null(strstr(text, "timeout: 1500ms"));
    assert_int_equal(read_config(text, NULL, &again), 0);
    assert_string_equal(exporter_config(again, 0)->endpoint, exporter_config(config, 0)->endpoint);
    char *text_again = printed(again);
    assert_string_equal(text, text_again);
    free(text);
    free(text_again);
    sonde_config_destroy(config);
    sonde_config_destroy(again);
}

static void schema_is_json_and_docs_name_every_key(void **state) {
    (void)state;
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    sonde_config_print_schema(&catalog, out);
    fclose(out);
    json_t *schema = json_loads(text, 0, NULL);
    assert_non_null(schema);
    json_t *properties = json_object_get(schema, "properties");
    assert_int_equal(json_object_size(properties), 6);
    json_t *exporter = json_object_get(json_object_get(json_object_get(properties, "exporters"), "patternProperties"),
                                       "^otlp_http(/[A-Za-z0-9_.-]+)?$");
    assert_non_null(json_object_get(
        json_object_get(json_object_get(json_object_get(exporter, "properties"), "tls"), "properties"), "ca_file"));
    json_decref(schema);
    free(text);
    out = open_memstream(&text, &size);
    sonde_config_print_docs(&catalog, out);
    fclose(out);
    for (const struct sonde_option *row = fake_rows; row->key; row++) {
        char cell[100];
        (void)snprintf(cell, sizeof cell, "| `%s` |", row->key);
        assert_non_null(strstr(text, cell));
    }
    free(text);
}

/** Every registered row: its default goes through its own parser and prints to text that parses again. */
static void check_rows(const struct sonde_option *rows, size_t config_size) {
    void *config = calloc(1, config_size + 1);
    char text[500], again[500], why[500];
    size_t count = 0;
    for (const struct sonde_option *row = rows; row && row->key; row++, count++) {
        assert_non_null(row->sentence);
        assert_true(row->type == SONDE_OPTION_ENUM ? row->values != NULL : row->values == NULL);
        if (!row->default_text)
            continue;
        assert_int_equal(sonde__value_parse(row, row->default_text, &alloc, config, why, sizeof why), 0);
        sonde__value_format(row, config, text, sizeof text);
        if (row->type < SONDE_OPTION_STRING_LIST)
            assert_int_equal(sonde__value_parse(row, text, &alloc, config, why, sizeof why), 0);
        sonde__value_format(row, config, again, sizeof again);
        assert_string_equal(text, again);
        sonde__value_clear(row, &alloc, config);
    }
    assert_true(count <= 64);
    free(config);
}
static void registered_rows_have_defaults_that_parse(void **state) {
    (void)state;
    struct sonde_config_kind kind;
    for (unsigned s = 0; s < SONDE_CONFIG_SECTION_COUNT; s++)
        for (size_t i = 0; sonde_config_kind_at(&sonde_config_catalog_real, s, i, &kind); i++)
            check_rows(kind.options, kind.config_size);
    check_rows(sonde_config_queue_options, sizeof(struct sonde_config_queue));
    check_rows(sonde_config_agent_options, sizeof(struct sonde_config_agent));
}

static void reading_survives_every_allocation_failing(void **state) {
    (void)state;
    int error = -ENOMEM;
    struct variable variables[] = {{"T", "tok"}, {NULL, NULL}};
    for (int64_t failing = 0; error != 0; failing++) {
        struct sonde_config *config = NULL;
        fakes.allocations_until_failure = failing;
        error = read_config(E "    headers: {a: \"${env:T}\"}\n    names: [a, b]\n    token: &t ${file:/secret}\n",
                            variables, &config);
        fakes.allocations_until_failure = -1;
        assert_true(error == 0 || error == -ENOMEM);
        if (!error)
            sonde_config_destroy(config);
        assert_int_equal(fakes.live, 0);
        assert_true(failing < 1000);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(defaults_serve_without_a_file, setup, teardown),
        cmocka_unit_test_setup_teardown(every_type_is_read, setup, teardown),
        cmocka_unit_test_setup_teardown(bad_configurations_are_told_with_their_place, setup, teardown),
        cmocka_unit_test_setup_teardown(aliases_are_shared_and_bounded, setup, teardown),
        cmocka_unit_test_setup_teardown(depth_and_size_are_bounded, setup, teardown),
        cmocka_unit_test_setup_teardown(environment_configures_an_exporter, setup, teardown),
        cmocka_unit_test_setup_teardown(environment_takes_only_signals_with_an_endpoint, setup, teardown),
        cmocka_unit_test_setup_teardown(temporality_is_one_for_all_exporters_of_metrics, setup, teardown),
        cmocka_unit_test_setup_teardown(print_hides_secrets_and_reads_back, setup, teardown),
        cmocka_unit_test_setup_teardown(schema_is_json_and_docs_name_every_key, setup, teardown),
        cmocka_unit_test_setup_teardown(registered_rows_have_defaults_that_parse, setup, teardown),
        cmocka_unit_test_setup_teardown(reading_survives_every_allocation_failing, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
