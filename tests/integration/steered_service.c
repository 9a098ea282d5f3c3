/* SPDX-License-Identifier: Apache-2.0 */
/* A service for steering_test.py. A line "roots N" on standard input: N root spans, answered by the number recorded and
 * the tracestate of the last; "logs N SEVERITY": N log records; "flush"; the end of the input ends it. */
#include <sonde/sonde.h>
#include <stdio.h>
#include <string.h>

static void roots(unsigned count) {
    struct sonde_context context;
    unsigned recorded = 0;
    sonde_context_init(&context);
    for (unsigned i = 0; i < count; i++) {
        struct sonde_span span;
        sonde_span_start(&span, SONDE_NAME("root"), NULL);
        if (sonde_span_is_recording(&span)) {
            recorded++;
            sonde_span_context_get(&span, &context);
        }
        sonde_span_end(&span);
    }
    printf("%u %.*s\n", recorded, (int)context.tracestate_length, context.tracestate);
}

int main(void) {
    char line[100];
    while (fgets(line, sizeof line, stdin)) {
        unsigned count = 0;
        int severity = 0;
        if (sscanf(line, "roots %u", &count) == 1) {
            roots(count);
        } else if (sscanf(line, "logs %u %d", &count, &severity) == 2) {
            for (unsigned i = 0; i < count; i++)
                sonde_log(severity, "said", 4, NULL, 0);
            puts("done");
        } else if (strncmp(line, "flush", 5) == 0) {
            printf("%d\n", sonde_flush(30000));
        }
        if (fflush(stdout) != 0)
            return 1;
    }
    return 0;
}
