/* SPDX-License-Identifier: Apache-2.0 */
/* A service whose measurements exemplars_test.py looks for: for each line of its standard input a span, "measured" with
 * the attribute n = 1, 2, ..., under which it measures n with every kind of instrument, and one that is not sampled, in
 * which it measures 1000 + n. Prints the line's n when it is done; ends with its input. */
#include <sonde/sonde.h>
#include <stdio.h>
#include <stdlib.h>

static struct sonde_instrument make(const char *name, enum sonde_instrument_kind kind, const double *bounds) {
    struct sonde_instrument_options options = {
        .size = sizeof options, .kind = kind, .name = name, .bounds = bounds, .bound_count = bounds ? 2 : 0};
    struct sonde_instrument instrument;
    if (sonde_instrument_create(&options, &instrument)) {
        fprintf(stderr, "no instrument %s\n", name);
        exit(1);
    }
    return instrument;
}

static struct sonde_instrument counter, gauge, exponential, explicit_buckets;
static struct sonde_series bound;

static void measure(int64_t n) {
    struct sonde_attribute attributes[] = {sonde_attribute_string(SONDE_KEY("route"), "/a"),
                                           sonde_attribute_int64(SONDE_KEY("user"), n)};
    sonde_counter_add(bound, (uint64_t)n);
    sonde_instrument_add(counter, n, attributes, 2);
    sonde_instrument_record(gauge, (double)n, attributes, 2);
    sonde_instrument_record(exponential, (double)n, attributes, 2);
    sonde_instrument_record(explicit_buckets, (double)n, attributes, 2);
}

int main(void) {
    static const char *const drop[] = {"user"};
    static const double bounds[] = {1, 2};
    struct sonde_view_options view = {
        .size = sizeof view, .instrument_name = "peer.*", .drop_keys = drop, .drop_key_count = 1};
    if (sonde_view_add(&view))
        return 1;
    counter = make("peer.counter", SONDE_COUNTER, NULL);
    gauge = make("peer.gauge", SONDE_GAUGE, NULL);
    exponential = make("peer.exponential", SONDE_HISTOGRAM, NULL);
    explicit_buckets = make("peer.explicit", SONDE_HISTOGRAM, bounds);
    bound = sonde_series_bind(make("peer.bound", SONDE_COUNTER, NULL), NULL, 0);
    int64_t n = 0;
    for (int c; (c = getchar()) != EOF;) {
        struct sonde_context silent = {.span = {.trace_id = {1}, .span_id = {1}}};
        struct sonde_span span;
        if (c != '\n')
            continue;
        n++;
        sonde_span_start(&span, SONDE_NAME("measured"), NULL);
        sonde_span_set_int64(&span, SONDE_KEY("n"), n);
        measure(n);
        sonde_span_end(&span);
        struct sonde_context_token token = sonde_context_attach(&silent);
        measure(1000 + n);
        sonde_context_detach(token);
        printf("%lld\n", (long long)n);
        fflush(stdout);
    }
    return 0;
}
