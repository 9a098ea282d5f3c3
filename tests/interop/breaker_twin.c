/* SPDX-License-Identifier: Apache-2.0 */
/* Circuit breakers under the scripts that resilience4j/Oracle.java runs, too: see there, and breaker_oracle_test.py for
 * the format. A process runs SONDE_BREAKERS_MAX scripts at most: breakers stay. */
#include "instrumentation/resilience/breaker.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MS       UINT64_C(1000000)
#define LIVE_MAX 256

static uint64_t time_ns;
static uint64_t fake_clock(void *user) {
    (void)user;
    return time_ns;
}

struct run {
    struct sonde_breaker breaker;
    struct sonde_breaker_permit live[LIVE_MAX]; /* calls under way, oldest first */
    size_t live_count;
    bool automatic, told;
    uint64_t rejected; /* since counting began: with each change of state but to OPEN */
};

static void on_change(void *user, const struct sonde_breaker_change *change) {
    struct run *run = user;
    run->told = change->from == SONDE_BREAKER_METRICS_ONLY && change->to == SONDE_BREAKER_METRICS_ONLY &&
                change->reason != SONDE_BREAKER_MANUAL;
    if (!run->told && change->to != SONDE_BREAKER_OPEN)
        run->rejected = 0;
}

/* ---- configuration: "start=5000 calls=10 minimum=3 ..." ---- */

static uint64_t setting(const char *config, const char *name, uint64_t otherwise) {
    size_t size = strlen(name);
    for (const char *at = config; at; at = strchr(at, ' ')) {
        at += *at == ' ';
        if (strncmp(at, name, size) == 0 && at[size] == '=')
            return strtoull(at + size + 1, NULL, 10);
    }
    return otherwise;
}

/* Resilience4j's wait is over after it, ours with it; its timer, which makes an automatic change, is due with it, too. */
static uint64_t wait_of(const struct run *run, uint64_t ms) {
    return ms * MS + (run->automatic ? 0 : 1000);
}

static void make(struct run *run, const char *config, unsigned number) {
    struct sonde_breaker_options options = SONDE_BREAKER_OPTIONS_INIT;
    char name[16];
    (void)snprintf(name, sizeof name, "b%u", number);
    time_ns = setting(config, "start", 0) * MS;
    run->automatic = setting(config, "automatic", 0) == 1;
    options.name = name;
    options.clock = fake_clock;
    options.on_change = on_change;
    options.user = run;
    options.window_calls = (uint32_t)setting(config, "calls", 0);
    options.window_seconds = (uint32_t)setting(config, "seconds", 0);
    options.minimum_calls = (uint32_t)setting(config, "minimum", 0);
    options.failure_rate = (double)setting(config, "failures", 0) / 100;
    options.slow_call_rate = (double)setting(config, "slow", 0) / 100;
    options.slow_call_ns = setting(config, "slow_ms", 0) * MS;
    options.probes = (uint32_t)setting(config, "probes", 0);
    options.wait_ns = wait_of(run, setting(config, "wait", 0));
    options.wait_factor = (double)setting(config, "factor", 0) / 10;
    options.wait_max_ns = wait_of(run, setting(config, "wait_max", 0));
    options.half_open_max_ns = setting(config, "half_open", 0) ? setting(config, "half_open", 0) * MS : UINT64_MAX;
    if (sonde_breaker_create(&options, &run->breaker)) {
        (void)fprintf(stderr, "no breaker of %s\n", config);
        exit(1);
    }
}

/* ---- operations ---- */

static bool acquire(struct run *run) {
    struct sonde_breaker_permit permit;
    if (sonde_breaker_admit(run->breaker, &permit) == SONDE_REJECTED) {
        run->rejected++;
        return false;
    }
    if (run->live_count < LIVE_MAX)
        run->live[run->live_count++] = permit;
    return true;
}

static void report(struct run *run, const char *operation) {
    char *end;
    if (!run->live_count)
        return;
    size_t index = strtoul(operation + 1, &end, 10) % run->live_count;
    struct sonde_breaker_permit permit = run->live[index];
    memmove(&run->live[index], &run->live[index + 1], (--run->live_count - index) * sizeof permit);
    if (*operation == 'x') {
        sonde_breaker_cancel(run->breaker, &permit);
        return;
    }
    sonde_breaker_report(run->breaker, &permit,
                         *operation == 's'   ? SONDE_OUTCOME_SUCCESS
                         : *operation == 'e' ? SONDE_OUTCOME_FAILURE
                                             : SONDE_OUTCOME_IGNORED,
                         strtoull(end + 1, NULL, 10) * MS);
}

static const char letters[] = "COHFDM"; /* as enum sonde_breaker_state */

static void set(struct run *run, const char *operation) {
    uint64_t ms = strtoull(operation + 1, NULL, 10);
    if (*operation == 'O' && sonde_breaker_state_get(run->breaker) == SONDE_BREAKER_METRICS_ONLY)
        return; /* Resilience4j refuses it */
    (void)sonde_breaker_state_set(run->breaker, (enum sonde_breaker_state)(strchr(letters, *operation) - letters),
                                  *operation == 'O' && ms ? wait_of(run, ms) : 0);
}

static long tenths(uint32_t part, uint32_t calls) {
    return lroundf((float)part * 100.0F / (float)calls * 10.0F);
}

static void show(const struct run *run) {
    const struct sonde__breaker_cell *cell = sonde__breaker_cell(run->breaker);
    struct sonde__breaker_totals totals = {0};
    uint64_t word = atomic_load(&cell->state);
    enum sonde_breaker_state state = SONDE__BREAKER_STATE(word);
    bool half_open = state == SONDE_BREAKER_HALF_OPEN;
    printf("%c%llu", letters[state], (unsigned long long)run->rejected);
    if (state == SONDE_BREAKER_OPEN)
        return;
    sonde__breaker_window_totals(cell, SONDE__BREAKER_EPOCH(word), !half_open && cell->window_seconds > 0,
                                 time_ns / 1000, &totals);
    printf("/%u/%u/%u", totals.calls, totals.failures, totals.slow);
    if (totals.calls && totals.calls >= sonde__breaker_least(cell, half_open))
        printf("/%ld/%ld", tenths(totals.failures, totals.calls), tenths(totals.slow, totals.calls));
    if (run->told)
        putchar('!');
}

static void step(struct run *run, const char *operation) {
    switch (*operation) {
    case 'a':
        putchar(acquire(run) ? '+' : '-');
        break;
    case 's':
    case 'e':
    case 'i':
    case 'x':
        report(run, operation);
        break;
    case 't':
        time_ns += strtoull(operation + 1, NULL, 10) * MS;
        break;
    default:
        set(run, operation);
    }
    show(run);
}

int main(void) {
    static struct run runs[SONDE_BREAKERS_MAX]; /* kept: of the hooks */
    static char line[1 << 16];
    for (unsigned number = 0; number < SONDE_BREAKERS_MAX && fgets(line, sizeof line, stdin); number++) {
        char *operations = strchr(line, '\t'), *place = NULL;
        if (!operations)
            return 1;
        *operations++ = '\0';
        make(&runs[number], line, number);
        bool first = true;
        for (char *operation = strtok_r(operations, " \n", &place); operation;
             operation = strtok_r(NULL, " \n", &place), first = false) {
            if (!first)
                putchar(' ');
            step(&runs[number], operation);
        }
        putchar('\n');
    }
    return 0;
}
