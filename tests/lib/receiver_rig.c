/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/lib/receiver_rig.h"
#include "instrumentation/wire/read.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

extern const struct sonde_receiver_ops sonde_receiver_services;

static void on_released(void *user, uint64_t sequence) {
    struct receiver_rig *rig = user;
    if (rig->receiver)
        rig->ops->released(rig->receiver, sequence);
}

static void on_stop(void *user) {
    sonde_loop_stop(user);
}

static bool receiver_make(struct receiver_rig *rig) {
    char text[256] = "";
    int result = rig->ops->create(&rig->config, &rig->env, &rig->receiver, text, sizeof text);
    if (result != 0)
        fprintf(stderr, "receiver: %d %s\n", result, text);
    return result == 0;
}

bool rig_start(struct receiver_rig *rig, uint64_t queue_size, bool cursor) {
    memset(rig, 0, sizeof *rig);
    snprintf(rig->directory, sizeof rig->directory, "/tmp/sonde-rig-XXXXXX");
    if (!mkdtemp(rig->directory))
        return false;
    snprintf(rig->path, sizeof rig->path, "%s/agent.sock", rig->directory);
    if (sonde_loop_create(&rig->loop) != 0 || sonde_timer_create(rig->loop, on_stop, rig->loop, &rig->stop) != 0)
        return false;
    struct sonde_queue_options options = {.size_max = queue_size, .released = on_released, .user = rig};
    const struct sonde_seams *seams = sonde_loop_seams(rig->loop);
    rig->ledger = calloc(1, sizeof *rig->ledger);
    if (!rig->ledger || sonde_queue_create(&options, seams, &rig->queue) != 0)
        return false;
    sonde_ledger_init(rig->ledger);
    if (cursor && sonde_queue_cursor_create(rig->queue, 7, &rig->cursor) != 0)
        return false;
    rig->log = sonde_queue_log(rig->queue);
    rig->ops = &sonde_receiver_services;
    rig->config =
        (struct sonde_services_config){.connections_per_uid_max = 64, .memory_per_uid_max = UINT64_C(4) << 30};
    static char mode[] = "0600";
    rig->config.socket_mode = mode;
    rig->env = (struct sonde_receiver_env){
        .loop = rig->loop, .seams = seams, .queue = rig->queue, .ledger = rig->ledger, .socket_path = rig->path};
    return receiver_make(rig);
}

bool rig_restart(struct receiver_rig *rig) {
    rig->ops->destroy(rig->receiver);
    rig->receiver = NULL;
    return receiver_make(rig);
}

void rig_stop(struct receiver_rig *rig) {
    if (rig->receiver)
        rig->ops->destroy(rig->receiver);
    rig->receiver = NULL;
    sonde_timer_destroy(rig->stop);
    sonde_queue_destroy(rig->queue);
    sonde_loop_destroy(rig->loop);
    free(rig->ledger);
    (void)unlink(rig->path); /* gone already when the receiver was */
    (void)rmdir(rig->directory);
}

void rig_run(struct receiver_rig *rig, unsigned ms) {
    const struct sonde_time *time = &sonde_loop_seams(rig->loop)->time;
    sonde_timer_set(rig->stop, time->monotonic_ns(time->self) + ms * UINT64_C(1000000));
    (void)sonde_loop_run(rig->loop);
}

bool rig_until(struct receiver_rig *rig, bool (*done)(void *user), void *user) {
    const struct sonde_time *time = &sonde_loop_seams(rig->loop)->time;
    uint64_t end = time->monotonic_ns(time->self) + UINT64_C(20000000000);
    while (!done(user)) {
        if (time->monotonic_ns(time->self) > end)
            return done(user);
        rig_run(rig, 2);
    }
    return true;
}

uint64_t rig_visit(struct receiver_rig *rig,
                   void (*visit)(void *user, const struct sonde_record_view *record, const uint8_t *body, size_t size),
                   void *user) {
    struct sonde_record_view record;
    uint64_t count = 0;
    while (rig->log.next(rig->log.self, rig->cursor, rig->seen, &record)) {
        const uint8_t *p = record.data.data, *end = p + record.data.size;
        uint64_t items = 0;
        while (p && p < end) {
            size_t size;
            if (*p != 0x12 || !(p = sonde__read_size(p + 1, end, &size)))
                break;
            visit(user, &record, p, size);
            p += size;
            items++;
        }
        if (p != end || items != record.count) {
            fprintf(stderr, "a record is not framed as it should be\n");
            abort();
        }
        count += items;
        rig->seen = record.sequence;
    }
    return count;
}

void rig_release(struct receiver_rig *rig) {
    rig->log.release(rig->log.self, rig->cursor, rig->seen);
}

struct view_state {
    unsigned count;
    struct sonde_peer_view view;
};
static void on_peer(void *user, const struct sonde_peer_view *peer) {
    struct view_state *state = user;
    if (state->count++ == 0)
        state->view = *peer;
}

bool rig_peer(struct receiver_rig *rig, struct sonde_peer_view *ret_view) {
    struct view_state state = {0};
    rig->ops->peers(rig->receiver, on_peer, &state);
    *ret_view = state.view;
    return state.count > 0;
}

unsigned rig_peer_count(struct receiver_rig *rig) {
    struct view_state state = {0};
    rig->ops->peers(rig->receiver, on_peer, &state);
    return state.count;
}
