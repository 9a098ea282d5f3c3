/* SPDX-License-Identifier: Apache-2.0 */
#include "instrumentation/ring/thread.h"
#include "tests/lib/child.h"
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void extents_are_distinct_and_come_back(void) {
    CHECK(sonde__process_get() != NULL);
    static uint8_t seen[SONDE__EXTENTS];
    for (uint32_t i = 0; i < SONDE__EXTENTS; i++) {
        int extent = sonde__extent_take();
        CHECK(extent >= 0 && (uint32_t)extent < SONDE__EXTENTS && !seen[extent]++);
    }
    CHECK(sonde__extent_take() == -1);
    memset(sonde__extent_at(SONDE__EXTENTS - 1), 0xFF, SONDE__EXTENT_SIZE); /* inside the mapping */
    sonde__extent_give(700);
    CHECK(sonde__extent_take() == 700);
    CHECK(sonde__extent_take() == -1);
    sonde__extent_give(-1);
    sonde__extent_give(SONDE__EXTENTS);
    CHECK(sonde__extent_take() == -1);
}

static _Atomic uint8_t owners[SONDE__EXTENTS];
static void *worker(void *unused) {
    (void)unused;
    for (int i = 0; i < 20000; i++) {
        int extent = sonde__extent_take();
        CHECK(extent >= 0);
        CHECK(atomic_fetch_add(&owners[extent], 1) == 0);
        atomic_fetch_sub(&owners[extent], 1);
        sonde__extent_give(extent);
    }
    return NULL;
}

static void extent_has_one_owner_among_threads(void) {
    CHECK(sonde__process_get() != NULL);
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        CHECK(pthread_create(&threads[i], NULL, worker, NULL) == 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
}

CHILD_TEST(extents_are_distinct_and_come_back)
CHILD_TEST(extent_has_one_owner_among_threads)

int main(void) {
    setenv("SONDE_AGENT_SOCKET", "/nonexistent/agent.sock", 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(extents_are_distinct_and_come_back_test),
        cmocka_unit_test(extent_has_one_owner_among_threads_test),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
