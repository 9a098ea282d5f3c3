/* SPDX-License-Identifier: Apache-2.0 */
/* A service that takes part in sagas, for sagas_test.py and the figure of memory. Lines on standard input:
 *   step ID TYPE STEP INDEX ACTION     a step's span, with attributes by hand: what any SDK can do
 *   mark ID TYPE OUTCOME               a span that says how the saga ended
 *   open ID TYPE                       a step's span that stays open
 *   lead ID TYPE OUTCOME               a whole saga of two steps by the library
 *   many N FIRST                       N sagas of a step each: "live-FIRST" and so on
 *   plain N                            N spans that tell of no saga
 *   flush
 * Each is answered by a line; the end of the input ends it. */
#include <inttypes.h>
#include <sonde/resilience/saga.h>
#include <sonde/sonde.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void begin(struct sonde_span *span, const char *id, const char *type) {
    sonde_span_start(span, SONDE_NAME("saga work"), NULL);
    sonde_span_set_cstr(span, SONDE_KEY("sonde.saga.id"), id);
    sonde_span_set_cstr(span, SONDE_KEY("sonde.saga.type"), type);
}

static void step(const char *id, const char *type, const char *name, int64_t number, const char *action) {
    struct sonde_span span;
    begin(&span, id, type);
    sonde_span_set_cstr(&span, SONDE_KEY("sonde.saga.step"), name);
    sonde_span_set_int64(&span, SONDE_KEY("sonde.saga.step.index"), number);
    sonde_span_set_cstr(&span, SONDE_KEY("sonde.saga.action"), action);
    sonde_span_end(&span);
}

static void mark(const char *id, const char *type, const char *outcome) {
    struct sonde_span span;
    begin(&span, id, type);
    sonde_span_set_cstr(&span, SONDE_KEY("sonde.saga.outcome"), outcome);
    sonde_span_end(&span);
}

static void lead(const char *id, const char *type, const char *outcome) {
    struct sonde_saga_options options = SONDE_SAGA_OPTIONS_INIT;
    struct sonde_saga saga;
    struct sonde_saga_step one;
    options.id = id;
    sonde_saga_begin(&saga, type, &options);
    sonde_saga_step_begin(&saga, &one, "reserve", NULL);
    sonde_saga_step_end(&saga, &one, NULL);
    bool is_good = strcmp(outcome, "completed") == 0;
    sonde_saga_step_begin(&saga, &one, "charge", NULL);
    sonde_saga_step_end(&saga, &one, is_good ? NULL : "declined");
    while (!is_good && sonde_saga_compensate(&saga, &one, NULL))
        sonde_saga_step_end(&saga, &one, NULL);
    sonde_saga_end(&saga, is_good ? SONDE_SAGA_COMPLETED : SONDE_SAGA_COMPENSATED);
}

static void many(unsigned count, unsigned first) {
    char id[40];
    for (unsigned i = first; i < first + count; i++) {
        (void)snprintf(id, sizeof id, "live-%027u", i); /* as long as the library's own */
        step(id, "order", "reserve", 1, "forward");
        if (i % 256 == 255)
            (void)sonde_flush(30000); /* none may be lost */
    }
}

static int obey(char *line) {
    char a[80], b[80], c[80], d[80];
    unsigned count, first;
    static struct sonde_span left_open;
    if (sscanf(line, "step %79s %79s %79s %u %79s", a, b, c, &count, d) == 5) {
        step(a, b, c, count, d);
    } else if (sscanf(line, "mark %79s %79s %79s", a, b, c) == 3) {
        mark(a, b, c);
    } else if (sscanf(line, "open %79s %79s", a, b) == 2) {
        begin(&left_open, a, b);
    } else if (sscanf(line, "lead %79s %79s %79s", a, b, c) == 3) {
        lead(a, b, c);
    } else if (sscanf(line, "many %u %u", &count, &first) == 2) {
        many(count, first);
    } else if (sscanf(line, "plain %u", &count) == 1) {
        for (struct sonde_span span; count > 0; count--) {
            sonde_span_start(&span, SONDE_NAME("plain"), NULL);
            sonde_span_set_cstr(&span, SONDE_KEY("http.route"), "/v1");
            sonde_span_end(&span);
        }
    } else if (strncmp(line, "flush", 5) == 0) {
        return sonde_flush(30000);
    } else {
        return -1;
    }
    return 0;
}

int main(void) {
    char line[400];
    while (fgets(line, sizeof line, stdin)) {
        printf("%d\n", obey(line));
        if (fflush(stdout) != 0)
            return 1;
    }
    return 0;
}
