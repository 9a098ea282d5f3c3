/* SPDX-License-Identifier: Apache-2.0 */
/* Generators of ids that the user gives (sonde/id.h). */
#include "tests/lib/child.h"
#include <setjmp.h>
#include <sonde/sonde.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

static uint8_t counter, trace_byte = 0xAA;

static void trace_id_of(void *user, uint8_t ret_id[16]) {
    memset(ret_id, trace_byte, 16);
    *(uint8_t *)user += 1;
}
static void span_id_of(void *user, uint8_t ret_id[8]) {
    (void)user;
    memset(ret_id, 0, 8);
    ret_id[7] = ++counter;
}

static uint64_t replaced(void) {
    struct sonde_stats stats = {.size = sizeof stats};
    sonde_stats_get(&stats);
    return stats.ids_replaced;
}

static bool tracestate_has(const struct sonde_span *span, const char *text) {
    struct sonde_context context;
    sonde_span_context_get(span, &context);
    return memmem(context.tracestate, context.tracestate_length, text, strlen(text)) != NULL;
}

static void id_generator_makes_ids_of_roots_and_children(void) {
    uint8_t calls = 0;
    struct sonde_id_generator generator = SONDE_ID_GENERATOR_INIT;
    struct sonde_options options = SONDE_OPTIONS_INIT;
    struct sonde_span root, child, unsampled;
    generator.trace_id = trace_id_of;
    generator.span_id = span_id_of;
    generator.user = &calls;
    options.id_generator = &generator;
    CHECK(sonde_start(&options) == 0);
    sonde_span_start(&root, SONDE_NAME("root"), NULL);
    sonde_span_start(&child, SONDE_NAME("child"), NULL);
    CHECK(root.context.trace_id[0] == 0xAA && memcmp(child.context.trace_id, root.context.trace_id, 16) == 0);
    CHECK(root.context.span_id[7] == 1 && child.context.span_id[7] == 2 && calls == 1);
    CHECK(!(root.context.flags & SONDE_TRACE_FLAG_RANDOM));                     /* nobody said that they are random */
    CHECK(tracestate_has(&root, "ot=rv:") && tracestate_has(&child, "ot=rv:")); /* so there is randomness beside them */
    sonde_span_end(&child);
    sonde_span_end(&root);
    struct sonde_context remote = {.span = {.trace_id = {1}, .span_id = {1}, .is_remote = 1}};
    struct sonde_context_token token = sonde_context_attach(&remote);
    sonde_span_start(&unsampled, SONDE_NAME("new ids for what is not recorded, too"), NULL);
    CHECK(unsampled.context.span_id[7] == 3 && !sonde_span_is_recording(&unsampled));
    sonde_span_end(&unsampled);
    sonde_context_detach(token);
}

static void id_of_zeros_is_replaced_and_counted(void) {
    uint8_t calls = 0;
    struct sonde_id_generator generator = SONDE_ID_GENERATOR_INIT;
    struct sonde_options options = SONDE_OPTIONS_INIT;
    struct sonde_span span;
    generator.trace_id = trace_id_of;
    generator.span_id = span_id_of;
    generator.user = &calls;
    options.id_generator = &generator;
    trace_byte = 0;
    counter = 255;
    CHECK(sonde_start(&options) == 0);
    sonde_span_start(&span, SONDE_NAME("root"), NULL);
    CHECK(sonde_span_context_is_valid(&span.context) && calls == 1);
    CHECK(span.context.flags & SONDE_TRACE_FLAG_RANDOM); /* ours are */
    sonde_span_end(&span);
    CHECK(replaced() == 2);
}

static void generator_that_says_so_sets_the_random_flag(void) {
    uint8_t calls = 0;
    struct sonde_id_generator generator = SONDE_ID_GENERATOR_INIT;
    struct sonde_options options = SONDE_OPTIONS_INIT;
    struct sonde_span span;
    generator.trace_id = trace_id_of;
    generator.user = &calls;
    generator.random = true;
    options.id_generator = &generator;
    CHECK(sonde_start(&options) == 0);
    sonde_span_start(&span, SONDE_NAME("root"), NULL);
    CHECK(span.context.flags & SONDE_TRACE_FLAG_RANDOM && span.context.trace_id[15] == 0xAA);
    CHECK(!tracestate_has(&span, "rv:"));
    sonde_span_end(&span);
    CHECK(replaced() == 0);
}

static void xray_ids_begin_with_the_time(void) {
    struct sonde_options options = SONDE_OPTIONS_INIT;
    struct sonde_span spans[2];
    uint8_t outside[16] = {0};
    options.id_generator = sonde_id_generator_xray();
    CHECK(sonde_start(&options) == 0);
    time_t before = time(NULL) - 1;
    for (int i = 0; i < 2; i++) {
        sonde_span_start(&spans[i], SONDE_NAME("root"), NULL);
        sonde_span_end(&spans[i]);
        const uint8_t *id = spans[i].context.trace_id;
        time_t seconds = (time_t)((uint32_t)id[0] << 24 | (uint32_t)id[1] << 16 | (uint32_t)id[2] << 8 | id[3]);
        CHECK(seconds >= before && seconds <= time(NULL) + 1);
        CHECK(spans[i].context.flags & SONDE_TRACE_FLAG_RANDOM);
    }
    CHECK(memcmp(spans[0].context.trace_id + 4, spans[1].context.trace_id + 4, 12) != 0);
    options.id_generator->trace_id(NULL, outside); /* by a caller that is not inside the library */
    CHECK(outside[0] == spans[0].context.trace_id[0] && memcmp(outside + 4, "\0\0\0\0\0\0\0\0", 8) != 0);
}

static void generator_without_functions_is_refused(void) {
    struct sonde_id_generator generator = SONDE_ID_GENERATOR_INIT;
    struct sonde_options options = SONDE_OPTIONS_INIT;
    options.id_generator = &generator;
    CHECK(sonde_start(&options) == SONDE_EINVALID);
}

CHILD_TEST(id_generator_makes_ids_of_roots_and_children)
CHILD_TEST(id_of_zeros_is_replaced_and_counted)
CHILD_TEST(generator_that_says_so_sets_the_random_flag)
CHILD_TEST(xray_ids_begin_with_the_time)
CHILD_TEST(generator_without_functions_is_refused)

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(id_generator_makes_ids_of_roots_and_children_test),
        cmocka_unit_test(id_of_zeros_is_replaced_and_counted_test),
        cmocka_unit_test(generator_that_says_so_sets_the_random_flag_test),
        cmocka_unit_test(xray_ids_begin_with_the_time_test),
        cmocka_unit_test(generator_without_functions_is_refused_test),
    };
    setenv("SONDE_AGENT_SOCKET", "/nonexistent/sonde.sock", 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
