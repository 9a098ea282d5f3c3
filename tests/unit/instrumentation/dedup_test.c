/* SPDX-License-Identifier: Apache-2.0 */
#include "instrumentation/resilience/dedup.h"
#include "instrumentation/resilience/siphash.h"
#include <pthread.h>
#include <setjmp.h>
#include <sonde/err.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "tests/unit/instrumentation/conventional.h"

#define MS 1000000u
static uint64_t fake_now;
static uint64_t fake_clock(void *user) {
    (void)user;
    return fake_now;
}

static struct sonde_dedup make(const char *name, uint32_t capacity) {
    struct sonde_dedup_options options = SONDE_DEDUP_OPTIONS_INIT;
    struct sonde_dedup dedup;
    options.name = name;
    options.capacity = capacity;
    options.ttl_ns = UINT64_C(10000) * MS;
    options.in_flight_ns = UINT64_C(1000) * MS;
    options.clock = fake_clock;
    assert_int_equal(sonde_dedup_create(&options, &dedup), 0);
    return dedup;
}
static enum sonde_idempotency_result begin_number(struct sonde_dedup dedup, uint32_t number,
                                                  struct sonde_dedup_ticket *ret_ticket) {
    char id[32];
    int size = snprintf(id, sizeof id, "message-%u", number);
    return sonde_dedup_begin(dedup, (struct sonde_string){id, (size_t)size}, 0, ret_ticket);
}
static enum sonde_idempotency_result begin(struct sonde_dedup dedup, const char *id, uint64_t fingerprint) {
    struct sonde_dedup_ticket ticket;
    return sonde_dedup_begin(dedup, sonde_text(id), fingerprint, &ticket);
}

/* Values of SipHash-1-3-128 with the key 00..0f and the input 00, 01, ..: from another implementation, which gives the
 * published vectors of SipHash-2-4-128. */
static void siphash_is_as_the_paper_says(void **state) {
    (void)state;
    uint64_t hash[2], again[2];
    const uint64_t key[2] = {0x0706050403020100, 0x0f0e0d0c0b0a0908};
    uint8_t text[64];
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = (uint8_t)i;
    sonde__siphash(key, text, 0, hash);
    assert_true(hash[0] == 0xbea58827b2bc7ee7 && hash[1] == 0x13030dd6adb62fd);
    sonde__siphash(key, text, 15, hash);
    assert_true(hash[0] == 0x6c52bdb205557ec1 && hash[1] == 0x9017e1eeccd2129);
    sonde__siphash(key, text, 64, hash);
    assert_true(hash[0] == 0x36a54a4bf2de5312 && hash[1] == 0xc2666aba59a7c84e);
    sonde__siphash((const uint64_t[2]){key[0] ^ 1, key[1]}, text, 64, again);
    assert_true(hash[0] != again[0] && hash[1] != again[1]);
}

static void an_id_is_first_then_in_flight_then_a_replay(void **state) {
    (void)state;
    struct sonde_dedup dedup = make("states", 100);
    struct sonde_dedup_ticket ticket, other;
    assert_int_equal(sonde_dedup_begin(dedup, sonde_text("a"), 0, &ticket), SONDE_IDEMPOTENCY_FIRST);
    assert_int_equal(sonde_dedup_begin(dedup, sonde_text("a"), 0, &other), SONDE_IDEMPOTENCY_IN_FLIGHT);
    assert_int_equal(other.dedup.index, 0);
    assert_int_equal(begin(dedup, "b", 0), SONDE_IDEMPOTENCY_FIRST);
    assert_int_equal(begin(dedup, "", 0), SONDE_IDEMPOTENCY_FIRST);
    assert_int_equal(begin(dedup, "", 0), SONDE_IDEMPOTENCY_IN_FLIGHT);
    assert_true(sonde_dedup_done(&ticket));
    assert_int_equal(begin(dedup, "a", 0), SONDE_IDEMPOTENCY_REPLAY);
    assert_false(sonde_dedup_done(&ticket));
    assert_false(sonde_dedup_forget(&ticket));
    assert_int_equal(begin(dedup, "a", 0), SONDE_IDEMPOTENCY_REPLAY);
}

static void what_failed_may_be_begun_again(void **state) {
    (void)state;
    struct sonde_dedup dedup = make("failed", 100);
    struct sonde_dedup_ticket ticket, again;
    assert_int_equal(sonde_dedup_begin(dedup, sonde_text("a"), 0, &ticket), SONDE_IDEMPOTENCY_FIRST);
    assert_true(sonde_dedup_forget(&ticket));
    assert_int_equal(sonde_dedup_begin(dedup, sonde_text("a"), 0, &again), SONDE_IDEMPOTENCY_FIRST);
    assert_false(sonde_dedup_done(&ticket)); /* the old one */
    assert_int_equal(begin(dedup, "a", 0), SONDE_IDEMPOTENCY_IN_FLIGHT);
    assert_true(sonde_dedup_done(&again));
}

static void another_payload_is_a_conflict(void **state) {
    (void)state;
    struct sonde_dedup dedup = make("conflict", 100);
    struct sonde_dedup_ticket ticket;
    assert_int_equal(sonde_dedup_begin(dedup, sonde_text("a"), UINT64_C(7) << 32, &ticket), SONDE_IDEMPOTENCY_FIRST);
    assert_int_equal(begin(dedup, "a", 8), SONDE_IDEMPOTENCY_CONFLICT);
    assert_true(sonde_dedup_done(&ticket));
    assert_int_equal(begin(dedup, "a", 8), SONDE_IDEMPOTENCY_CONFLICT);
    assert_int_equal(begin(dedup, "a", UINT64_C(7) << 32), SONDE_IDEMPOTENCY_REPLAY);
    assert_int_equal(begin(dedup, "a", 0), SONDE_IDEMPOTENCY_REPLAY);
}

static void ids_are_forgotten_after_their_time(void **state) {
    (void)state;
    struct sonde_dedup dedup = make("time", 100);
    struct sonde_dedup_ticket ticket, taken;
    assert_int_equal(sonde_dedup_begin(dedup, sonde_text("a"), 1, &ticket), SONDE_IDEMPOTENCY_FIRST);
    fake_now += UINT64_C(999) * MS;
    assert_int_equal(begin(dedup, "a", 1), SONDE_IDEMPOTENCY_IN_FLIGHT);
    fake_now += 1 * MS; /* its worker died */
    assert_int_equal(sonde_dedup_begin(dedup, sonde_text("a"), 2, &taken), SONDE_IDEMPOTENCY_FIRST);
    assert_false(sonde_dedup_done(&ticket)); /* it lives, but is too late */
    assert_true(sonde_dedup_done(&taken));
    fake_now += UINT64_C(9999) * MS;
    assert_int_equal(begin(dedup, "a", 2), SONDE_IDEMPOTENCY_REPLAY);
    fake_now += 1 * MS;
    assert_int_equal(begin(dedup, "a", 3), SONDE_IDEMPOTENCY_FIRST);
}

static void a_late_done_counts_when_nobody_took_the_id(void **state) {
    (void)state;
    struct sonde_dedup dedup = make("late", 100);
    struct sonde_dedup_ticket ticket;
    assert_int_equal(sonde_dedup_begin(dedup, sonde_text("a"), 0, &ticket), SONDE_IDEMPOTENCY_FIRST);
    fake_now += UINT64_C(5000) * MS;
    assert_true(sonde_dedup_done(&ticket));
    assert_int_equal(begin(dedup, "a", 0), SONDE_IDEMPOTENCY_REPLAY);
}

/* Nearly all of the last `capacity` ids are there however many came before; memory is what it was at the start. */
static void the_last_ids_are_remembered_in_bounded_memory(void **state) {
    (void)state;
    enum { CAPACITY = 20000, IDS = 5 * CAPACITY };
    struct sonde_dedup dedup = make("bounded", CAPACITY);
    struct sonde_dedup_ticket ticket;
    uint32_t lines, lost = 0, full = 0;
    for (uint32_t i = 0; i < IDS; i++) {
        fake_now += 1 * MS / 10;
        assert_int_equal(begin_number(dedup, i, &ticket), SONDE_IDEMPOTENCY_FIRST);
        assert_true(sonde_dedup_done(&ticket));
    }
    const struct sonde__dedup_line *at = sonde__dedup_lines(dedup, &lines);
    assert_int_equal(lines, CAPACITY);
    for (uint32_t i = 0; i < lines; i++)
        for (uint32_t k = 0; k < SONDE__DEDUP_WAYS; k++)
            full += at[i].states[k] != 0;
    assert_in_range(full, CAPACITY, lines * SONDE__DEDUP_WAYS);
    for (uint32_t i = IDS - CAPACITY; i < IDS; i++)
        lost += begin_number(dedup, i, &ticket) != SONDE_IDEMPOTENCY_REPLAY;
    print_message("forgotten before their time: %u of %d\n", lost, CAPACITY);
    assert_in_range(lost, 0, CAPACITY / 500);
    assert_true(measured("sonde.idempotency.evicted", "bounded", NULL).count > 0);
}

/* All that lives within the ttl is no more than the capacity: hardly one is lost. */
static void expired_ids_make_room(void **state) {
    (void)state;
    enum { CAPACITY = 10000 };
    struct sonde_dedup dedup = make("expiring", CAPACITY);
    struct sonde_dedup_ticket ticket;
    for (uint32_t i = 0; i < 5 * CAPACITY; i++) {
        fake_now += 1 * MS; /* ttl: 10,000 of them */
        assert_int_equal(begin_number(dedup, i, &ticket), SONDE_IDEMPOTENCY_FIRST);
        assert_true(sonde_dedup_done(&ticket));
    }
    uint64_t evicted = measured("sonde.idempotency.evicted", "expiring", NULL).count;
    print_message("evicted: %llu of %d\n", (unsigned long long)evicted, 5 * CAPACITY);
    assert_in_range(evicted, 0, 5 * CAPACITY / 1000);
}

/* Ids that all fall together: they push each other out, and nobody else; of those done the oldest first. */
static void colliding_ids_cost_what_others_do(void **state) {
    (void)state;
    enum { CAPACITY = 20, MANY = 300 };
    static const uint64_t key[2] = {1, 2};
    static uint32_t together[MANY], apart[MANY];
    struct sonde_dedup dedup = make("flooded", CAPACITY);
    struct sonde_dedup_ticket ticket, in_flight;
    uint32_t lines, count = 0, others = 0;
    sonde__dedup_key_set(dedup, key);
    (void)sonde__dedup_lines(dedup, &lines);
    for (uint32_t i = 0; count < MANY; i++) {
        char id[32];
        uint64_t hash[2];
        sonde__siphash(key, id, (size_t)snprintf(id, sizeof id, "message-%u", i), hash);
        struct sonde__dedup_place place = sonde__dedup_place(hash, lines);
        if (place.lines[0] <= 1 && place.lines[1] == 1 - place.lines[0])
            together[count++] = i;
        else if (place.lines[0] > 1 && place.lines[1] > 1 && others < 5)
            apart[others++] = i;
    }
    for (uint32_t i = 0; i < others; i++) {
        assert_int_equal(begin_number(dedup, apart[i], &ticket), SONDE_IDEMPOTENCY_FIRST);
        assert_true(sonde_dedup_done(&ticket));
    }
    assert_int_equal(begin_number(dedup, together[0], &in_flight), SONDE_IDEMPOTENCY_FIRST);
    for (uint32_t i = 1; i < MANY; i++) {
        fake_now += 1 * MS;
        assert_int_equal(begin_number(dedup, together[i], &ticket), SONDE_IDEMPOTENCY_FIRST);
        assert_true(sonde_dedup_done(&ticket));
    }
    assert_int_equal(begin_number(dedup, together[0], &ticket), SONDE_IDEMPOTENCY_IN_FLIGHT);
    for (uint32_t i = MANY - 5; i < MANY; i++)
        assert_int_equal(begin_number(dedup, together[i], &ticket), SONDE_IDEMPOTENCY_REPLAY);
    for (uint32_t i = 0; i < others; i++)
        assert_int_equal(begin_number(dedup, apart[i], &ticket), SONDE_IDEMPOTENCY_REPLAY);
    assert_true(sonde_dedup_done(&in_flight));
}

/* ---- threads ---- */

enum { THREADS = 8, SHARED_IDS = 4000 };
static struct sonde_dedup shared;
static _Atomic uint32_t done_count[SHARED_IDS], failed_once[SHARED_IDS];
static void *consume(void *unused) {
    for (uint32_t i = 0; i < SHARED_IDS; i++) {
        struct sonde_dedup_ticket ticket;
        enum sonde_idempotency_result result;
        while ((result = begin_number(shared, i, &ticket)) == SONDE_IDEMPOTENCY_IN_FLIGHT)
            sched_yield();
        if (result != SONDE_IDEMPOTENCY_FIRST)
            continue;
        if (i % 3 == 0 && atomic_fetch_add(&failed_once[i], 1) == 0) {
            (void)sonde_dedup_forget(&ticket);
            i--;
            continue;
        }
        atomic_fetch_add(&done_count[i], 1);
        if (!sonde_dedup_done(&ticket))
            atomic_fetch_add(&done_count[i], 100);
    }
    return unused;
}
static void each_id_is_done_once_by_eight_threads(void **state) {
    (void)state;
    pthread_t threads[THREADS];
    shared = make("threads", 8 * SHARED_IDS);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, consume, NULL), 0);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    for (int i = 0; i < SHARED_IDS; i++)
        assert_int_equal(done_count[i], 1);
    assert_int_equal(measured("sonde.idempotency.request", "threads", "first", NULL).count,
                     SHARED_IDS + (SHARED_IDS + 2) / 3);
}

static void *crowd(void *unused) {
    for (uint32_t i = 0; i < 20000; i++) {
        struct sonde_dedup_ticket ticket;
        if (begin_number(shared, i % 50, &ticket) == SONDE_IDEMPOTENCY_FIRST)
            (void)(i % 2 ? sonde_dedup_done(&ticket) : sonde_dedup_forget(&ticket));
    }
    return unused;
}
static void a_crowded_table_stays_whole(void **state) {
    (void)state;
    pthread_t threads[THREADS];
    uint32_t lines;
    shared = make("crowd", 5);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, crowd, NULL), 0);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    const struct sonde__dedup_line *at = sonde__dedup_lines(shared, &lines);
    uint64_t seen[64];
    uint32_t count = 0;
    for (uint32_t i = 0; i < lines; i++) {
        assert_int_equal(at[i].lock & 1, 0);
        for (uint32_t k = 0; k < SONDE__DEDUP_WAYS; k++) {
            if (!(at[i].states[k] >> 62))
                continue;
            for (uint32_t n = 0; n < count; n++)
                assert_true(seen[n] != at[i].tags[k]); /* no id twice */
            seen[count++] = at[i].tags[k];
        }
    }
}

static void a_forked_child_begins_empty(void **state) {
    (void)state;
#if defined(__SANITIZE_THREAD__)
    skip(); /* it ends a child that starts a thread, as the library's link does */
#endif
    struct sonde_dedup dedup = make("fork", 100);
    struct sonde_dedup_ticket ticket;
    assert_int_equal(sonde_dedup_begin(dedup, sonde_text("a"), 0, &ticket), SONDE_IDEMPOTENCY_FIRST);
    pid_t pid = fork();
    if (pid == 0)
        _exit(!sonde_dedup_done(&ticket) && begin(dedup, "a", 0) == SONDE_IDEMPOTENCY_FIRST ? 0 : 1);
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    assert_true(sonde_dedup_done(&ticket));
}

static void bad_options_are_refused_and_names_are_found(void **state) {
    (void)state;
    struct sonde_dedup_options options = SONDE_DEDUP_OPTIONS_INIT;
    struct sonde_dedup dedup;
    struct sonde_dedup_ticket ticket;
    assert_int_equal(sonde_dedup_create(&options, &dedup), SONDE_EINVALID);
    options.name = "x";
    options.capacity = (1u << 24) + 1;
    assert_int_equal(sonde_dedup_create(&options, &dedup), SONDE_EINVALID);
    assert_int_equal(dedup.index, 0);
    assert_int_equal(make("found", 10).index, make("found", 1000).index);
    assert_int_equal(sonde_dedup_begin(dedup, sonde_text("a"), 0, &ticket), SONDE_IDEMPOTENCY_FIRST);
    assert_int_equal(sonde_dedup_begin(dedup, sonde_text("a"), 0, &ticket), SONDE_IDEMPOTENCY_FIRST);
    assert_true(sonde_dedup_done(&ticket));
    assert_int_equal(sonde_dedup_begin(make("one", 1), sonde_text("a"), 0, &ticket), SONDE_IDEMPOTENCY_FIRST);
}

int main(void) {
    setenv("SONDE_AGENT_SOCKET", "/nonexistent/sonde.sock", 1);
    fake_now = UINT64_C(1000) * MS;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(siphash_is_as_the_paper_says),
        cmocka_unit_test(an_id_is_first_then_in_flight_then_a_replay),
        cmocka_unit_test(what_failed_may_be_begun_again),
        cmocka_unit_test(another_payload_is_a_conflict),
        cmocka_unit_test(ids_are_forgotten_after_their_time),
        cmocka_unit_test(a_late_done_counts_when_nobody_took_the_id),
        cmocka_unit_test(the_last_ids_are_remembered_in_bounded_memory),
        cmocka_unit_test(expired_ids_make_room),
        cmocka_unit_test(colliding_ids_cost_what_others_do),
        cmocka_unit_test(each_id_is_done_once_by_eight_threads),
        cmocka_unit_test(a_crowded_table_stays_whole),
        cmocka_unit_test(a_forked_child_begins_empty),
        cmocka_unit_test(bad_options_are_refused_and_names_are_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
