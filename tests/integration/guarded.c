/* SPDX-License-Identifier: Apache-2.0 */
/* A service with circuit breakers, driven by breakers_test.py over its standard input; each line is answered by the state
 * of "payments": "trip" (four failures), "call" (one success), "fork" (a child with the states at its fork; prints its
 * pid; it ends with the input). */
#include <sonde/resilience/breaker.h>
#include <sonde/sonde.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static struct sonde_breaker breaker;

static void call(enum sonde_outcome outcome) {
    struct sonde_breaker_permit permit;
    if (sonde_breaker_admit(breaker, &permit) != SONDE_REJECTED)
        sonde_breaker_report(breaker, &permit, outcome, 1000000);
}

static void child_main(void) {
    char byte;
    (void)sonde_breaker_state_get(breaker);
    (void)sonde_breaker_state_set(breaker, SONDE_BREAKER_FORCED_OPEN, 0);
    (void)sonde_flush(10000);
    while (read(STDIN_FILENO, &byte, 1) > 0)
        ;
    _exit(0);
}

int main(void) {
    struct sonde_breaker_options options = SONDE_BREAKER_OPTIONS_INIT;
    char line[64];
    options.name = "payments";
    options.window_calls = options.minimum_calls = 4;
    options.probes = 1;
    options.wait_ns = 20000000; /* far below the interval of any scrape */
    setvbuf(stdin, NULL, _IONBF, 0);
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (sonde_breaker_create(&options, &breaker) || sonde_breaker_observe("theirs", SONDE_BREAKER_HALF_OPEN))
        return 1;
    printf("%d %d\n", sonde_flush(10000), (int)getpid());
    while (fgets(line, sizeof line, stdin)) {
        line[strcspn(line, "\n")] = 0;
        int answer = -1;
        if (strcmp(line, "trip") == 0)
            for (int i = 0; i < 4; i++)
                call(SONDE_OUTCOME_FAILURE);
        else if (strcmp(line, "call") == 0)
            call(SONDE_OUTCOME_SUCCESS);
        else if (strcmp(line, "fork") == 0 && (answer = (int)fork()) == 0)
            child_main();
        printf("%d\n", answer > 0 ? answer : (int)sonde_breaker_state_get(breaker));
    }
    return 0;
}
