/* SPDX-License-Identifier: Apache-2.0 */
#include "instrumentation/ring/process.h"
#include "tests/lib/child.h"
#include <pthread.h>
#include <setjmp.h>
#include <sonde/trace.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static const struct sonde__descriptor *first_descriptor(void) {
    return (const void *)((const uint8_t *)sonde__process_get() + SONDE__DESCRIPTORS_AT);
}

static void scope_is_described_once(void) {
    uint32_t scope = sonde_scope_register("shop", "1.0", "https://example.com/schema", NULL, 0);
    CHECK(scope == 1);
    const struct sonde__descriptor *descriptor = first_descriptor();
    CHECK(descriptor->type == SONDE__DESCRIPTOR_SCOPE && descriptor->index == 1 && descriptor->size % 8 == 0);
    const uint8_t *body = (const uint8_t *)(descriptor + 1);
    CHECK(descriptor->body_size == 11 && memcmp(body,
                                                "\x0A\x04shop\x12\x03"
                                                "1.0",
                                                11) == 0);
    CHECK(descriptor->extra_size == 26 && memcmp(body + 11, "https://example.com/schema", 26) == 0);
    uint64_t head = atomic_load(&sonde__process_get()->descriptors_head);
    CHECK(head == descriptor->size);
    CHECK(sonde_scope_register("shop", "1.0", "https://example.com/schema", NULL, 0) == 1);
    CHECK(atomic_load(&sonde__process_get()->descriptors_head) == head);
}

static void scopes_differ_by_every_part(void) {
    struct sonde_attribute attribute = sonde_attribute_string(SONDE_KEY("team"), "blue");
    CHECK(sonde_scope_register("a", NULL, NULL, NULL, 0) == 1);
    CHECK(sonde_scope_register("b", NULL, NULL, NULL, 0) == 2);
    CHECK(sonde_scope_register("a", "1", NULL, NULL, 0) == 3);
    CHECK(sonde_scope_register("a", "1", "u", NULL, 0) == 4);
    CHECK(sonde_scope_register("a", "1", "u", &attribute, 1) == 5);
    CHECK(sonde_scope_register("a", "", "", NULL, 0) == 1);
}

static void full_table_gives_the_default_scope(void) {
    char name[32];
    for (uint32_t i = 1; i < SONDE_SCOPES_MAX; i++) {
        snprintf(name, sizeof name, "scope-%u", i);
        CHECK(sonde_scope_register(name, NULL, NULL, NULL, 0) == i);
    }
    CHECK(sonde_scope_register("one more", NULL, NULL, NULL, 0) == 0);
    CHECK(sonde_scope_register("scope-9", NULL, NULL, NULL, 0) == 9);
}

static void bad_names_and_a_disabled_library_give_the_default_scope(void) {
    CHECK(sonde_scope_register(NULL, NULL, NULL, NULL, 0) == 0);
    CHECK(sonde_scope_register("", NULL, NULL, NULL, 0) == 0);
    CHECK(sonde_shutdown(0) != 0); /* no agent */
    CHECK(sonde_scope_register("late", NULL, NULL, NULL, 0) == 0);
}

static void scope_keeps_its_number_in_a_child(void) {
    CHECK(sonde_scope_register("shop", NULL, NULL, NULL, 0) == 1);
    (void)sonde_flush(10000); /* the link thread is at rest */
    pid_t child = child_fork();
    if (child == 0) {
        CHECK(sonde_scope_register("shop", NULL, NULL, NULL, 0) == 1);
        CHECK(sonde_scope_register("child", NULL, NULL, NULL, 0) == 2);
        const struct sonde__descriptor *descriptor = first_descriptor();
        CHECK(memcmp(descriptor + 1, "\x0A\x04shop", 6) == 0);
        CHECK(memcmp((const uint8_t *)descriptor + descriptor->size + sizeof *descriptor,
                     "\x0A\x05"
                     "child",
                     7) == 0);
        _exit(0);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    CHECK(sonde_scope_register("parent", NULL, NULL, NULL, 0) == 2);
}

static void *registrar(void *unused) {
    (void)unused;
    char name[32];
    for (uint32_t i = 0; i < 100; i++) {
        snprintf(name, sizeof name, "scope-%u", i);
        CHECK(sonde_scope_register(name, NULL, NULL, NULL, 0) != 0);
    }
    return NULL;
}

static void threads_agree_on_numbers(void) {
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        CHECK(pthread_create(&threads[i], NULL, registrar, NULL) == 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    CHECK(sonde_scope_register("the next", NULL, NULL, NULL, 0) == 101);
}

CHILD_TEST(scope_is_described_once)
CHILD_TEST(scopes_differ_by_every_part)
CHILD_TEST(full_table_gives_the_default_scope)
CHILD_TEST(bad_names_and_a_disabled_library_give_the_default_scope)
CHILD_TEST(scope_keeps_its_number_in_a_child)
CHILD_TEST(threads_agree_on_numbers)

int main(void) {
    setenv("SONDE_AGENT_SOCKET", "/nonexistent/agent.sock", 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scope_is_described_once_test),
        cmocka_unit_test(scopes_differ_by_every_part_test),
        cmocka_unit_test(full_table_gives_the_default_scope_test),
        cmocka_unit_test(bad_names_and_a_disabled_library_give_the_default_scope_test),
        cmocka_unit_test(scope_keeps_its_number_in_a_child_test),
        cmocka_unit_test(threads_agree_on_numbers_test),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
