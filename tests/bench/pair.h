/* SPDX-License-Identifier: Apache-2.0 */
/* Two threads against one: what a piece of work costs when another processor does the same. */
#ifndef SONDE_TESTS_PAIR_H
#define SONDE_TESTS_PAIR_H

#include "tests/bench/bench.h"
#include <pthread.h>

#define BENCH_PAIR_COUNT 10000000u
struct bench_runner {
    pthread_t thread;
    pthread_barrier_t *barrier;
    void (*run)(uint64_t count);
    int cpu;
    double ns;
};
/* The thread's own time: what other programs take of a processor is not what two threads cost each other. */
static inline uint64_t bench_thread_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}
static inline void *bench_runner_run(void *argument) {
    struct bench_runner *runner = argument;
    bench_pin(runner->cpu);
    runner->run(1000);
    pthread_barrier_wait(runner->barrier);
    uint64_t start = bench_thread_ns();
    runner->run(BENCH_PAIR_COUNT);
    runner->ns = (double)(bench_thread_ns() - start) / BENCH_PAIR_COUNT;
    return NULL;
}
/** ns that one piece takes one of `count` threads, each on a processor of its own; at most 2. */
static inline double bench_threads(int count, void (*run)(uint64_t count)) {
    pthread_barrier_t barrier;
    struct bench_runner runners[2];
    double sum = 0;
    pthread_barrier_init(&barrier, NULL, (unsigned)count);
    for (int i = 0; i < count; i++) {
        runners[i] = (struct bench_runner){.barrier = &barrier, .run = run, .cpu = i};
        if (pthread_create(&runners[i].thread, NULL, bench_runner_run, &runners[i]))
            exit(1);
    }
    for (int i = 0; i < count; i++) {
        pthread_join(runners[i].thread, NULL);
        sum += runners[i].ns;
    }
    pthread_barrier_destroy(&barrier);
    return sum / count;
}

#endif
