/* SPDX-License-Identifier: Apache-2.0 */
#include "instrumentation/ring/process.h"
#include "instrumentation/ring/producer.h"
#include "tests/lib/child.h"
#include <dirent.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void record_write(struct sonde__thread *thread, const char *text) {
    uint32_t size = (uint32_t)strlen(text);
    uint8_t *body = sonde__ring_reserve(thread, size);
    CHECK(body);
    memcpy(body, text, size);
    (void)sonde__ring_commit(thread, size, SONDE__RECORD_LOG, 0, 0, NULL);
}

struct visit {
    uint32_t region;
    uint64_t head, random;
    uint8_t free_count;
};

static void *visitor(void *arg) {
    struct visit *visit = arg;
    struct sonde__thread *thread = sonde__thread_enter();
    CHECK(thread && thread->region);
    visit->region = thread->region_number;
    visit->random = thread->random;
    visit->free_count = (uint8_t)thread->free_count;
    record_write(thread, "visited");
    visit->head = thread->head;
    sonde__thread_leave(thread);
    return NULL;
}

static void region_goes_to_the_next_thread(void) {
    struct visit visits[40];
    for (int i = 0; i < 40; i++) {
        pthread_t thread;
        CHECK(pthread_create(&thread, NULL, visitor, &visits[i]) == 0);
        pthread_join(thread, NULL);
        CHECK(visits[i].region == visits[0].region);
        CHECK(visits[i].free_count == SONDE__SLOTS);
        CHECK(visits[i].head == 16u * (unsigned)(i + 1)); /* positions go on, nothing is reset */
        CHECK(i == 0 || visits[i].random != visits[i - 1].random);
    }
    CHECK(sonde__registry.thread_memories == 1);
    struct sonde_stats stats = {.size = sizeof stats};
    sonde_stats_get(&stats);
    CHECK(stats.threads_attached == 40);
    struct sonde__region *region = (void *)(sonde__registry.threads[0].base + SONDE__CONTROL_AT);
    CHECK(atomic_load(&region->state) == SONDE__REGION_DETACHED);
    CHECK(atomic_load(&region->head) == 40 * 16);
}

static pthread_barrier_t barrier;
static void *holder(void *arg) {
    struct sonde__thread *thread = sonde__thread_enter();
    CHECK(thread && thread->region);
    *(uint32_t *)arg = thread->region_number;
    record_write(thread, "held");
    sonde__thread_leave(thread);
    pthread_barrier_wait(&barrier);
    return NULL;
}

static void threads_beyond_a_memory_get_another(void) {
    enum { COUNT = 40 };
    uint32_t numbers[COUNT];
    pthread_t threads[COUNT];
    pthread_barrier_init(&barrier, NULL, COUNT);
    for (int i = 0; i < COUNT; i++)
        CHECK(pthread_create(&threads[i], NULL, holder, &numbers[i]) == 0);
    for (int i = 0; i < COUNT; i++)
        pthread_join(threads[i], NULL);
    uint64_t seen = 0;
    for (int i = 0; i < COUNT; i++) {
        CHECK(numbers[i] < COUNT && !(seen >> numbers[i] & 1u));
        seen |= 1ull << numbers[i];
    }
    CHECK(sonde__registry.thread_memories == 3);
    CHECK(memcmp(((struct sonde__region *)(sonde__registry.threads[0].base + SONDE__CONTROL_AT))->ring_id,
                 ((struct sonde__region *)(sonde__registry.threads[1].base + SONDE__CONTROL_AT))->ring_id, 16) != 0);
    CHECK(((struct sonde__memory_header *)sonde__registry.threads[2].base)->index == 2);
}

static void *late_comer(void *arg) {
    (void)arg;
    struct sonde__thread *thread = sonde__thread_enter();
    CHECK(thread && !thread->region);
    sonde__drop(thread, SONDE_SIGNAL_LOGS, SONDE_DROP_NO_MEMORY);
    sonde__thread_leave(thread);
    return NULL;
}

static void threads_beyond_the_pool_are_counted(void) {
    CHECK(sonde__process_get() != NULL);
    for (uint32_t i = 1; i < SONDE_THREADS_MAX; i++)
        atomic_store(&sonde__registry.region_states[i], SONDE__REGION_ATTACHED);
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, late_comer, NULL) == 0);
    pthread_join(thread, NULL);
    struct sonde_stats stats = {.size = sizeof stats};
    sonde_stats_get(&stats);
    CHECK(stats.dropped[SONDE_SIGNAL_LOGS][SONDE_DROP_NO_MEMORY] == 1);
}

static void *leaver(void *arg) {
    struct sonde__thread *thread = sonde__thread_enter();
    uint8_t number = thread->free_slots[--thread->free_count];
    atomic_store(&thread->slots[number].state, SONDE__SLOT_OPEN);
    *(uint32_t *)arg = (thread->region_number << 6 | number) + 1u;
    sonde__thread_leave(thread);
    return NULL;
}

static void open_slot_outlives_its_thread(void) {
    uint32_t handle;
    struct visit visit;
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, leaver, &handle) == 0);
    pthread_join(thread, NULL);
    struct sonde__slot *slot = sonde__slot_find(handle);
    CHECK(slot && atomic_load(&slot->state) == SONDE__SLOT_OPEN);
    CHECK(pthread_create(&thread, NULL, visitor, &visit) == 0);
    pthread_join(thread, NULL);
    CHECK(visit.free_count == SONDE__SLOTS - 1);
    atomic_store(&slot->state, SONDE__SLOT_ENDED); /* as another thread does that ends the span */
    CHECK(pthread_create(&thread, NULL, visitor, &visit) == 0);
    pthread_join(thread, NULL);
    CHECK(visit.free_count == SONDE__SLOTS);
    CHECK(atomic_load(&slot->state) == SONDE__SLOT_FREE);
}

static void on_signal(int number) {
    (void)number;
    CHECK(sonde__thread_enter() == NULL);
    sonde__drop_refused(SONDE_SIGNAL_TRACES);
}

static void signal_handler_inside_is_refused_and_counted(void) {
    struct sonde__thread *thread = sonde__thread_enter();
    signal(SIGUSR1, on_signal);
    raise(SIGUSR1);
    CHECK(thread->busy == 1);
    sonde__thread_leave(thread);
    struct sonde_stats stats = {.size = sizeof stats};
    sonde_stats_get(&stats);
    CHECK(stats.dropped[SONDE_SIGNAL_TRACES][SONDE_DROP_BUSY] == 1);
    CHECK(sonde__thread_enter() == thread);
    sonde__thread_leave(thread);
}

static int entries_of(const char *path) {
    int count = 0;
    DIR *directory = opendir(path);
    CHECK(directory);
    for (struct dirent *entry; (entry = readdir(directory));)
        count += entry->d_name[0] != '.';
    closedir(directory);
    return count;
}

static void disabled_library_makes_nothing(void) {
    setenv("OTEL_SDK_DISABLED", "TRUE", 1);
    int fds = entries_of("/proc/self/fd");
    CHECK(sonde__thread_enter() == NULL);
    sonde__drop_refused(SONDE_SIGNAL_TRACES);
    CHECK(sonde__process_get() == NULL);
    CHECK(entries_of("/proc/self/fd") == fds && child_threads("sonde-link") == 0);
    struct sonde_stats stats = {.size = sizeof stats};
    sonde_stats_get(&stats);
    CHECK(stats.dropped[SONDE_SIGNAL_TRACES][SONDE_DROP_NO_MEMORY] == 0);
}

static void stopped_library_does_nothing(void) {
    CHECK(sonde__process_get() != NULL);
    struct sonde__process *page = atomic_load(&sonde__process_page);
    sonde__process_stop();
    CHECK(sonde__thread_enter() == NULL && sonde__process_get() == NULL);
    CHECK(atomic_load(&page->exit_state) == SONDE__EXITED_CLEANLY);
}

/* The exit state of a child that ends by exit(), or by a signal; its parent holds its memory open. */
static uint32_t exit_state_after(bool clean) {
    int go[2], told[2], fd = -1;
    CHECK(pipe(go) == 0 && pipe(told) == 0);
    pid_t child = child_fork();
    if (child == 0) {
        CHECK(sonde__process_get() != NULL);
        CHECK(write(told[1], &sonde__registry.process.file.fd, sizeof fd) == sizeof fd);
        CHECK(read(go[0], &fd, 1) == 1);
        if (!clean)
            kill(getpid(), SIGKILL);
        exit(0);
    }
    char path[64];
    CHECK(read(told[0], &fd, sizeof fd) == sizeof fd);
    snprintf(path, sizeof path, "/proc/%d/fd/%d", child, fd);
    FILE *file = fopen(path, "re");
    CHECK(file && write(go[1], "", 1) == 1);
    int status;
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) == clean);
    struct sonde__process page;
    CHECK(fread(&page, sizeof page, 1, file) == 1);
    fclose(file);
    return page.exit_state;
}

static void clean_exit_is_marked(void) {
    CHECK(exit_state_after(true) == SONDE__EXITED_CLEANLY);
    CHECK(exit_state_after(false) == SONDE__RUNNING);
}

CHILD_TEST(region_goes_to_the_next_thread)
CHILD_TEST(threads_beyond_a_memory_get_another)
CHILD_TEST(threads_beyond_the_pool_are_counted)
CHILD_TEST(open_slot_outlives_its_thread)
CHILD_TEST(signal_handler_inside_is_refused_and_counted)
CHILD_TEST(disabled_library_makes_nothing)
CHILD_TEST(stopped_library_does_nothing)
CHILD_TEST(clean_exit_is_marked)

int main(void) {
    setenv("SONDE_AGENT_SOCKET", "/nonexistent/agent.sock", 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(region_goes_to_the_next_thread_test),
        cmocka_unit_test(threads_beyond_a_memory_get_another_test),
        cmocka_unit_test(threads_beyond_the_pool_are_counted_test),
        cmocka_unit_test(open_slot_outlives_its_thread_test),
        cmocka_unit_test(signal_handler_inside_is_refused_and_counted_test),
        cmocka_unit_test(disabled_library_makes_nothing_test),
        cmocka_unit_test(stopped_library_does_nothing_test),
        cmocka_unit_test(clean_exit_is_marked_test),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
