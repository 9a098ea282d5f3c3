/* SPDX-License-Identifier: Apache-2.0 */
/* The receiver against services made by hand (tests/lib/peer_fake.h); some live in child processes, to be killed. */
#include "instrumentation/wire/skim.h"
#include "instrumentation/wire/writer.h"
#include "tests/lib/peer_fake.h"
#include "tests/lib/receiver_rig.h"
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define SEQ_MAX 200000u

struct fixture {
    struct receiver_rig rig;
    struct peer_fake peer;
    uint8_t seen[SEQ_MAX];
    uint64_t seq, items;
    int message; /* last type received */
    uint8_t bytes[SONDE__MESSAGE_SIZE_MAX];
    /* what the last span of recovery said */
    unsigned crashed, unfinished, with_status;
    char signal[32];
    uint64_t start, end;
};

static int setup(void **state) {
    struct fixture *f = calloc(1, sizeof *f);
    if (!f || !peer_fake_init(&f->peer) || !rig_start(&f->rig, 64u << 20, true))
        return -1;
    *state = f;
    return 0;
}

static int teardown(void **state) {
    struct fixture *f = *state;
    rig_stop(&f->rig);
    peer_fake_deinit(&f->peer);
    free(f);
    return 0;
}

static bool has_message(void *user) {
    struct fixture *f = user;
    f->message = peer_fake_receive(&f->peer, f->bytes, sizeof f->bytes);
    return f->message != 0;
}

/* The next message to the peer. */
static int message_next(struct fixture *f) {
    assert_true(rig_until(&f->rig, has_message, f));
    return f->message;
}

static void hand_over(struct fixture *f) {
    assert_true(peer_fake_connect(&f->peer, f->rig.path, "shop"));
    assert_int_equal(message_next(f), SONDE__WELCOME);
    peer_fake_hand_over(&f->peer);
    assert_int_equal(message_next(f), SONDE__ACCEPT);
    assert_int_equal(message_next(f), SONDE__ACCEPT);
}

static bool write_span(struct fixture *f) {
    uint8_t body[256];
    uint32_t size = peer_fake_span(body, f->seq);
    bool done = peer_fake_commit(&f->peer, 0, SONDE__RECORD_SPAN, 0, body, size);
    f->seq += done;
    return done;
}

static void on_item(void *user, const struct sonde_record_view *record, const uint8_t *body, size_t size) {
    struct fixture *f = user;
    int64_t seq = peer_fake_seq(body, size, record->signal == SONDE_SIGNAL_LOGS);
    assert_in_range(seq, 0, SEQ_MAX - 1);
    f->seen[seq]++;
    f->items++;
    struct sonde__skim_keys keys;
    struct sonde__span_fields span;
    sonde__skim_keys_init(&keys);
    int crashed = sonde__skim_keys_add(&keys, "sonde.crashed"),
        signal = sonde__skim_keys_add(&keys, "sonde.crash.signal");
    int unfinished = sonde__skim_keys_add(&keys, "sonde.unfinished");
    if (record->signal != SONDE_SIGNAL_TRACES || !sonde__span_skim(body, size, &keys, &span))
        return;
    f->crashed += span.values[crashed].type == SONDE__VALUE_BOOL && span.values[crashed].integer;
    f->unfinished += span.values[unfinished].type == SONDE__VALUE_BOOL;
    f->with_status += span.status == 2;
    if (span.values[signal].type == SONDE__VALUE_STRING)
        snprintf(f->signal, sizeof f->signal, "%.*s", (int)span.values[signal].size, span.values[signal].data);
    f->start = span.start_unix_ns;
    f->end = span.end_unix_ns;
}

static bool all_seen(void *user) {
    struct fixture *f = user;
    rig_visit(&f->rig, on_item, f);
    return f->items >= f->seq;
}

static void assert_each_once(struct fixture *f) {
    for (uint64_t i = 0; i < f->seq; i++)
        assert_int_equal(f->seen[i], 1);
    char text[256];
    assert_true(sonde_ledger_balances(f->rig.ledger, NULL, text, sizeof text));
}

static void services_append_what_a_peer_commits(void **state) {
    struct fixture *f = *state;
    peer_fake_attach(&f->peer, 0);
    for (int i = 0; i < 100; i++)
        assert_true(write_span(f)); /* before there is an agent */
    hand_over(f);
    for (int i = 0; i < 100; i++)
        assert_true(write_span(f));
    assert_true(rig_until(&f->rig, all_seen, f));
    assert_each_once(f);
    struct sonde_peer_view view;
    assert_true(rig_peer(&f->rig, &view));
    assert_string_equal(view.service_name, "shop");
    assert_int_equal(view.pid, getpid());
    assert_int_equal(view.threads, 1);
    assert_int_equal(view.records[SONDE_SIGNAL_TRACES], 200);
    assert_true(view.connected && view.alive);
}

static void on_scoped(void *user, const struct sonde_record_view *record, const uint8_t *body, size_t size) {
    on_item(user, record, body, size);
    int64_t seq = peer_fake_seq(body, size, record->signal == SONDE_SIGNAL_LOGS);
    assert_int_equal(record->signal, seq % 2 ? SONDE_SIGNAL_LOGS : SONDE_SIGNAL_TRACES);
    assert_int_equal(record->uid, getuid());
    static const char *const names[] = {"", "first", "second"};
    const char *want = names[seq % 3];
    assert_int_equal(record->scope.size, *want ? strlen(want) + 2 : 0);
    if (*want)
        assert_memory_equal(record->scope.data + 2, want, strlen(want));
}
static bool all_scoped(void *user) {
    struct fixture *f = user;
    rig_visit(&f->rig, on_scoped, f);
    return f->items >= f->seq;
}

static void services_keep_signals_and_scopes_apart(void **state) {
    struct fixture *f = *state;
    peer_fake_attach(&f->peer, 0);
    peer_fake_scope(&f->peer, 1, "first");
    hand_over(f);
    peer_fake_scope(&f->peer, 2, "second");
    for (; f->seq < 600; f->seq++) {
        uint8_t body[256];
        bool log = f->seq % 2;
        uint32_t size = log ? peer_fake_log(body, f->seq) : peer_fake_span(body, f->seq);
        assert_true(peer_fake_commit(&f->peer, 0, log ? SONDE__RECORD_LOG : SONDE__RECORD_SPAN, (unsigned)(f->seq % 3),
                                     body, size));
    }
    assert_true(rig_until(&f->rig, all_scoped, f));
    assert_each_once(f);
}

static void services_find_regions_in_any_order(void **state) {
    struct fixture *f = *state;
    hand_over(f);
    static const unsigned order[] = {7, 0, 15, 3};
    for (unsigned i = 0; i < 4; i++) {
        peer_fake_attach(&f->peer, order[i]);
        uint8_t body[256];
        uint32_t size = peer_fake_span(body, f->seq++);
        assert_true(peer_fake_commit(&f->peer, order[i], SONDE__RECORD_SPAN, 0, body, size));
        assert_true(rig_until(&f->rig, all_seen, f));
    }
    assert_each_once(f);
}

static void services_flush_answers_when_the_queue_has_it(void **state) {
    struct fixture *f = *state;
    peer_fake_attach(&f->peer, 0);
    hand_over(f);
    for (int i = 0; i < 3000; i++)
        assert_true(write_span(f));
    struct sonde__flush flush = {{SONDE__FLUSH, SONDE__PROTOCOL_VERSION, sizeof flush}, 42};
    peer_fake_send(&f->peer, &flush, sizeof flush, NULL, 0);
    assert_int_equal(message_next(f), SONDE__FLUSHED);
    memcpy(&flush, f->bytes, sizeof flush);
    assert_int_equal(flush.number, 42);
    assert_true(all_seen(f));
    assert_each_once(f);
}

/* ---- PULL ---- */

static void set_callbacks(struct fixture *f, uint32_t count) {
    atomic_store(&((struct sonde__process *)(void *)f->peer.process)->callbacks, count);
}

static bool pull_is_over(void *user) {
    struct fixture *f = user;
    return !f->rig.ops->pulling(f->rig.receiver);
}

/* The number of the PULL that came. */
static uint64_t pull_take(struct fixture *f) {
    assert_int_equal(message_next(f), SONDE__PULL);
    struct sonde__pull pull;
    memcpy(&pull, f->bytes, sizeof pull);
    return pull.number;
}
static void pulled_send(struct fixture *f, uint64_t number) {
    struct sonde__pull pulled = {{SONDE__PULLED, SONDE__PROTOCOL_VERSION, sizeof pulled}, number};
    peer_fake_send(&f->peer, &pulled, sizeof pulled, NULL, 0);
}

static void services_pull_only_from_who_has_callbacks(void **state) {
    struct fixture *f = *state;
    assert_false(f->rig.ops->pull(f->rig.receiver)); /* nobody is there */
    hand_over(f);
    assert_false(f->rig.ops->pull(f->rig.receiver));
    set_callbacks(f, 2);
    assert_true(f->rig.ops->pull(f->rig.receiver));
    uint64_t number = pull_take(f);
    assert_true(f->rig.ops->pulling(f->rig.receiver));
    pulled_send(f, number);
    assert_true(rig_until(&f->rig, pull_is_over, f));
    f->rig.ops->pull_end(f->rig.receiver);
    assert_int_equal(f->rig.ledger->pulls, 1);
    assert_int_equal(f->rig.ledger->pulls_late, 0);
    assert_true(f->rig.ops->pull(f->rig.receiver));
    assert_int_not_equal(pull_take(f), number);
    set_callbacks(f, 0);
    assert_true(f->rig.ops->pulling(f->rig.receiver)); /* it was asked all the same */
}

static bool pull_is_answered(void *user) {
    struct fixture *f = user;
    return !((struct sonde__services *)f->rig.receiver)->peers->pull_open;
}

static void services_wait_once_for_who_is_late(void **state) {
    struct fixture *f = *state;
    hand_over(f);
    set_callbacks(f, 1);
    assert_true(f->rig.ops->pull(f->rig.receiver));
    uint64_t number = pull_take(f);
    f->rig.ops->pull_end(f->rig.receiver); /* out of time */
    assert_int_equal(f->rig.ledger->pulls_late, 1);
    assert_false(f->rig.ops->pulling(f->rig.receiver));
    assert_false(f->rig.ops->pull(f->rig.receiver)); /* not asked again, not waited for */
    f->rig.ops->pull_end(f->rig.receiver);
    assert_int_equal(f->rig.ledger->pulls_late, 2);
    assert_int_equal(f->rig.ledger->pulls, 1);
    pulled_send(f, number);
    assert_true(rig_until(&f->rig, pull_is_answered, f));
    assert_true(f->rig.ops->pull(f->rig.receiver));
    assert_int_equal(pull_take(f), number + 1);
    struct sonde_peer_view view;
    assert_true(rig_peer(&f->rig, &view));
    assert_int_equal(view.violations, 0); /* late is no lie */
}

static void services_pull_ends_with_the_connection(void **state) {
    struct fixture *f = *state;
    hand_over(f);
    set_callbacks(f, 1);
    assert_true(f->rig.ops->pull(f->rig.receiver));
    close(f->peer.socket);
    f->peer.socket = -1;
    assert_true(rig_until(&f->rig, pull_is_over, f));
    hand_over(f); /* the same process again: no PULL is open */
    assert_true(f->rig.ops->pull(f->rig.receiver));
    pulled_send(f, pull_take(f));
    assert_true(rig_until(&f->rig, pull_is_over, f));
}

static bool is_evicted(void *user) {
    struct fixture *f = user;
    return f->rig.ledger->evictions == 1;
}

static void services_count_answers_to_no_pull_as_violations(void **state) {
    struct fixture *f = *state;
    hand_over(f);
    pulled_send(f, 0);
    set_callbacks(f, 1);
    assert_true(f->rig.ops->pull(f->rig.receiver));
    uint64_t number = pull_take(f);
    pulled_send(f, number + 1);
    rig_run(&f->rig, 20);
    assert_true(f->rig.ops->pulling(f->rig.receiver)); /* that was no answer */
    struct sonde_peer_view view;
    assert_true(rig_peer(&f->rig, &view));
    assert_int_equal(view.violations, 2);
    pulled_send(f, UINT64_MAX);
    assert_true(rig_until(&f->rig, is_evicted, f));
    assert_false(f->rig.ops->pulling(f->rig.receiver));
    assert_int_equal(rig_peer_count(&f->rig), 0);
}

static bool tail_at_head(void *user) {
    struct fixture *f = user;
    struct sonde__region *region = peer_fake_region(&f->peer, 0);
    return atomic_load(&region->tail) == atomic_load(&region->head);
}

static void services_move_tail_when_the_queue_releases(void **state) {
    struct fixture *f = *state;
    peer_fake_attach(&f->peer, 0);
    hand_over(f);
    for (int i = 0; i < 100; i++)
        assert_true(write_span(f));
    assert_true(rig_until(&f->rig, all_seen, f));
    rig_run(&f->rig, 150);
    assert_int_equal(atomic_load(&peer_fake_region(&f->peer, 0)->tail), 0);
    rig_release(&f->rig);
    assert_true(rig_until(&f->rig, tail_at_head, f));
    assert_int_equal(f->rig.ledger->early_released, 0);
}

static bool half_is_free(void *user) {
    struct fixture *f = user;
    struct sonde__region *region = peer_fake_region(&f->peer, 0);
    return atomic_load(&region->head) - atomic_load(&region->tail) <= SONDE__RING_SIZE / 2;
}

static void services_release_early_when_half_the_ring_is_held(void **state) {
    struct fixture *f = *state;
    peer_fake_attach(&f->peer, 0);
    hand_over(f);
    for (int round = 0; round < 3; round++) {
        while (write_span(f)) {
        }
        assert_true(rig_until(&f->rig, all_seen, f));
        assert_true(rig_until(&f->rig, half_is_free, f));
    }
    assert_each_once(f);
    assert_true(f->rig.ledger->early_released > 0);
}

static bool queue_is_full(void *user) {
    struct fixture *f = user;
    return sonde_queue_size(f->rig.queue) > 600u << 10;
}

static void services_leave_records_in_the_ring_when_the_queue_is_full(void **state) {
    struct fixture *f = *state;
    rig_stop(&f->rig);
    assert_true(rig_start(&f->rig, 1u << 20, true));
    peer_fake_attach(&f->peer, 0);
    hand_over(f);
    uint64_t refused = 0;
    for (int round = 0; round < 6; round++) {
        while (write_span(f)) {
        }
        refused++;
        rig_run(&f->rig, 30);
    }
    assert_true(queue_is_full(f));
    struct sonde__flush flush = {{SONDE__FLUSH, SONDE__PROTOCOL_VERSION, sizeof flush}, 1};
    peer_fake_send(&f->peer, &flush, sizeof flush, NULL, 0);
    rig_run(&f->rig, 50);
    assert_false(has_message(f)); /* not in the queue: not flushed */
    for (int i = 0; i < 200 && f->items < f->seq; i++) {
        rig_visit(&f->rig, on_item, f);
        rig_release(&f->rig);
        rig_run(&f->rig, 5);
    }
    assert_each_once(f);
    assert_int_equal(message_next(f), SONDE__FLUSHED);
}

static void services_go_on_at_tail_after_a_restart(void **state) {
    struct fixture *f = *state;
    peer_fake_attach(&f->peer, 0);
    hand_over(f);
    for (int i = 0; i < 50; i++)
        assert_true(write_span(f));
    assert_true(rig_until(&f->rig, all_seen, f));
    rig_release(&f->rig);
    assert_true(rig_until(&f->rig, tail_at_head, f));
    atomic_store(&peer_fake_region(&f->peer, 0)->drops.count[0][0], 9);
    rig_run(&f->rig, 250);
    assert_true(rig_restart(&f->rig));
    for (int i = 0; i < 50; i++)
        assert_true(write_span(f));
    hand_over(f);
    assert_true(rig_until(&f->rig, all_seen, f));
    assert_each_once(f);
    assert_int_equal(f->rig.ledger->intake[0].dropped[SONDE_INTAKE_RING_FULL], 9); /* once, not by each agent */
}

static void services_know_a_peer_that_reconnects(void **state) {
    struct fixture *f = *state;
    peer_fake_attach(&f->peer, 0);
    hand_over(f);
    for (int i = 0; i < 50; i++)
        assert_true(write_span(f));
    assert_true(rig_until(&f->rig, all_seen, f));
    hand_over(f); /* the same memory again */
    for (int i = 0; i < 50; i++)
        assert_true(write_span(f));
    assert_true(rig_until(&f->rig, all_seen, f));
    assert_each_once(f);
    assert_int_equal(rig_peer_count(&f->rig), 1);
}

static bool peer_is_known(void *user) {
    struct fixture *f = user;
    return rig_peer_count(&f->rig) == 1;
}
/* Closing with an unread answer resets the connection: what was sent before counts all the same. */
static void services_take_memory_of_who_closed_without_reading(void **state) {
    struct fixture *f = *state;
    peer_fake_attach(&f->peer, 0);
    assert_true(write_span(f));
    assert_true(peer_fake_connect(&f->peer, f->rig.path, "shop"));
    assert_true(rig_until(&f->rig, peer_is_known, f)); /* WELCOME lies there unread */
    peer_fake_hand_over(&f->peer);
    close(f->peer.socket);
    f->peer.socket = -1;
    assert_true(rig_until(&f->rig, all_seen, f));
    assert_each_once(f);
}

static void services_count_drops_of_the_service(void **state) {
    struct fixture *f = *state;
    peer_fake_attach(&f->peer, 0);
    atomic_store(&peer_fake_region(&f->peer, 0)->drops.count[SONDE_SIGNAL_LOGS][SONDE_DROP_TOO_BIG], 5);
    atomic_store(&((struct sonde__process *)f->peer.process)->drops.count[0][SONDE_DROP_NO_MEMORY], 2);
    hand_over(f);
    rig_run(&f->rig, 150);
    assert_int_equal(f->rig.ledger->intake[SONDE_SIGNAL_LOGS].dropped[SONDE_INTAKE_TOO_BIG], 5);
    assert_int_equal(f->rig.ledger->intake[SONDE_SIGNAL_TRACES].dropped[SONDE_INTAKE_NO_MEMORY], 2);
    struct sonde_peer_view view;
    assert_true(rig_peer(&f->rig, &view));
    assert_int_equal(view.dropped, 7);
}

static void services_publish_sleep_and_keep_it_read_only(void **state) {
    struct fixture *f = *state;
    hand_over(f);
    assert_non_null(f->peer.control);
    assert_int_equal(f->peer.control->magic, SONDE__MAGIC);
    uint64_t before = atomic_load(&f->peer.control->sleep_sequence);
    rig_run(&f->rig, 250);
    assert_true(atomic_load(&f->peer.control->sleep_sequence) > before);
    assert_int_equal(atomic_load(&f->peer.control->sleep_sequence) % 2, 0); /* awake: we run */
}

static void services_wake_by_the_doorbell(void **state) {
    struct fixture *f = *state;
    peer_fake_attach(&f->peer, 0);
    hand_over(f);
    for (int i = 0; i < 20; i++) {
        assert_true(write_span(f));
        uint64_t one = 1;
        assert_int_equal(write(f->peer.bell_fd, &one, sizeof one), sizeof one);
        rig_run(&f->rig, 1);
    }
    assert_true(rig_until(&f->rig, all_seen, f));
    assert_each_once(f);
}

/* ---- memories that are refused ---- */

static uint32_t refusal_of(struct fixture *f, int fd) {
    struct sonde__memory_message message = {.message = {SONDE__MEMORY, SONDE__PROTOCOL_VERSION, sizeof message},
                                            .kind = SONDE__MEMORY_PROCESS};
    peer_fake_send(&f->peer, &message, sizeof message, &fd, 1);
    assert_int_equal(message_next(f), SONDE__REFUSE);
    memcpy(&message, f->bytes, sizeof message);
    return message.reason;
}

static void services_refuse_memory_that_is_not_safe(void **state) {
    struct fixture *f = *state;
    struct sonde__memory_header header = {.layout_major = SONDE__LAYOUT_MAJOR,
                                          .layout_minor = SONDE__LAYOUT_MINOR,
                                          .kind = SONDE__MEMORY_PROCESS,
                                          .size = SONDE__PROCESS_SIZE};
    header.magic = SONDE__MAGIC;
    memcpy(header.process_id, f->peer.process_id, 16);
    for (int i = 0; i < 5; i++) {
        if (i % 2 == 0) { /* the third violation would evict */
            rig_stop(&f->rig);
            assert_true(rig_start(&f->rig, 1u << 20, true));
            assert_true(peer_fake_connect(&f->peer, f->rig.path, "bad"));
            assert_int_equal(message_next(f), SONDE__WELCOME);
        }
        int fd = i == 2 ? open("/proc/self/exe", O_RDONLY) : memfd_create("bad", MFD_CLOEXEC | MFD_ALLOW_SEALING);
        assert_true(fd >= 0);
        if (i != 2) {
            assert_int_equal(ftruncate(fd, i == 1 ? SONDE__PAGE : SONDE__PROCESS_SIZE), 0);
            header.layout_major = (uint16_t)(i == 3 ? 99 : SONDE__LAYOUT_MAJOR);
            header.process_id[0] = (uint8_t)(f->peer.process_id[0] + (i == 4));
            assert_int_equal(pwrite(fd, &header, sizeof header, 0), sizeof header);
        }
        if (i != 0 && i != 2)
            assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW), 0);
        static const uint32_t reasons[] = {SONDE__REFUSED_SEALS, SONDE__REFUSED_SIZE, SONDE__REFUSED_SEALS,
                                           SONDE__REFUSED_LAYOUT, SONDE__REFUSED_LAYOUT};
        assert_int_equal(refusal_of(f, fd), reasons[i]);
        close(fd);
    }
}

/* The memory that libraries made before there were exemplars, and breakers: smaller, and the agent keeps its word to read
 * it. */
static void services_take_memory_of_an_older_minor_version(void **state) {
    struct fixture *f = *state;
    struct sonde__memory_message message = {.message = {SONDE__MEMORY, SONDE__PROTOCOL_VERSION, sizeof message},
                                            .kind = SONDE__MEMORY_PROCESS};
    struct sonde__memory_header header = {.layout_major = SONDE__LAYOUT_MAJOR,
                                          .layout_minor = SONDE__LAYOUT_MINOR_EXEMPLARS,
                                          .kind = SONDE__MEMORY_PROCESS,
                                          .size = SONDE__PROCESS_SIZE_BEFORE_EXEMPLARS};
    header.magic = SONDE__MAGIC;
    assert_true(peer_fake_connect(&f->peer, f->rig.path, "old"));
    assert_int_equal(message_next(f), SONDE__WELCOME);
    memcpy(header.process_id, f->peer.process_id, 16);
    int fd = memfd_create("old", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    assert_int_equal(ftruncate(fd, SONDE__PROCESS_SIZE_BEFORE_EXEMPLARS), 0);
    assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW), 0);
    assert_int_equal(pwrite(fd, &header, sizeof header, 0), sizeof header);
    assert_int_equal(refusal_of(f, fd), SONDE__REFUSED_SIZE); /* too small for what it says it is */
    header.layout_minor = 0;
    assert_int_equal(pwrite(fd, &header, sizeof header, 0), sizeof header);
    peer_fake_send(&f->peer, &message, sizeof message, &fd, 1);
    assert_int_equal(message_next(f), SONDE__ACCEPT);
    close(fd);
}

static void services_take_memory_without_breakers(void **state) {
    struct fixture *f = *state;
    struct sonde__memory_message message = {.message = {SONDE__MEMORY, SONDE__PROTOCOL_VERSION, sizeof message},
                                            .kind = SONDE__MEMORY_PROCESS};
    struct sonde__memory_header header = {.magic = SONDE__MAGIC,
                                          .layout_major = SONDE__LAYOUT_MAJOR,
                                          .layout_minor = SONDE__LAYOUT_MINOR_EXEMPLARS,
                                          .kind = SONDE__MEMORY_PROCESS,
                                          .size = SONDE__PROCESS_SIZE_BEFORE_BREAKERS};
    assert_true(peer_fake_connect(&f->peer, f->rig.path, "old"));
    assert_int_equal(message_next(f), SONDE__WELCOME);
    memcpy(header.process_id, f->peer.process_id, 16);
    int fd = memfd_create("old", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    assert_int_equal(ftruncate(fd, SONDE__PROCESS_SIZE_BEFORE_BREAKERS), 0);
    assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW), 0);
    assert_int_equal(pwrite(fd, &header, sizeof header, 0), sizeof header);
    peer_fake_send(&f->peer, &message, sizeof message, &fd, 1);
    assert_int_equal(message_next(f), SONDE__ACCEPT);
    close(fd);
}

static void services_refuse_a_uid_that_is_not_allowed(void **state) {
    struct fixture *f = *state;
    char other[] = "4294967294", *items[] = {other};
    f->rig.config.allow_uids = (struct sonde_string_list){items, 1};
    assert_true(peer_fake_connect(&f->peer, f->rig.path, "shop"));
    assert_int_equal(message_next(f), SONDE__REFUSE);
    assert_int_equal(message_next(f), -1);
}

static void services_refuse_memory_over_the_quota(void **state) {
    struct fixture *f = *state;
    f->rig.config.memory_per_uid_max = SONDE__PROCESS_SIZE + 4096;
    assert_true(peer_fake_connect(&f->peer, f->rig.path, "shop"));
    assert_int_equal(message_next(f), SONDE__WELCOME);
    peer_fake_hand_over(&f->peer);
    assert_int_equal(message_next(f), SONDE__ACCEPT);
    assert_int_equal(message_next(f), SONDE__REFUSE);
    struct sonde__memory_message message;
    memcpy(&message, f->bytes, sizeof message);
    assert_int_equal(message.reason, SONDE__REFUSED_QUOTA);
}

static void services_evict_after_three_violations(void **state) {
    struct fixture *f = *state;
    uint8_t body[256];
    peer_fake_attach(&f->peer, 0);
    peer_fake_attach(&f->peer, 1);
    for (int i = 0; i < 3; i++)
        assert_true(peer_fake_commit(&f->peer, 0, SONDE__RECORD_SPAN, 0, "garbage!", 8));
    for (int i = 0; i < 2; i++) /* in the next ring, which is not read any more */
        assert_true(peer_fake_commit(&f->peer, 1, SONDE__RECORD_SPAN, 0, body, peer_fake_span(body, 0)));
    hand_over(f);
    assert_int_equal(message_next(f), SONDE__EVICTED);
    assert_int_equal(message_next(f), -1);
    assert_int_equal(rig_peer_count(&f->rig), 0);
    assert_int_equal(f->rig.ledger->intake[0].dropped[SONDE_INTAKE_INVALID], 3);
    assert_int_equal(f->rig.ledger->intake[0].dropped[SONDE_INTAKE_EVICTED], 2);
    assert_int_equal(f->rig.ledger->evictions, 1);
    assert_true(peer_fake_connect(&f->peer, f->rig.path, "shop")); /* back at once: not for a minute */
    assert_int_equal(message_next(f), SONDE__EVICTED);
}

/* ---- processes that end ---- */

enum ending { KILLED, EXITED, ABORTED };

/* A child that hands over, commits `count` spans, opens one, and ends. The open slot has number `count`. */
static pid_t child_start(struct fixture *f, uint64_t count, void (*open_slot)(struct fixture *f), enum ending ending) {
    int ready[2];
    assert_int_equal(pipe(ready), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        close(ready[0]);
        uint8_t type[64];
        peer_fake_attach(&f->peer, 0);
        if (!peer_fake_connect(&f->peer, f->rig.path, "doomed"))
            _exit(3);
        while (peer_fake_receive(&f->peer, type, sizeof type) != SONDE__WELCOME)
            sched_yield();
        peer_fake_hand_over(&f->peer);
        for (int accepted = 0; accepted < 2;)
            accepted += peer_fake_receive(&f->peer, type, sizeof type) == SONDE__ACCEPT;
        for (f->seq = 0; f->seq < count;)
            (void)write_span(f);
        open_slot(f);
        if (write(ready[1], "", 1) != 1 || ending == EXITED)
            _exit(0);
        if (ending == ABORTED) {
            signal(SIGSEGV, SIG_DFL); /* the test runner catches it */
            raise(SIGSEGV);
        }
        for (;;)
            pause();
    }
    close(ready[1]);
    fcntl(ready[0], F_SETFL, O_NONBLOCK);
    char byte;
    for (int i = 0; i < 5000 && read(ready[0], &byte, 1) != 1; i++)
        rig_run(&f->rig, 2);
    close(ready[0]);
    f->seq = count + 1;
    return pid;
}

static void open_plain(struct fixture *f) {
    struct sonde__slot *slot = peer_fake_slot(&f->peer, 0, 5);
    uint32_t size = peer_fake_span(slot->body, f->seq);
    uint64_t zero = 0;
    memcpy(slot->body + SONDE__BODY_END, &zero, 8);
    atomic_store(&slot->length, size);
    atomic_store(&slot->state, SONDE__SLOT_OPEN);
}

static bool peer_is_gone(void *user) {
    struct fixture *f = user;
    rig_visit(&f->rig, on_item, f);
    return rig_peer_count(&f->rig) == 0;
}

static void end_child(struct fixture *f, pid_t pid, enum ending ending) {
    int status;
    if (ending == KILLED)
        kill(pid, SIGKILL);
    waitpid(pid, &status, 0);
    assert_true(rig_until(&f->rig, peer_is_gone, f));
    assert_int_equal(f->items, f->seq);
    assert_each_once(f);
}

static void services_close_open_spans_of_the_killed(void **state) {
    struct fixture *f = *state;
    end_child(f, child_start(f, 500, open_plain, KILLED), KILLED);
    assert_int_equal(f->crashed, 1);
    assert_int_equal(f->with_status, 1);
    assert_string_equal(f->signal, "SIGKILL");
    assert_true(f->end >= f->start && f->end - f->start < UINT64_C(60000000000));
}

static void services_tell_the_signal_of_a_crash(void **state) {
    struct fixture *f = *state;
    end_child(f, child_start(f, 5, open_plain, ABORTED), ABORTED);
    assert_string_equal(f->signal, "SIGSEGV");
}

static void services_mark_spans_unfinished_after_a_clean_exit(void **state) {
    struct fixture *f = *state;
    end_child(f, child_start(f, 500, open_plain, EXITED), EXITED);
    assert_int_equal(f->unfinished, 1);
    assert_int_equal(f->crashed + f->with_status, 0);
}

/* Attributes up to 9 KiB, in extents. */
static void open_large(struct fixture *f) {
    static uint8_t body[16384];
    struct sonde__writer w;
    sonde__writer_init(&w, body, sizeof body);
    w.at += peer_fake_span(body, f->seq);
    char text[300];
    memset(text, 'x', sizeof text);
    struct sonde_attribute attribute = sonde_attribute_string_n(SONDE_KEY("filler"), text, sizeof text);
    for (int i = 0; i < 30; i++)
        sonde__write_attribute(&w, 9, &attribute, SIZE_MAX);
    uint32_t size = (uint32_t)sonde__writer_size(&w), at = SONDE__SLOT_BODY;
    struct sonde__slot *slot = peer_fake_slot(&f->peer, 0, 63);
    memcpy(slot->body, body, SONDE__SLOT_BODY);
    for (unsigned i = 0; at < size; i++, at += SONDE__EXTENT_SIZE) {
        uint32_t extent = 900 - 7 * i, part = size - at < SONDE__EXTENT_SIZE ? size - at : SONDE__EXTENT_SIZE;
        memcpy(f->peer.process + SONDE__EXTENTS_AT + extent * SONDE__EXTENT_SIZE, body + at, part);
        slot->extents[i] = (uint16_t)(extent + 1);
    }
    atomic_store(&slot->length, size);
    atomic_store(&slot->state, SONDE__SLOT_OPEN);
}

static void services_recover_spans_with_extents(void **state) {
    struct fixture *f = *state;
    end_child(f, child_start(f, 5, open_large, KILLED), KILLED);
    assert_int_equal(f->crashed, 1);
}

/* Caught while a field was taken out and seq put behind the end: a gap with rubbish in it, seq past the old length. */
static void open_edited(struct fixture *f) {
    enum { SEQ_AT = 58, GAP = 7 };
    open_plain(f);
    struct sonde__slot *slot = peer_fake_slot(&f->peer, 0, 5);
    uint32_t size = atomic_load(&slot->length);
    memmove(slot->body + SEQ_AT + GAP, slot->body + SEQ_AT, size - SEQ_AT);
    memset(slot->body + SEQ_AT, 0xFF, GAP);
    atomic_store(&slot->length, SEQ_AT + GAP);
    atomic_store(&slot->edit, SONDE__EDIT(SEQ_AT, GAP, size + GAP));
}

static void services_finish_the_rewrite_of_a_killed(void **state) {
    struct fixture *f = *state;
    end_child(f, child_start(f, 5, open_edited, KILLED), KILLED); /* seq is found */
    assert_int_equal(f->crashed, 1);
}

/* A rewrite that lies about where it is. */
static void open_edited_wrongly(struct fixture *f) {
    open_plain(f);
    struct sonde__slot *slot = peer_fake_slot(&f->peer, 0, 5);
    uint32_t size = atomic_load(&slot->length);
    atomic_store(&slot->edit, SONDE__EDIT(size, 0xFFFFF, 0xFFFFF));
}

static void services_survive_a_rewrite_that_lies(void **state) {
    struct fixture *f = *state;
    end_child(f, child_start(f, 5, open_edited_wrongly, KILLED), KILLED);
    assert_int_equal(f->crashed, 1);
}

/* No span of ours: the last attribute is torn. */
static void open_torn(struct fixture *f) {
    open_plain(f);
    struct sonde__slot *slot = peer_fake_slot(&f->peer, 0, 5);
    uint32_t length = atomic_load(&slot->length);
    memcpy(slot->body + length, "\x4A\x7F\x0A\x60torn", 8);
    atomic_store(&slot->length, length + 8);
}

static void services_keep_the_valid_part_of_a_torn_span(void **state) {
    struct fixture *f = *state;
    end_child(f, child_start(f, 5, open_torn, KILLED), KILLED);
    assert_int_equal(f->crashed, 1);
}

/* Committed, and killed before the slot was freed: in the ring and, still OPEN, in the slot. */
static void open_committed(struct fixture *f) {
    open_plain(f);
    struct sonde__slot *slot = peer_fake_slot(&f->peer, 0, 5);
    (void)write_span(f);
    atomic_store(&slot->commit_position, atomic_load(&peer_fake_region(&f->peer, 0)->head));
    f->seq--;
}

static void services_report_a_committed_span_once(void **state) {
    struct fixture *f = *state;
    end_child(f, child_start(f, 5, open_committed, KILLED), KILLED);
    assert_int_equal(f->crashed, 0);
}

/* Killed between commit_position and head. */
static void open_uncommitted(struct fixture *f) {
    open_plain(f);
    atomic_store(&peer_fake_slot(&f->peer, 0, 5)->commit_position,
                 atomic_load(&peer_fake_region(&f->peer, 0)->head) + 8);
}

static void services_report_a_span_whose_record_was_not_published(void **state) {
    struct fixture *f = *state;
    end_child(f, child_start(f, 5, open_uncommitted, KILLED), KILLED);
    assert_int_equal(f->crashed, 1);
}

static bool has_crash_flags(void *user) {
    struct fixture *f = user;
    rig_visit(&f->rig, on_item, f);
    return f->unfinished > 0;
}

static void services_close_spans_when_another_program_runs_in_the_process(void **state) {
    struct fixture *f = *state;
    peer_fake_attach(&f->peer, 0);
    hand_over(f);
    open_plain(f);
    struct peer_fake before = f->peer;
    close(before.socket); /* as exec does */
    before.socket = -1;
    assert_true(peer_fake_init(&f->peer));
    hand_over(f);
    assert_true(rig_until(&f->rig, has_crash_flags, f));
    assert_int_equal(f->items, 1);
    assert_int_equal(f->crashed + f->with_status, 0);
    assert_int_equal(rig_peer_count(&f->rig), 1);
    peer_fake_deinit(&before);
}

static void services_keep_two_libraries_of_one_process_apart(void **state) {
    struct fixture *f = *state;
    peer_fake_attach(&f->peer, 0);
    hand_over(f);
    open_plain(f);
    struct peer_fake first = f->peer;
    assert_true(peer_fake_init(&f->peer));
    hand_over(f); /* the first is still connected */
    rig_run(&f->rig, 150);
    assert_int_equal(rig_peer_count(&f->rig), 2);
    assert_int_equal(f->unfinished + f->crashed, 0);
    peer_fake_deinit(&first);
}

static void services_refuse_random_messages(void **state) {
    struct fixture *f = *state;
    uint64_t random = 88172645463325252u;
    for (int i = 0; i < 300; i++) {
        assert_true(peer_fake_connect(&f->peer, f->rig.path, "liar"));
        for (int n = 0; n < 3; n++) {
            uint64_t bytes[16];
            for (int k = 0; k < 16; k++) {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                bytes[k] = random;
            }
            struct sonde__message message = {(uint16_t)(1 + random % 10), SONDE__PROTOCOL_VERSION,
                                             8 + (uint32_t)(random % 120)};
            memcpy(bytes, &message, sizeof message);
            int fds[3] = {0, 1, 2};
            peer_fake_send(&f->peer, bytes, message.size, fds, (unsigned)(random >> 32) % 4);
        }
        rig_run(&f->rig, 1);
    }
    peer_fake_attach(&f->peer, 0);
    memset(f->peer.process_id, 1, 16);
    assert_true(rig_restart(&f->rig)); /* evictions are forgotten; the socket stands again */
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(services_append_what_a_peer_commits),
        CASE(services_keep_signals_and_scopes_apart),
        CASE(services_find_regions_in_any_order),
        CASE(services_flush_answers_when_the_queue_has_it),
        CASE(services_pull_only_from_who_has_callbacks),
        CASE(services_wait_once_for_who_is_late),
        CASE(services_pull_ends_with_the_connection),
        CASE(services_count_answers_to_no_pull_as_violations),
        CASE(services_move_tail_when_the_queue_releases),
        CASE(services_release_early_when_half_the_ring_is_held),
        CASE(services_leave_records_in_the_ring_when_the_queue_is_full),
        CASE(services_go_on_at_tail_after_a_restart),
        CASE(services_know_a_peer_that_reconnects),
        CASE(services_take_memory_of_who_closed_without_reading),
        CASE(services_count_drops_of_the_service),
        CASE(services_publish_sleep_and_keep_it_read_only),
        CASE(services_wake_by_the_doorbell),
        CASE(services_refuse_memory_that_is_not_safe),
        CASE(services_take_memory_of_an_older_minor_version),
        CASE(services_take_memory_without_breakers),
        CASE(services_refuse_a_uid_that_is_not_allowed),
        CASE(services_refuse_memory_over_the_quota),
        CASE(services_evict_after_three_violations),
        CASE(services_close_open_spans_of_the_killed),
        CASE(services_tell_the_signal_of_a_crash),
        CASE(services_mark_spans_unfinished_after_a_clean_exit),
        CASE(services_recover_spans_with_extents),
        CASE(services_finish_the_rewrite_of_a_killed),
        CASE(services_survive_a_rewrite_that_lies),
        CASE(services_keep_the_valid_part_of_a_torn_span),
        CASE(services_report_a_committed_span_once),
        CASE(services_report_a_span_whose_record_was_not_published),
        CASE(services_close_spans_when_another_program_runs_in_the_process),
        CASE(services_keep_two_libraries_of_one_process_apart),
        CASE(services_refuse_random_messages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
