/* SPDX-License-Identifier: Apache-2.0 */
/* A service with observable instruments, driven by observe_test.py over its standard input: "slow" (the callback then
 * waits for "fast"), "unregister", "fork" (prints the child's pid; the child reports for itself, until input ends), "shutdown".
 * Each is answered by a line. observed.calls counts the calls of the callback, observed.thread tells its thread. */
#include <pthread.h>
#include <sonde/sonde.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static struct sonde_instrument calls, thread_id;
static _Atomic int64_t call_count;
static int slow; /* under the mutex */
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t change = PTHREAD_COND_INITIALIZER;

static void report(struct sonde_observer *observer, void *user) {
    struct sonde_attribute who = sonde_attribute_string(SONDE_KEY("who"), user);
    pthread_mutex_lock(&mutex);
    while (slow)
        pthread_cond_wait(&change, &mutex);
    pthread_mutex_unlock(&mutex);
    sonde_observer_set(observer, calls, atomic_fetch_add(&call_count, 1) + 1, &who, 1);
    sonde_observer_set(observer, thread_id, syscall(SYS_gettid), &who, 1);
}

static void set_slow(int value) {
    pthread_mutex_lock(&mutex);
    slow = value;
    pthread_cond_broadcast(&change);
    pthread_mutex_unlock(&mutex);
}

static struct sonde_observable start(void) {
    static char who[] = "parent";
    struct sonde_instrument_options options = {
        .size = sizeof options, .kind = SONDE_OBSERVABLE_COUNTER, .name = "observed.calls", .unit = "{call}"};
    struct sonde_observable observable = {0};
    if (sonde_instrument_create(&options, &calls))
        fprintf(stderr, "no instrument\n");
    options.kind = SONDE_OBSERVABLE_GAUGE;
    options.name = "observed.thread";
    options.unit = NULL;
    if (sonde_instrument_create(&options, &thread_id))
        fprintf(stderr, "no instrument\n");
    const struct sonde_instrument both[] = {calls, thread_id};
    if (sonde_observable_register(report, who, both, 2, &observable))
        fprintf(stderr, "no callback\n");
    return observable;
}

/* In the child: uses the library, so that it is a process of its own there, and waits for the end of the input. */
static void child_main(void) {
    char byte;
    (void)sonde_flush(10000);
    while (read(STDIN_FILENO, &byte, 1) > 0)
        ;
    _exit(0);
}

int main(void) {
    struct sonde_observable observable = start();
    char line[64];
    setvbuf(stdin, NULL, _IONBF, 0);
    setvbuf(stdout, NULL, _IOLBF, 0);
    printf("%d %d\n", sonde_flush(10000), (int)getpid());
    while (fgets(line, sizeof line, stdin)) {
        line[strcspn(line, "\n")] = 0;
        int answer = 0;
        if (strcmp(line, "slow") == 0 || strcmp(line, "fast") == 0)
            set_slow(line[0] == 's');
        else if (strcmp(line, "unregister") == 0)
            sonde_observable_unregister(observable);
        else if (strcmp(line, "shutdown") == 0)
            answer = sonde_shutdown(10000);
        else if (strcmp(line, "fork") == 0 && (answer = (int)fork()) == 0)
            child_main();
        printf("%d\n", answer);
    }
    return 0;
}
