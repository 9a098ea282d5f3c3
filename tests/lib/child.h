/* SPDX-License-Identifier: Apache-2.0 */
/* A test case that needs a process of its own: libsonde starts once per process, and limits, seccomp filters and
 * signals stick. The case runs in a forked child of a program that has not used libsonde yet.
 *
 *   static void limit_is_kept(void) { CHECK(...); }
 *   static void limit_is_kept_test(void **state) { (void)state; assert_int_equal(child_run(limit_is_kept), 0); } */
#ifndef SONDE_TESTS_CHILD_H
#define SONDE_TESTS_CHILD_H

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* ThreadSanitizer otherwise ends every child that starts a thread. */
#ifdef __SANITIZE_THREAD__
const char *__tsan_default_options(void);
__attribute__((used)) const char *__tsan_default_options(void) {
    return "die_after_fork=0";
}
#endif

#define CHECK(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);                                    \
            _exit(1);                                                                                                  \
        }                                                                                                              \
    } while (0)

/* Polls until the condition holds, 10 s at most. */
#define CHECK_SOON(condition)                                                                                          \
    do {                                                                                                               \
        for (int tries_ = 0; !(condition); tries_++) {                                                                 \
            CHECK(tries_ < 10000 && #condition);                                                                       \
            nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);                                                   \
        }                                                                                                              \
    } while (0)

/** fork(), with a deadline of its own in the child: an alarm is not inherited. */
static inline pid_t child_fork(void) {
    fflush(NULL);
    pid_t child = fork();
    if (child == 0)
        alarm(30);
    return child;
}

/** Runs the case in a child with a deadline of 60 s. Returns 0, its exit code, or 128 + the signal that killed it. */
static inline int child_run(void (*test_case)(void)) {
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        alarm(60);
        test_case();
        _exit(0);
    }
    int status;
    if (child < 0 || waitpid(child, &status, 0) != child)
        return -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/** How many threads of this process are called `name`. */
static inline int child_threads(const char *name) {
    int count = 0;
    DIR *tasks = opendir("/proc/self/task");
    for (struct dirent *task; tasks && (task = readdir(tasks));) {
        char path[300], text[32] = "";
        snprintf(path, sizeof path, "/proc/self/task/%s/comm", task->d_name);
        FILE *file = fopen(path, "re");
        if (!file)
            continue;
        count += fgets(text, sizeof text, file) && strncmp(text, name, strlen(name)) == 0;
        fclose(file);
    }
    if (tasks)
        closedir(tasks);
    return count;
}

/* A cmocka case that runs `name` in a child. */
#define CHILD_TEST(name)                                                                                               \
    static void name##_test(void **state) {                                                                            \
        (void)state;                                                                                                   \
        assert_int_equal(child_run(name), 0);                                                                          \
    }

#endif
