/* SPDX-License-Identifier: Apache-2.0 */
/* Loads libsonde.so by dlopen(), uses it in a thread, unloads it while that thread lives, and loads it again. The
 * thread's exit and the link thread then run code that a real unloading would have taken away.
 * usage: load LIBSONDE.so */
#include <dlfcn.h>
#include <pthread.h>
#include <sonde/trace.h>
#include <stdio.h>

typedef void start_fn(struct sonde_span *, struct sonde_key, const struct sonde_span_options *);
typedef void end_fn(struct sonde_span *);

static const char *path;
static pthread_barrier_t barrier;
static int failed;

static void *load(void) {
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!library)
        fprintf(stderr, "%s\n", dlerror());
    failed |= !library;
    return library;
}

static void one_span(void *library) {
    start_fn *start = (start_fn *)dlsym(library, "sonde_span_start");
    end_fn *end = (end_fn *)dlsym(library, "sonde_span_end");
    struct sonde_span span;
    if (!start || !end || dlsym(library, "sonde__thread_enter_slow")) {
        failed = 1;
        return;
    }
    start(&span, SONDE_NAME("loaded"), NULL);
    failed |= span.slot == 0; /* recorded */
    end(&span);
}

static void *thread_main(void *unused) {
    void *library = load();
    if (library) {
        one_span(library);
        failed |= dlclose(library) != 0;
    }
    pthread_barrier_wait(&barrier);
    return unused;
}

int main(int argc, char **argv) {
    if (argc != 2)
        return 2;
    path = argv[1];
    pthread_t thread;
    pthread_barrier_init(&barrier, NULL, 2);
    if (pthread_create(&thread, NULL, thread_main, NULL))
        return 3;
    pthread_barrier_wait(&barrier);
    pthread_join(thread, NULL); /* its destructor is in the library */
    void *library = load();
    if (library) {
        one_span(library);
        failed |= dlclose(library) != 0;
    }
    return failed;
}
