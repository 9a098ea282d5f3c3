/* SPDX-License-Identifier: Apache-2.0 */
/* thread_rss: what a quiet thread of a service costs in resident memory: it has made a few spans, counted a little, and
 * waits. Threads that never traced are taken off. Resident = RssAnon + RssShmem of this process; no agent is there. */
#include "tests/bench/bench.h"
#include <pthread.h>
#include <sonde/sonde.h>
#include <sys/wait.h>
#include <unistd.h>

enum { THREADS = 64, ROUNDS = 11 };

struct crowd {
    pthread_barrier_t worked, leave;
    bool trace;
    struct sonde_series series;
};

static void *quiet(void *user) {
    struct crowd *crowd = user;
    for (int i = 0; crowd->trace && i < 10; i++) {
        struct sonde_span span;
        sonde_span_start(&span, SONDE_NAME("GET /"), NULL);
        sonde_span_set_cstr(&span, SONDE_KEY("http.route"), "/orders/{id}");
        sonde_span_end(&span);
        sonde_counter_add(crowd->series, 1);
    }
    pthread_barrier_wait(&crowd->worked);
    pthread_barrier_wait(&crowd->leave);
    return NULL;
}

static long resident_kib(void) {
    char line[128];
    long sum = 0, value;
    FILE *file = fopen("/proc/self/status", "r");
    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, "RssAnon: %ld", &value) == 1 || sscanf(line, "RssShmem: %ld", &value) == 1)
            sum += value;
    if (file)
        fclose(file);
    return sum;
}

/* KiB that THREADS threads add while they wait. */
static long crowd_kib(bool trace, struct sonde_series series) {
    struct crowd crowd = {.trace = trace, .series = series};
    pthread_t threads[THREADS];
    long before = resident_kib();
    pthread_barrier_init(&crowd.worked, NULL, THREADS + 1);
    pthread_barrier_init(&crowd.leave, NULL, THREADS + 1);
    for (int i = 0; i < THREADS; i++)
        if (pthread_create(&threads[i], NULL, quiet, &crowd) != 0)
            abort();
    pthread_barrier_wait(&crowd.worked);
    long kib = resident_kib() - before;
    pthread_barrier_wait(&crowd.leave);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    return kib;
}

/* Each crowd in a process of its own: memory once touched stays, stacks too. */
static double crowd_kib_apart(bool trace) {
    double kib = 0;
    int ends[2];
    if (pipe(ends) != 0)
        abort();
    pid_t child = fork();
    if (child == 0) {
        struct sonde_instrument_options options = {
            .size = sizeof options, .kind = SONDE_COUNTER, .name = "bench.requests"};
        struct sonde_instrument instrument;
        (void)sonde_instrument_create(&options, &instrument);
        struct sonde_series series = sonde_series_bind(instrument, NULL, 0);
        kib = (double)crowd_kib(trace, series) / THREADS;
        _exit(write(ends[1], &kib, sizeof kib) == sizeof kib ? 0 : 1);
    }
    if (child < 0 || read(ends[0], &kib, sizeof kib) != sizeof kib)
        abort();
    close(ends[0]);
    close(ends[1]);
    (void)waitpid(child, NULL, 0);
    return kib;
}

int main(int argc, char **argv) {
    if (argc == 2 && strcmp(argv[1], "--list") == 0) {
        puts("thread_rss");
        return 0;
    }
    double kib[ROUNDS];
    setenv("SONDE_AGENT_SOCKET", "/nonexistent/agent.sock", 1);
    for (int i = 0; i < ROUNDS; i++)
        kib[i] = crowd_kib_apart(true) - crowd_kib_apart(false);
    bench_print("thread_rss", bench_median(kib, ROUNDS), "KiB", 0, ROUNDS, 0);
    return 0;
}
