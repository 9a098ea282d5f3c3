/* SPDX-License-Identifier: Apache-2.0 */
/* A service that does nothing but trace, and keeps an exact record of it outside of libsonde: a file mapped shared,
 * which survives kill -9. Every span carries its number as the attribute `seq`, so a test can tell which were
 * delivered, which twice and which not at all.
 *
 *   producer PROGRESS SPANS RATE OPEN
 *     PROGRESS  file of struct progress, made here
 *     SPANS     spans to end, then flush and exit (0 = until SIGTERM, which flushes and exits too)
 *     RATE      spans a second, in steps of 1 ms (0 = as fast as it goes)
 *     OPEN      spans left open all the time, numbers 0..OPEN-1
 *
 * A span is `started` before sonde_span_start() and `ended` after sonde_span_end(), so what was in between when the
 * process was killed is at most one span, and both outcomes are right for it. */
#include <fcntl.h>
#include <signal.h>
#include <sonde/sonde.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

struct progress {
    _Atomic uint64_t started, ended; /* numbers below are started, ended */
    _Atomic uint64_t dropped;        /* by libsonde, all reasons */
    _Atomic uint64_t flushed;        /* 1 when the last flush succeeded */
};

static volatile sig_atomic_t stopping;
static void on_term(int signal) {
    (void)signal;
    stopping = 1;
}

static uint64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static struct progress *map_progress(const char *path) {
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || ftruncate(fd, sizeof(struct progress)) != 0) {
        perror(path);
        exit(2);
    }
    void *memory = mmap(NULL, sizeof(struct progress), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (memory == MAP_FAILED) {
        perror("mmap");
        exit(2);
    }
    close(fd);
    return memory;
}

static void start_numbered(struct sonde_span *span, struct progress *progress, bool stay_open) {
    uint64_t number = atomic_load(&progress->started);
    struct sonde_span_options options = SONDE_SPAN_OPTIONS_INIT;
    options.not_current = stay_open;
    atomic_store(&progress->started, number + 1);
    sonde_span_start(span, SONDE_NAME("work"), &options);
    sonde_span_set_int64(span, SONDE_KEY("seq"), (int64_t)number);
}

/* One span in 64 is large enough for extents, one in 16 has a string, all have a number. */
static void work(struct progress *progress) {
    static char text[6000];
    struct sonde_span span;
    start_numbered(&span, progress, false);
    uint64_t number = atomic_load(&progress->started) - 1;
    if (number % 64 == 0) {
        memset(text, 'x', sizeof text);
        sonde_span_set_string(&span, SONDE_KEY("large"), text, sizeof text);
    } else if (number % 16 == 0) {
        sonde_span_set_cstr(&span, SONDE_KEY("http.route"), "/orders/{id}");
    }
    sonde_span_end(&span);
    atomic_store(&progress->ended, number + 1);
}

static void store_drops(struct progress *progress) {
    struct sonde_stats stats = {.size = sizeof stats};
    sonde_stats_get(&stats);
    uint64_t sum = 0;
    for (int signal = 0; signal < SONDE_SIGNAL_COUNT; signal++)
        for (int reason = 0; reason < SONDE_DROP_REASON_COUNT; reason++)
            sum += stats.dropped[signal][reason];
    atomic_store(&progress->dropped, sum);
}

static void pace(uint64_t start_ns, uint64_t rate, uint64_t done) {
    if (rate == 0)
        return;
    uint64_t due_ns = start_ns + done * 1000000000u / rate, now = now_ns();
    if (due_ns > now + 1000000u) {
        struct timespec rest = {.tv_sec = (time_t)((due_ns - now) / 1000000000u),
                                .tv_nsec = (long)((due_ns - now) % 1000000000u)};
        (void)nanosleep(&rest, NULL); /* lint-allow: nanosleep the rate is the input here, nothing is waited for */
    }
}

int main(int argc, char **argv) {
    if (argc != 5) {
        fprintf(stderr, "usage: producer PROGRESS SPANS RATE OPEN\n");
        return 2;
    }
    uint64_t spans = strtoull(argv[2], NULL, 10), rate = strtoull(argv[3], NULL, 10),
             open = strtoull(argv[4], NULL, 10);
    struct progress *progress = map_progress(argv[1]);
    (void)signal(SIGTERM, on_term);
    struct sonde_span left_open[16];
    for (uint64_t i = 0; i < open && i < 16; i++) {
        start_numbered(&left_open[i], progress, true);
        atomic_store(&progress->ended, i + 1); /* counted as ended so that numbers stay dense; the test knows OPEN */
    }
    uint64_t start_ns = now_ns();
    for (uint64_t done = 0; !stopping && (spans == 0 || done < spans); done++) {
        work(progress);
        if (done % 64 == 0) {
            store_drops(progress);
            pace(start_ns, rate, done);
        }
    }
    int result = SONDE_ENOAGENT;
    for (uint64_t end_ns = now_ns() + 20000000000u; result != 0 && now_ns() < end_ns;)
        result = sonde_flush(1000);
    store_drops(progress);
    atomic_store(&progress->flushed, result == 0);
    return result == 0 ? 0 : 1;
}
