/* SPDX-License-Identifier: Apache-2.0 */
/* A service of a few lines, for linking libsonde in unusual ways: spans in two threads and in a forked child, no agent.
 * Prints nothing, returns 0. */
#include <pthread.h>
#include <sonde/sonde.h>
#include <sys/wait.h>
#include <unistd.h>

static void *work(void *unused) {
    for (int i = 0; i < 100; i++) {
        struct sonde_span span;
        sonde_span_start(&span, SONDE_NAME("work"), NULL);
        sonde_span_set_int64(&span, SONDE_KEY("round"), i);
        sonde_span_end(&span);
    }
    return unused;
}

int main(void) {
    pthread_t thread;
    struct sonde_stats stats = {.size = sizeof stats};
    if (pthread_create(&thread, NULL, work, NULL))
        return 1;
    (void)work(NULL);
    pthread_join(thread, NULL);
    (void)sonde_flush(1000); /* the link thread is at rest: allocators of sanitizers do not survive a fork() else */
    pid_t child = fork();
    if (child == 0) {
        (void)work(NULL);
        sonde_stats_get(&stats);
        _exit(stats.threads_attached == 1 ? 0 : 1);
    }
    int status = 1;
    if (waitpid(child, &status, 0) != child || status)
        return 2;
    sonde_stats_get(&stats);
    if (stats.threads_attached != 2 || stats.dropped[SONDE_SIGNAL_TRACES][SONDE_DROP_NO_MEMORY])
        return 3;
    return sonde_shutdown(100) == SONDE_ENOAGENT ? 0 : 4;
}
