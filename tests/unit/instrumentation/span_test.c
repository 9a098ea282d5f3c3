/* SPDX-License-Identifier: Apache-2.0 */
/* Start and end of spans: identity, parents, times, handles, the ring they go to, and ends from elsewhere. */
#include "tests/lib/records.h"
#include <pthread.h>
#include <setjmp.h>
#include <sonde/sonde.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static uint64_t dropped(enum sonde_drop_reason reason) {
    struct sonde_stats stats = {.size = sizeof stats};
    sonde_stats_get(&stats);
    return stats.dropped[SONDE_SIGNAL_TRACES][reason];
}

static struct sonde_context remote_parent(uint8_t flags, const char *tracestate) {
    struct sonde_context context = {.span = {.flags = flags, .is_remote = 1}};
    memcpy(context.span.trace_id, "\x4b\xf9\x2f\x35\x77\xb3\x4d\xa6\xa3\xce\x92\x9d\x0e\x0e\x47\x36", 16);
    memcpy(context.span.span_id, "\x00\xf0\x67\xaa\x0b\xa9\x02\xb7", 8);
    context.tracestate_length = (uint32_t)strlen(tracestate);
    memcpy(context.tracestate, tracestate, context.tracestate_length);
    return context;
}

static void span_has_identity_name_kind_and_times(void **state) {
    (void)state;
    struct sonde_span span;
    struct sonde_span_options options = SONDE_SPAN_OPTIONS_INIT;
    options.kind = SONDE_SPAN_KIND_SERVER;
    options.start_unix_ns = 1700000000000000123u;
    sonde_span_start(&span, SONDE_NAME("GET /users/{id}"), &options);
    assert_true(sonde_span_context_is_valid(&span.context));
    assert_true(sonde_span_is_recording(&span));
    sonde_span_end_at(&span, 1700000000000000456u);
    Pb__Span *pb = records_span();
    assert_int_equal(pb->trace_id.len, 16);
    assert_memory_equal(pb->trace_id.data, span.context.trace_id, 16);
    assert_int_equal(pb->span_id.len, 8);
    assert_memory_equal(pb->span_id.data, span.context.span_id, 8);
    assert_int_equal(pb->parent_span_id.len, 0);
    assert_string_equal(pb->name, "GET /users/{id}");
    assert_int_equal(pb->kind, SONDE_SPAN_KIND_SERVER);
    assert_true(pb->start_time_unix_nano == 1700000000000000123u);
    assert_true(pb->end_time_unix_nano == 1700000000000000456u);
    assert_int_equal(pb->flags, 0x100 | SONDE_TRACE_FLAG_SAMPLED | SONDE_TRACE_FLAG_RANDOM);
    assert_null(pb->status);
    pb__span__free_unpacked(pb, NULL);
}

static void span_default_kind_is_internal_and_end_follows_start(void **state) {
    (void)state;
    struct sonde_span span;
    for (int own_start = 0; own_start < 2; own_start++) {
        struct sonde_span_options options = SONDE_SPAN_OPTIONS_INIT;
        options.start_unix_ns = own_start ? 1700000000000000000u : 0;
        sonde_span_start(&span, SONDE_NAME("work"), &options);
        sonde_span_end(&span);
        Pb__Span *pb = records_span();
        assert_int_equal(pb->kind, SONDE_SPAN_KIND_INTERNAL);
        assert_true(pb->end_time_unix_nano >= pb->start_time_unix_nano);
        assert_true(pb->start_time_unix_nano >= 1700000000000000000u);
        pb__span__free_unpacked(pb, NULL);
    }
}

/* The agent checks kinds, and would evict a service that has strange ones. */
static void span_kind_that_is_none_counts_as_internal(void **state) {
    (void)state;
    struct sonde_span outer, span;
    sonde_span_start(&outer, SONDE_NAME("outer"), NULL);
    for (int kind = -1; kind <= 300; kind += 7) { /* -1, 6, 13, ... as a child of the current span, and as a root */
        for (int child = 0; child < 2; child++) {
            struct sonde_context root = {0};
            struct sonde_span_options options = SONDE_SPAN_OPTIONS_INIT;
            options.kind = (enum sonde_span_kind)kind;
            options.parent = child ? NULL : &root;
            sonde_span_start(&span, SONDE_NAME("strange"), &options);
            sonde_span_end(&span);
            Pb__Span *pb = records_span();
            assert_int_equal(pb->kind, SONDE_SPAN_KIND_INTERNAL);
            pb__span__free_unpacked(pb, NULL);
        }
    }
    sonde_span_end(&outer);
    pb__span__free_unpacked(records_span(), NULL);
}

static void span_never_ends_before_its_start(void **state) {
    (void)state;
    struct sonde_span span;
    for (int own_start = 0; own_start < 2; own_start++) {
        struct sonde_span_options options = SONDE_SPAN_OPTIONS_INIT;
        options.start_unix_ns = own_start ? 1700000000000000456u : 0;
        sonde_span_start(&span, SONDE_NAME("work"), &options);
        sonde_span_end_at(&span, 1700000000000000123u);
        Pb__Span *pb = records_span();
        assert_true(pb->end_time_unix_nano == pb->start_time_unix_nano);
        pb__span__free_unpacked(pb, NULL);
    }
}

static void span_options_of_another_version_leave_defaults(void **state) {
    (void)state;
    struct sonde_span span;
    struct sonde_span_options options = SONDE_SPAN_OPTIONS_INIT;
    options.size = offsetof(struct sonde_span_options, scope); /* kind, and nothing behind it */
    options.kind = SONDE_SPAN_KIND_CLIENT;
    options.start_unix_ns = 1;
    options.not_current = true;
    sonde_span_start(&span, SONDE_NAME("old"), &options);
    assert_int_not_equal(span.token.depth, 0);
    sonde_span_end(&span);
    Pb__Span *pb = records_span();
    assert_int_equal(pb->kind, SONDE_SPAN_KIND_CLIENT);
    assert_true(pb->start_time_unix_nano != 1);
    pb__span__free_unpacked(pb, NULL);
}

static void span_is_child_of_the_current_one(void **state) {
    (void)state;
    struct sonde_span parent, child, sibling;
    sonde_span_start(&parent, SONDE_NAME("parent"), NULL);
    sonde_span_start(&child, SONDE_NAME("child"), NULL);
    assert_memory_equal(child.context.trace_id, parent.context.trace_id, 16);
    struct sonde_span_context current = sonde_context_current_span();
    assert_memory_equal(&current, &child.context, sizeof current);
    sonde_span_end(&child);
    sonde_span_start(&sibling, SONDE_NAME("sibling"), NULL);
    sonde_span_end(&sibling);
    current = sonde_context_current_span();
    assert_memory_equal(&current, &parent.context, sizeof current);
    sonde_span_end(&parent);
    current = sonde_context_current_span();
    assert_false(sonde_span_context_is_valid(&current));
    for (int i = 0; i < 2; i++) {
        Pb__Span *pb = records_span();
        assert_memory_equal(pb->parent_span_id.data, parent.context.span_id, 8);
        assert_memory_equal(pb->trace_id.data, parent.context.trace_id, 16);
        pb__span__free_unpacked(pb, NULL);
    }
    assert_int_equal(records_skip(), 1);
}

static void span_of_remote_parent_says_so_and_keeps_tracestate(void **state) {
    (void)state;
    struct sonde_context parent = remote_parent(SONDE_TRACE_FLAG_SAMPLED, "vendor=1,other=2"), context;
    struct sonde_span_options options = SONDE_SPAN_OPTIONS_INIT;
    struct sonde_span span, child;
    options.parent = &parent;
    sonde_span_start(&span, SONDE_NAME("server"), &options);
    sonde_span_start(&child, SONDE_NAME("inner"), NULL);
    sonde_span_context_get(&child, &context);
    assert_int_equal(context.tracestate_length, 16);
    assert_memory_equal(context.tracestate, "vendor=1,other=2", 16);
    assert_int_equal(context.span.is_remote, 0);
    sonde_span_end(&child);
    sonde_span_end(&span);
    Pb__Span *pb = records_span();
    assert_int_equal(pb->flags, 0x101);
    assert_string_equal(pb->trace_state, "vendor=1,other=2");
    assert_string_equal(pb->name, "inner");
    pb__span__free_unpacked(pb, NULL);
    pb = records_span();
    assert_int_equal(pb->flags, 0x301);
    assert_memory_equal(pb->parent_span_id.data, parent.span.span_id, 8);
    assert_memory_equal(pb->trace_id.data, parent.span.trace_id, 16);
    assert_string_equal(pb->trace_state, "vendor=1,other=2");
    assert_string_equal(pb->name, "server");
    pb__span__free_unpacked(pb, NULL);
}

static void span_of_invalid_parent_is_a_root(void **state) {
    (void)state;
    struct sonde_context none = {.tracestate_length = 0};
    struct sonde_span_options options = SONDE_SPAN_OPTIONS_INIT;
    struct sonde_span outer, root;
    sonde_span_start(&outer, SONDE_NAME("outer"), NULL);
    options.parent = &none;
    sonde_span_start(&root, SONDE_NAME("root"), &options);
    assert_memory_not_equal(root.context.trace_id, outer.context.trace_id, 16);
    sonde_span_end(&root);
    sonde_span_end(&outer);
    Pb__Span *pb = records_span();
    assert_int_equal(pb->parent_span_id.len, 0);
    pb__span__free_unpacked(pb, NULL);
    records_skip();
}

static void span_not_current_leaves_the_stack_alone(void **state) {
    (void)state;
    struct sonde_span_options options = SONDE_SPAN_OPTIONS_INIT;
    struct sonde_span span;
    options.not_current = true;
    sonde_span_start(&span, SONDE_NAME("async"), &options);
    struct sonde_span_context current = sonde_context_current_span();
    assert_false(sonde_span_context_is_valid(&current));
    sonde_span_end(&span);
    assert_int_equal(records_skip(), 1);
}

static void span_of_unsampled_parent_propagates_and_is_not_recorded(void **state) {
    (void)state;
    struct sonde_context parent = remote_parent(0, "a=1"), context;
    struct sonde_span_options options = SONDE_SPAN_OPTIONS_INIT;
    struct sonde_span span, child;
    options.parent = &parent;
    sonde_span_start(&span, SONDE_NAME("server"), &options);
    assert_false(sonde_span_is_recording(&span));
    assert_memory_not_equal(span.context.span_id, parent.span.span_id, 8);
    assert_int_equal(span.context.flags, 0);
    sonde_span_start(&child, SONDE_NAME("child"), NULL);
    assert_memory_equal(child.context.trace_id, parent.span.trace_id, 16);
    sonde_span_set_int64(&child, SONDE_KEY("n"), 1);
    sonde_span_context_get(&child, &context);
    assert_int_equal(context.tracestate_length, 3);
    sonde_span_end(&child);
    sonde_span_end(&span);
    assert_int_equal(records_skip(), 0);
    struct sonde_span_context current = sonde_context_current_span();
    assert_false(sonde_span_context_is_valid(&current));
}

static void span_end_is_ignored_when_called_twice(void **state) {
    (void)state;
    struct sonde_span span, copy;
    sonde_span_start(&span, SONDE_NAME("once"), NULL);
    copy = span;
    sonde_span_end(&span);
    sonde_span_end(&span);
    sonde_span_end(&copy);
    assert_int_equal(records_skip(), 1);
}

static void span_handle_is_harmless_when_stale(void **state) {
    (void)state;
    struct sonde_span span, stale, next;
    sonde_span_start(&span, SONDE_NAME("first"), NULL);
    stale = span;
    sonde_span_end(&span);
    sonde_span_start(&next, SONDE_NAME("second"), NULL);
    assert_int_equal(next.slot, stale.slot); /* the same slot, lived in again */
    sonde_span_set_int64(&stale, SONDE_KEY("stale"), 1);
    sonde_span_add_event(&stale, SONDE_NAME("stale"), 0, NULL, 0);
    sonde_span_set_name(&stale, SONDE_NAME("stale"));
    sonde_span_set_status(&stale, SONDE_STATUS_ERROR, "stale");
    assert_false(sonde_span_is_recording(&stale));
    sonde_span_end(&stale);
    assert_true(sonde_span_is_recording(&next));
    sonde_span_end(&next);
    assert_int_equal(records_skip(), 2);
    stale.slot = 0xFFFFFFFF; /* not a slot of anything */
    sonde_span_set_int64(&stale, SONDE_KEY("stale"), 1);
    sonde_span_end(&stale);
}

static void span_ends_out_of_order_repair_the_stack(void **state) {
    (void)state;
    struct sonde_span outer, inner;
    sonde_span_start(&outer, SONDE_NAME("outer"), NULL);
    sonde_span_start(&inner, SONDE_NAME("inner"), NULL);
    sonde_span_end(&outer);
    struct sonde_span_context current = sonde_context_current_span();
    assert_false(sonde_span_context_is_valid(&current));
    sonde_span_end(&inner);
    assert_int_equal(records_skip(), 2);
}

static void span_name_is_kept_at_every_size(void **state) {
    (void)state;
    char name[1201];
    static const size_t sizes[] = {0, 1, 15, 16, 17, 126, 127, 128, 129, 1023, 1024, 1025, 1200};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct sonde_span span;
        memset(name, 'n', sizes[i]);
        name[sizes[i]] = 0;
        sonde_span_start(&span, sonde_key_cstr(name), NULL);
        sonde_span_set_int64(&span, SONDE_KEY("n"), 7);
        sonde_span_end(&span);
        Pb__Span *pb = records_span();
        assert_int_equal(strlen(pb->name), sizes[i] < 1024 ? sizes[i] : 1024);
        assert_int_equal(records_value(pb->attributes, pb->n_attributes, "n")->int_value, 7);
        pb__span__free_unpacked(pb, NULL);
    }
    struct sonde_span span;
    sonde_span_start(&span, sonde_key_cstr("caf\xE9"), NULL);
    sonde_span_end(&span);
    Pb__Span *pb = records_span();
    assert_string_equal(pb->name, "caf\xEF\xBF\xBD");
    pb__span__free_unpacked(pb, NULL);
}

static void span_longest_tracestate_and_name_fit(void **state) {
    (void)state;
    char text[1025], name[1025];
    memset(text, 'v', 1024);
    for (int i = 0; i < 8; i++) /* eight members of 127 characters and a comma */
        memcpy(text + i * 128, "k0=", 3), text[i * 128 + 1] = (char)('0' + i), text[i * 128 + 127] = ',';
    text[1023] = 0;
    memset(name, 'n', 1024);
    name[1024] = 0;
    struct sonde_context parent = remote_parent(SONDE_TRACE_FLAG_SAMPLED, text), context;
    struct sonde_span_options options = SONDE_SPAN_OPTIONS_INIT;
    struct sonde_span span;
    options.parent = &parent;
    sonde_span_start(&span, sonde_key_cstr(name), &options);
    sonde_span_context_get(&span, &context);
    assert_int_equal(context.tracestate_length, 1023);
    sonde_span_set_name(&span, SONDE_NAME("short"));
    sonde_span_end(&span);
    Pb__Span *pb = records_span();
    assert_string_equal(pb->trace_state, text);
    assert_string_equal(pb->name, "short");
    pb__span__free_unpacked(pb, NULL);
}

static void span_ring_wraps_and_every_record_is_whole(void **state) {
    (void)state;
    char value[200];
    for (int i = 0; i < 40000; i++) { /* some 8 times round */
        struct sonde_span span;
        size_t size = (size_t)(i * 37) % sizeof value;
        memset(value, 'a' + i % 26, size);
        sonde_span_start(&span, SONDE_NAME("lap"), NULL);
        sonde_span_set_int64(&span, SONDE_KEY("i"), i);
        sonde_span_set_string(&span, SONDE_KEY("value"), value, size);
        sonde_span_end(&span);
        if (i % 64 != 63)
            continue;
        for (int k = i - 63; k <= i; k++) {
            Pb__Span *pb = records_span();
            assert_int_equal(records_value(pb->attributes, pb->n_attributes, "i")->int_value, k);
            const char *found = records_value(pb->attributes, pb->n_attributes, "value")->string_value;
            assert_int_equal(strlen(found), (size_t)(k * 37) % sizeof value);
            assert_int_equal(strspn(found, (char[]){(char)('a' + k % 26), 0}), strlen(found));
            pb__span__free_unpacked(pb, NULL);
        }
        assert_null(records_next());
    }
}

static void span_is_dropped_and_counted_when_the_ring_is_full(void **state) {
    (void)state;
    struct sonde_span span;
    uint64_t before = dropped(SONDE_DROP_RING_FULL);
    size_t count = 0;
    while (dropped(SONDE_DROP_RING_FULL) < before + 3) {
        sonde_span_start(&span, SONDE_NAME("flood"), NULL);
        sonde_span_end(&span);
        count++;
    }
    assert_int_equal(records_skip(), count - 3);
    sonde_span_start(&span, SONDE_NAME("after"), NULL);
    sonde_span_end(&span);
    assert_int_equal(records_skip(), 1);
}

static void span_is_dropped_and_counted_when_all_slots_are_open(void **state) {
    (void)state;
    struct sonde_span spans[SONDE_SPAN_SLOTS_PER_THREAD + 2];
    struct sonde_span_options options = SONDE_SPAN_OPTIONS_INIT;
    options.not_current = true;
    uint64_t before = dropped(SONDE_DROP_NO_SLOT);
    for (size_t i = 0; i < sizeof spans / sizeof *spans; i++)
        sonde_span_start(&spans[i], SONDE_NAME("open"), &options);
    assert_int_equal(dropped(SONDE_DROP_NO_SLOT), before + 2);
    assert_false(sonde_span_is_recording(&spans[SONDE_SPAN_SLOTS_PER_THREAD]));
    for (size_t i = 0; i < sizeof spans / sizeof *spans; i++)
        sonde_span_end(&spans[i]);
    assert_int_equal(records_skip(), SONDE_SPAN_SLOTS_PER_THREAD);
}

static void *end_elsewhere(void *arg) {
    struct sonde_span *spans = arg;
    for (size_t i = 0; i < SONDE_SPAN_SLOTS_PER_THREAD; i++) {
        sonde_span_set_int64(&spans[i], SONDE_KEY("elsewhere"), (int64_t)i);
        sonde_span_end(&spans[i]);
    }
    return (void *)records_skip();
}

static void span_ends_on_another_thread_and_the_slot_comes_back(void **state) {
    (void)state;
    struct sonde_span spans[SONDE_SPAN_SLOTS_PER_THREAD];
    struct sonde_span_options options = SONDE_SPAN_OPTIONS_INIT;
    options.not_current = true;
    for (int round = 0; round < 3; round++) {
        pthread_t thread;
        void *count;
        for (size_t i = 0; i < SONDE_SPAN_SLOTS_PER_THREAD; i++) {
            sonde_span_start(&spans[i], SONDE_NAME("moved"), &options);
            assert_true(sonde_span_is_recording(&spans[i]));
        }
        assert_int_equal(pthread_create(&thread, NULL, end_elsewhere, spans), 0);
        pthread_join(thread, &count);
        assert_int_equal((size_t)count, SONDE_SPAN_SLOTS_PER_THREAD);
    }
    assert_int_equal(records_skip(), 0);
}

struct race {
    pthread_barrier_t barrier;
    struct sonde_span spans[32];
};
static void *end_racing(void *arg) {
    struct race *race = arg;
    size_t committed = 0;
    for (int round = 0; round < 100; round++) {
        pthread_barrier_wait(&race->barrier); /* spans are there */
        for (size_t i = 0; i < 32; i++) {
            struct sonde_span copy = race->spans[i];
            sonde_span_end(&copy);
        }
        committed += records_skip();
        pthread_barrier_wait(&race->barrier);
    }
    return (void *)committed;
}

static void span_is_committed_once_when_two_threads_end_it(void **state) {
    (void)state;
    struct race race;
    struct sonde_span_options options = SONDE_SPAN_OPTIONS_INIT;
    pthread_t threads[2];
    void *counts[2];
    options.not_current = true;
    pthread_barrier_init(&race.barrier, NULL, 3);
    for (int t = 0; t < 2; t++)
        assert_int_equal(pthread_create(&threads[t], NULL, end_racing, &race), 0);
    for (int round = 0; round < 100; round++) {
        for (size_t i = 0; i < 32; i++)
            sonde_span_start(&race.spans[i], SONDE_NAME("race"), &options);
        pthread_barrier_wait(&race.barrier);
        pthread_barrier_wait(&race.barrier);
    }
    for (int t = 0; t < 2; t++)
        pthread_join(threads[t], &counts[t]);
    pthread_barrier_destroy(&race.barrier);
    size_t reclaimed = 0; /* ends that lost the spin bit for long come later: make the thread need its slots */
    struct sonde_span spans[SONDE_SPAN_SLOTS_PER_THREAD];
    for (size_t i = 0; i < SONDE_SPAN_SLOTS_PER_THREAD; i++)
        sonde_span_start(&spans[i], SONDE_NAME("fill"), &options);
    reclaimed = records_skip();
    assert_int_equal((size_t)counts[0] + (size_t)counts[1] + reclaimed, 3200);
    for (size_t i = 0; i < SONDE_SPAN_SLOTS_PER_THREAD; i++)
        sonde_span_end(&spans[i]);
    records_skip();
}

static void span_call_is_dropped_and_counted_when_the_spin_runs_out(void **state) {
    (void)state;
    struct sonde_span span, spans[SONDE_SPAN_SLOTS_PER_THREAD];
    struct sonde_span_options options = SONDE_SPAN_OPTIONS_INIT;
    options.not_current = true;
    sonde_span_start(&span, SONDE_NAME("busy"), &options);
    struct sonde__slot *slot = sonde__slot_find(span.slot);
    uint64_t before = dropped(SONDE_DROP_BUSY);
    atomic_store(&slot->spin, 1); /* a thread that sleeps in the middle of a call */
    sonde_span_set_int64(&span, SONDE_KEY("lost"), 1);
    assert_int_equal(dropped(SONDE_DROP_BUSY), before + 1);
    sonde_span_end_at(&span, 1800000000000000000u);
    assert_int_equal(records_skip(), 0);
    atomic_store(&slot->spin, 0);
    for (size_t i = 0; i < SONDE_SPAN_SLOTS_PER_THREAD; i++) /* the last one needs the slot */
        sonde_span_start(&spans[i], SONDE_NAME("fill"), &options);
    assert_true(sonde_span_is_recording(&spans[SONDE_SPAN_SLOTS_PER_THREAD - 1]));
    Pb__Span *pb = records_span(); /* the end was late, its time is not */
    assert_string_equal(pb->name, "busy");
    assert_true(pb->end_time_unix_nano == 1800000000000000000u);
    pb__span__free_unpacked(pb, NULL);
    for (size_t i = 0; i < SONDE_SPAN_SLOTS_PER_THREAD; i++)
        sonde_span_end(&spans[i]);
    assert_int_equal(records_skip(), SONDE_SPAN_SLOTS_PER_THREAD);
}

static void span_one_thread_ignores_the_spin_bit(void **state) {
    (void)state;
    struct sonde_span span;
    struct sonde_span_options options = SONDE_SPAN_OPTIONS_INIT;
    options.one_thread = true;
    sonde_span_start(&span, SONDE_NAME("mine"), &options);
    sonde_span_set_int64(&span, SONDE_KEY("n"), 1);
    assert_int_equal(atomic_load(&sonde__slot_find(span.slot)->spin), 0);
    sonde_span_end(&span);
    Pb__Span *pb = records_span();
    assert_int_equal(pb->n_attributes, 1);
    pb__span__free_unpacked(pb, NULL);
}

static void span_of_a_forked_parent_is_not_the_childs(void **state) {
    (void)state;
    struct sonde_span span, childs;
    sonde_span_start(&span, SONDE_NAME("parent"), NULL);
    (void)sonde_flush(1000); /* the link thread is at rest: allocators of sanitizers do not survive a fork() else */
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct sonde_span copy = span;
        sonde_span_set_int64(&copy, SONDE_KEY("child"), 1);
        sonde_span_start(&childs, SONDE_NAME("child"), NULL);
        sonde_span_end(&copy);
        sonde_span_end(&childs);
        _exit(records_skip() == 1 && memcmp(childs.context.span_id, span.context.span_id, 8) != 0 ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    sonde_span_end(&span);
    Pb__Span *pb = records_span();
    assert_int_equal(pb->n_attributes, 0);
    pb__span__free_unpacked(pb, NULL);
    assert_int_equal(records_skip(), 0);
}

static void span_ids_do_not_repeat(void **state) {
    (void)state;
    enum { COUNT = 2000 };
    static struct sonde_span_context contexts[COUNT];
    for (size_t i = 0; i < COUNT; i++) {
        struct sonde_span span;
        sonde_span_start(&span, SONDE_NAME("root"), NULL);
        contexts[i] = span.context;
        sonde_span_end(&span);
        records_skip();
        for (size_t k = 0; k < i; k++) {
            assert_memory_not_equal(contexts[k].trace_id, contexts[i].trace_id, 16);
            assert_memory_not_equal(contexts[k].span_id, contexts[i].span_id, 8);
        }
    }
}

static void span_record_names_its_scope_and_error(void **state) {
    (void)state;
    struct sonde_span span;
    struct sonde_span_options options = SONDE_SPAN_OPTIONS_INIT;
    uint32_t scope = sonde_scope_register("orders", "1.2", "https://opentelemetry.io/schemas/1.27.0", NULL, 0);
    assert_int_not_equal(scope, 0);
    assert_int_equal(sonde_scope_register("orders", "1.2", "https://opentelemetry.io/schemas/1.27.0", NULL, 0), scope);
    assert_int_not_equal(sonde_scope_register("orders", "1.3", NULL, NULL, 0), scope);
    assert_int_equal(sonde_scope_register("", NULL, NULL, NULL, 0), 0);
    options.scope = scope;
    sonde_span_start(&span, SONDE_NAME("scoped"), &options);
    sonde_span_set_status(&span, SONDE_STATUS_ERROR, NULL);
    sonde_span_end(&span);
    const struct sonde__record *record = records_next();
    assert_non_null(record);
    assert_int_equal(record->scope, scope);
    assert_int_equal(record->flags, SONDE__RECORD_FLAG_ERROR);
    records_skip();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(span_has_identity_name_kind_and_times),
        cmocka_unit_test(span_default_kind_is_internal_and_end_follows_start),
        cmocka_unit_test(span_kind_that_is_none_counts_as_internal),
        cmocka_unit_test(span_never_ends_before_its_start),
        cmocka_unit_test(span_options_of_another_version_leave_defaults),
        cmocka_unit_test(span_is_child_of_the_current_one),
        cmocka_unit_test(span_of_remote_parent_says_so_and_keeps_tracestate),
        cmocka_unit_test(span_of_invalid_parent_is_a_root),
        cmocka_unit_test(span_not_current_leaves_the_stack_alone),
        cmocka_unit_test(span_of_unsampled_parent_propagates_and_is_not_recorded),
        cmocka_unit_test(span_end_is_ignored_when_called_twice),
        cmocka_unit_test(span_handle_is_harmless_when_stale),
        cmocka_unit_test(span_ends_out_of_order_repair_the_stack),
        cmocka_unit_test(span_name_is_kept_at_every_size),
        cmocka_unit_test(span_longest_tracestate_and_name_fit),
        cmocka_unit_test(span_ring_wraps_and_every_record_is_whole),
        cmocka_unit_test(span_is_dropped_and_counted_when_the_ring_is_full),
        cmocka_unit_test(span_is_dropped_and_counted_when_all_slots_are_open),
        cmocka_unit_test(span_ends_on_another_thread_and_the_slot_comes_back),
        cmocka_unit_test(span_is_committed_once_when_two_threads_end_it),
        cmocka_unit_test(span_call_is_dropped_and_counted_when_the_spin_runs_out),
        cmocka_unit_test(span_one_thread_ignores_the_spin_bit),
        cmocka_unit_test(span_of_a_forked_parent_is_not_the_childs),
        cmocka_unit_test(span_ids_do_not_repeat),
        cmocka_unit_test(span_record_names_its_scope_and_error),
    };
    setenv("SONDE_AGENT_SOCKET", "/nonexistent/sonde.sock", 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
