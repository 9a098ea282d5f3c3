/* SPDX-License-Identifier: Apache-2.0 */
/* fork(), vfork() and exec(): the child is clean, the parent undisturbed. */
#include "instrumentation/ring/process.h"
#include "instrumentation/ring/producer.h"
#include "tests/lib/child.h"
#include <pthread.h>
#include <setjmp.h>
#include <sonde/err.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

static void write_one(void) {
    struct sonde__thread *thread = sonde__thread_enter();
    CHECK(thread && thread->region);
    CHECK(sonde__ring_reserve(thread, 8));
    (void)sonde__ring_commit(thread, 8, SONDE__RECORD_LOG, 0, 0, NULL);
    sonde__thread_leave(thread);
}

/* A child of a process whose link thread has come to rest: the allocators of sanitizers do not survive a fork() while
 * another thread is inside them. */
static pid_t settled_fork(void) {
    CHECK(sonde_flush(10000) == SONDE_ENOAGENT);
    return child_fork();
}

static int exit_code_of(pid_t child) {
    int status = -1;
    CHECK(waitpid(child, &status, 0) == child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* How many of our descriptors are the given file. */
static int descriptors_of(uint64_t device, uint64_t inode) {
    int count = 0;
    for (int fd = 0; fd < 2048; fd++) {
        struct stat st;
        count += fstat(fd, &st) == 0 && st.st_dev == device && st.st_ino == inode;
    }
    return count;
}

static void child_starts_anew(void) {
    write_one();
    struct sonde__thread *thread = sonde__thread_self;
    const uint64_t random = thread->random;
    const uint32_t generation = thread->generation, memory = sonde__process_generation();
    const struct sonde__memory process = sonde__registry.process, threads = sonde__registry.threads[0];
    uint8_t id[16];
    memcpy(id, sonde__registry.id, 16);
    thread->depth = 3;
    atomic_store(&thread->slots[5].generation, 99);
    const uint32_t handle = (thread->region_number << 6 | 5) + 1u;
    CHECK(sonde__descriptor_append(SONDE__DESCRIPTOR_SERIES, 1, "series", 6, NULL, 0) == 0);
    const int lost = sonde__extent_take();
    pid_t child = settled_fork();
    if (child == 0) {
        write_one();
        CHECK(sonde__thread_self->depth == 0);
        CHECK(sonde__thread_self->random != random && sonde__thread_self->generation != generation);
        CHECK(sonde__process_generation() != memory);
        CHECK(memcmp(sonde__registry.id, id, 16) != 0 && sonde__registry.pid == (uint32_t)getpid());
        CHECK(atomic_load(&sonde__thread_self->region->head) == 16);
        struct sonde__slot *slot = sonde__slot_find(handle);
        CHECK(!slot || atomic_load(&slot->generation) != 99);
        CHECK(descriptors_of(process.file.device, process.file.inode) == 0);
        CHECK(descriptors_of(threads.file.device, threads.file.inode) == 0);
        struct sonde__process *page = sonde__process_get();
        CHECK(page && atomic_load(&page->series_count) == 1);
        CHECK(memcmp((uint8_t *)page + SONDE__DESCRIPTORS_AT + sizeof(struct sonde__descriptor), "series", 6) == 0);
        CHECK(sonde__extent_take() == lost);
        struct sonde_stats stats = {.size = sizeof stats};
        sonde_stats_get(&stats);
        CHECK(stats.threads_attached == 1);
        _exit(0);
    }
    CHECK(exit_code_of(child) == 0);
    CHECK(atomic_load(&thread->region->head) == 16);
    CHECK(atomic_load(&((struct sonde__process *)process.base)->exit_state) == SONDE__RUNNING);
    write_one();
    CHECK(atomic_load(&thread->region->head) == 32);
}

static void child_that_does_not_use_us_leaves_the_parent_running(void) {
    write_one();
    pid_t child = settled_fork();
    if (child == 0)
        exit(0); /* destructors run: they must not mark the parent's end */
    CHECK(exit_code_of(child) == 0);
    CHECK(atomic_load(&sonde__process_get()->exit_state) == SONDE__RUNNING);
}

static void grandchild_starts_anew_too(void) {
    write_one();
    pid_t child = settled_fork();
    if (child == 0) {
        write_one();
        pid_t grandchild = settled_fork();
        if (grandchild == 0) {
            write_one();
            CHECK(atomic_load(&sonde__thread_self->region->head) == 16);
            _exit(0);
        }
        CHECK(exit_code_of(grandchild) == 0);
        write_one();
        CHECK(atomic_load(&sonde__thread_self->region->head) == 32);
        _exit(0);
    }
    CHECK(exit_code_of(child) == 0);
}

static pthread_barrier_t barrier;
static void *lock_keeper(void *unused) {
    (void)unused;
    sonde__lock_take(&sonde__registry.lock);
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    sonde__lock_release(&sonde__registry.lock);
    return NULL;
}

static void child_takes_a_lock_that_the_parent_held(void) {
    write_one();
    pthread_t thread;
    pthread_barrier_init(&barrier, NULL, 2);
    CHECK(sonde_flush(10000) == SONDE_ENOAGENT);
    CHECK(pthread_create(&thread, NULL, lock_keeper, NULL) == 0);
    pthread_barrier_wait(&barrier);
    pid_t child = child_fork();
    if (child == 0) {
        write_one();
        _exit(0);
    }
    CHECK(exit_code_of(child) == 0);
    pthread_barrier_wait(&barrier);
    pthread_join(thread, NULL);
}

static void *other_thread(void *unused) {
    (void)unused;
    write_one();
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    return NULL;
}

static void child_reuses_regions_of_threads_it_does_not_have(void) {
    write_one();
    pthread_t thread;
    pthread_barrier_init(&barrier, NULL, 2);
    CHECK(pthread_create(&thread, NULL, other_thread, NULL) == 0);
    pthread_barrier_wait(&barrier);
    pid_t child = settled_fork();
    if (child == 0) {
        write_one();
        CHECK(sonde__thread_self->region_number == 0);
        CHECK(atomic_load(&sonde__registry.region_states[1]) == SONDE__REGION_FREE && !sonde__registry.pages[1]);
        _exit(0);
    }
    CHECK(exit_code_of(child) == 0);
    pthread_barrier_wait(&barrier);
    pthread_join(thread, NULL);
}

/* The child runs on its parent's thread and memory: what it writes is the parent's, and nothing breaks. */
static void vfork_child_does_no_harm(void) {
    write_one();
    pid_t child = vfork();
    if (child == 0) {
        write_one();
        _exit(0);
    }
    CHECK(exit_code_of(child) == 0);
    write_one();
    const uint64_t head = atomic_load(&sonde__thread_self->region->head);
    CHECK(head == 48 || head == 32); /* valgrind and ThreadSanitizer make it a fork() */
    CHECK(sonde__fd_is_ours(&sonde__registry.process.file));
}

static void exec_leaves_no_descriptors(void) {
    write_one();
    pid_t child = settled_fork();
    if (child == 0) {
        execl("/bin/sh", "sh", "-c", "! ls -l /proc/self/fd | grep -q -e memfd:sonde -e eventfd", (char *)NULL);
        _exit(127);
    }
    CHECK(exit_code_of(child) == 0);
}

CHILD_TEST(child_starts_anew)
CHILD_TEST(child_that_does_not_use_us_leaves_the_parent_running)
CHILD_TEST(grandchild_starts_anew_too)
CHILD_TEST(child_takes_a_lock_that_the_parent_held)
CHILD_TEST(child_reuses_regions_of_threads_it_does_not_have)
CHILD_TEST(vfork_child_does_no_harm)
CHILD_TEST(exec_leaves_no_descriptors)

int main(void) {
    setenv("SONDE_AGENT_SOCKET", "/nonexistent/agent.sock", 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(child_starts_anew_test),
        cmocka_unit_test(child_that_does_not_use_us_leaves_the_parent_running_test),
        cmocka_unit_test(grandchild_starts_anew_too_test),
        cmocka_unit_test(child_takes_a_lock_that_the_parent_held_test),
        cmocka_unit_test(child_reuses_regions_of_threads_it_does_not_have_test),
        cmocka_unit_test(vfork_child_does_no_harm_test),
        cmocka_unit_test(exec_leaves_no_descriptors_test),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
