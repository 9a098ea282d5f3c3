/* SPDX-License-Identifier: Apache-2.0 */
/* A service of a moment, for process_context_test.py: uses the library, says "ready", ends with its standard input. */
#include <sonde/sonde.h>
#include <stdio.h>

int main(void) {
    struct sonde_span span;
    sonde_span_start(&span, SONDE_NAME("work"), NULL);
    (void)puts("ready");
    (void)fflush(stdout);
    while (getchar() != EOF)
        ;
    sonde_span_end(&span);
    return 0;
}
