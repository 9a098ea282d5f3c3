/* SPDX-License-Identifier: Apache-2.0 */
/* A process that hands over memory: from HELLO until its last bytes are in the queue.
 *
 *   ALIVE -> DEAD       its pidfd says so (or, where there is none, its socket), or another program runs in its place
 *   DEAD -> RECOVERED   rings are read to the end and open spans closed
 *   RECOVERED -> gone   the queue has all of it
 *   ALIVE -> gone       evicted */
#include "agent/log.h"
#include "agent/receive/services.h"
#include "instrumentation/wire/skim.h"
#include "instrumentation/wire/validate.h"
#include "instrumentation/wire/writer.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

/* The kernel tells how a process ended once its parent has reaped it: normally at once. */
#define EXIT_WAIT_NS        UINT64_C(250000000)
#define EXIT_LOOK_NS        UINT64_C(10000000)
#define EVICTED_NS          UINT64_C(60000000000) /* one fresh start a minute */
#define BELLS_MAX           100u                  /* per turn; the library rings once per sleep */
#define DESCRIPTOR_SIZE_MAX (16u << 10)

static void service_name_read(struct sonde__peer *peer, const uint8_t *resource, size_t size) {
    struct sonde__skim_keys keys;
    struct sonde__value values[SONDE__SKIM_KEYS_MAX];
    sonde__skim_keys_init(&keys);
    int name = sonde__skim_keys_add(&keys, "service.name");
    if (name < 0 || !sonde__attributes_skim(resource, size, 1, &keys, values) ||
        values[name].type != SONDE__VALUE_STRING)
        return;
    size_t length = values[name].size < sizeof peer->service_name ? values[name].size : sizeof peer->service_name - 1;
    memcpy(peer->service_name, values[name].data, length);
}

static void on_pidfd(void *user, int events) {
    (void)events;
    struct sonde__peer *peer = user;
    if (!sonde__pidfd_is_dead(peer->pidfd))
        return;
    if (peer->connection)
        sonde__connection_read_rest(peer->connection);
    sonde__peer_dead(peer, false);
}

static int watch_process(struct sonde__peer *peer, const struct sonde__connection *connection) {
    struct sonde_loop *loop = peer->services->env.loop;
    peer->pidfd = sonde__peer_pidfd(connection->fd, connection->pid);
    if (peer->pidfd < 0)
        return 0; /* its socket has to do */
    return sonde_watch_create(loop, peer->pidfd, SONDE_WATCH_READ, on_pidfd, peer, &peer->pidfd_watch);
}

int sonde__peer_create(struct sonde__services *services, const struct sonde__hello *hello, const uint8_t *resource,
                       const struct sonde__connection *connection, struct sonde__peer **ret_peer) {
    struct sonde__peer *peer = sonde_alloc_new(&services->env.seams->alloc, sizeof *peer);
    if (!peer)
        return -ENOMEM;
    memset(peer, 0, sizeof *peer);
    peer->services = services;
    peer->pidfd = peer->bell = -1;
    peer->pid = connection->pid;
    peer->uid = connection->uid;
    memcpy(peer->process_id, hello->process_id, sizeof peer->process_id);
    service_name_read(peer, resource, hello->resource_size);
    peer->next = services->peers;
    services->peers = peer;
    services->peer_count++;
    struct sonde_bytes bytes = {resource, hello->resource_size};
    int result = sonde_queue_resource(services->env.queue, bytes, peer->uid, &peer->resource_id);
    if (result == 0)
        result = sonde__peer_series_add(peer, bytes);
    if (result == 0)
        result = watch_process(peer, connection);
    if (result != 0) {
        sonde__peer_destroy(peer);
        return result;
    }
    *ret_peer = peer;
    return 0;
}

/* What the batch holds of a peer that is thrown out while the queue is full. */
static void batch_abandon(struct sonde__services *services) {
    struct sonde__intake *batch = &services->batch;
    for (uint32_t i = 0; i < batch->run_count; i++) {
        const struct sonde__run *run = &batch->runs[i];
        if (!run->appended && run->count)
            sonde_ledger_dropped(services->env.ledger, (enum sonde_signal)run->signal, SONDE_INTAKE_EVICTED,
                                 run->count);
    }
    sonde__intake_reset(batch);
    services->batch_peer = NULL;
    services->blocked = false;
}

static void unlink_peer(struct sonde__peer *peer) {
    struct sonde__peer **place = &peer->services->peers;
    while (*place && *place != peer)
        place = &(*place)->next;
    if (*place) {
        *place = peer->next;
        peer->services->peer_count--;
    }
}

static void tell_gone(const struct sonde__peer *peer) {
    const struct sonde_receiver_env *env = &peer->services->env;
    if (!env->peer_gone || (peer->state == SONDE__PEER_ALIVE && !peer->pidfd_watch)) /* it never was one of us */
        return;
    struct sonde_peer_view last = {
        .pid = peer->pid, .uid = peer->uid, .dropped = peer->dropped, .violations = peer->violations};
    memcpy(last.service_name, peer->service_name, sizeof last.service_name);
    memcpy(last.records, peer->records, sizeof last.records);
    env->peer_gone(env->peer_gone_user, &last);
}

void sonde__peer_destroy(struct sonde__peer *peer) {
    struct sonde__services *services = peer->services;
    unlink_peer(peer);
    tell_gone(peer);
    if (services->batch_peer == peer)
        batch_abandon(services);
    sonde__peer_pull_forget(peer);
    if (peer->connection) {
        peer->connection->peer = NULL;
        sonde__connection_close(peer->connection);
    }
    sonde_watch_destroy(peer->pidfd_watch);
    sonde__peer_bell_set(peer, -1);
    if (peer->pidfd >= 0)
        close(peer->pidfd);
    sonde__peer_series_remove(peer);
    sonde__peer_memory_destroy(peer, peer->process);
    for (uint32_t i = 0; i < SONDE__THREAD_MEMORIES_MAX; i++)
        sonde__peer_memory_destroy(peer, peer->threads[i]);
    for (uint32_t i = 0; i < SONDE_SCOPES_MAX; i++) {
        if (peer->scope_ids[i])
            sonde_queue_scope_unref(services->env.queue, peer->scope_ids[i]);
    }
    if (peer->resource_id)
        sonde_queue_resource_unref(services->env.queue, peer->resource_id);
    sonde_alloc_free(&services->env.seams->alloc, peer);
}

void sonde__peer_violation(struct sonde__peer *peer, const char *what) {
    peer->violations++;
    if (peer->violations <= SONDE__VIOLATIONS_MAX) /* a flood of them says no more */
        sonde_agent_log(SONDE_LOG_WARN, "A service broke the shared memory rules, passing over what it wrote",
                        "rule=\"%s\" service=%s pid=%u uid=%u violations=%llu", what,
                        sonde_agent_log_quote(peer->service_name), peer->pid, peer->uid,
                        (unsigned long long)peer->violations);
    if (peer->violations >= SONDE__VIOLATIONS_MAX && !peer->violated) {
        peer->violated = true;
        sonde__services_wake(peer->services, 0);
    }
}

void sonde__peer_evict(struct sonde__peer *peer) {
    struct sonde__services *services = peer->services;
    sonde_agent_log(SONDE_LOG_WARN, "Evicting a service after three violations, its records are lost for a minute",
                    "service=%s pid=%u uid=%u", sonde_agent_log_quote(peer->service_name), peer->pid, peer->uid);
    struct sonde__evicted *evicted = &services->evicted[services->evicted_next++ % SONDE__EVICTED_MAX];
    *evicted = (struct sonde__evicted){
        .pid = peer->pid, .uid = peer->uid, .until_ns = sonde__services_now(services) + EVICTED_NS};
    memcpy(evicted->process_id, peer->process_id, sizeof evicted->process_id);
    services->env.ledger->evictions++;
    sonde__peer_count_left(peer);
    if (peer->connection) {
        struct sonde__memory_message message = {.message = {SONDE__EVICTED, SONDE__PROTOCOL_VERSION, sizeof message},
                                                .reason = SONDE__REFUSED_VIOLATION};
        sonde__connection_send(peer->connection, &message, sizeof message, -1);
    }
    sonde__peer_destroy(peer);
}

static void on_bell(void *user, int events) {
    (void)events;
    struct sonde__peer *peer = user;
    uint64_t count;
    struct iovec part = {&count, sizeof count};
    /* Not read(): the other side may have emptied it, and made it blocking. */
    ssize_t got = preadv2(peer->bell, &part, 1, -1, RWF_NOWAIT);
    if ((got < 0 && errno != EAGAIN && errno != EINTR) || ++peer->bells > BELLS_MAX)
        (void)sonde_watch_change(peer->bell_watch, 0); /* until the next turn */
    if (peer->state != SONDE__PEER_ALIVE || peer->violated)
        return;
    sonde__peer_scan(peer, false);
    if (sonde__peer_drain(peer))
        sonde__services_wake(peer->services, 0);
    sonde__connection_answer_flush(peer);
}

/* A doorbell is an eventfd and nothing else: any other file could stall whoever reads it. */
static bool is_eventfd(int fd) {
    char path[64], target[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    ssize_t size = readlink(path, target, sizeof target - 1);
    if (size <= 0)
        return false;
    target[size] = 0;
    return strcmp(target, "anon_inode:[eventfd]") == 0;
}

void sonde__peer_bell_set(struct sonde__peer *peer, int fd) {
    sonde_watch_destroy(peer->bell_watch);
    peer->bell_watch = NULL;
    if (peer->bell >= 0)
        close(peer->bell);
    peer->bell = -1;
    if (fd < 0)
        return;
    if (!is_eventfd(fd)) {
        close(fd);
        sonde__peer_violation(peer, "a doorbell that is not an eventfd");
        return;
    }
    peer->bell = fd;
    if (sonde_watch_create(peer->services->env.loop, fd, SONDE_WATCH_READ, on_bell, peer, &peer->bell_watch) != 0)
        peer->bell_watch = NULL; /* looked at every 100 ms all the same */
}

void sonde__peer_dead(struct sonde__peer *peer, bool unfinished) {
    if (peer->state != SONDE__PEER_ALIVE)
        return;
    const struct sonde_time *time = &peer->services->env.seams->time;
    peer->state = SONDE__PEER_DEAD;
    peer->unfinished = unfinished;
    peer->dead_unix_ns = time->unix_ns(time->self);
    peer->dead_monotonic_ns = sonde__services_now(peer->services);
    sonde_watch_destroy(peer->pidfd_watch); /* readable from now on */
    peer->pidfd_watch = NULL;
    sonde__peer_bell_set(peer, -1);
    if (peer->connection)
        sonde__connection_close(peer->connection);
    sonde__services_wake(peer->services, 0);
}

/* How the process ended, as far as anybody tells: the kernel, else its own word. Returns false to look again later. */
static bool exit_find(struct sonde__peer *peer) {
    if (peer->how_known || peer->unfinished) {
        peer->how.kind = peer->how_known ? peer->how.kind : SONDE__EXIT_CLEAN;
        return true;
    }
    peer->how = sonde__exit_read(peer->pidfd, peer->pid);
    uint64_t now = sonde__services_now(peer->services);
    peer->how_known =
        peer->how.kind != SONDE__EXIT_UNKNOWN || peer->pidfd < 0 || now - peer->dead_monotonic_ns >= EXIT_WAIT_NS;
    if (!peer->how_known) {
        sonde__services_wake(peer->services, now + EXIT_LOOK_NS);
        return false;
    }
    const struct sonde__process *process = peer->process ? peer->process->pages : NULL;
    if (peer->how.kind == SONDE__EXIT_UNKNOWN && process &&
        atomic_load_explicit(&process->exit_state, memory_order_acquire) == SONDE__EXITED_CLEANLY)
        peer->how.kind = SONDE__EXIT_CLEAN;
    return true;
}

bool sonde__peer_bury(struct sonde__peer *peer) {
    struct sonde__services *services = peer->services;
    if (peer->state == SONDE__PEER_DEAD) {
        sonde__peer_drain_all(peer);
        if (services->blocked || (!peer->violated && !sonde__peer_reached(peer)) || !exit_find(peer))
            return false;
        if (!peer->violated && !sonde__peer_recover(peer))
            return false;
        sonde__peer_drops(peer);
        peer->state = SONDE__PEER_RECOVERED;
    }
    if (services->batch_peer == peer && sonde__intake_flush(services) != 0)
        return false;
    sonde__peer_destroy(peer);
    return true;
}

/* One record of the descriptor log at `at`. Returns its size, 0 when it cannot be. */
static uint64_t descriptor_take(struct sonde__peer *peer, uint64_t at, uint64_t head) {
    struct sonde__descriptor d;
    uint8_t bytes[DESCRIPTOR_SIZE_MAX];
    int fd = peer->process->fd;
    if (head - at < sizeof d || pread(fd, &d, sizeof d, (off_t)(SONDE__DESCRIPTORS_AT + at)) != (ssize_t)sizeof d)
        return 0;
    if (d.size % 8 || d.size < sizeof d || d.size > head - at || d.body_size > d.size - sizeof d ||
        d.extra_size > d.size - sizeof d - d.body_size)
        return 0;
    if (d.type != SONDE__DESCRIPTOR_SCOPE || d.index >= SONDE_SCOPES_MAX || peer->scope_ids[d.index])
        return d.size; /* instruments and series are read by series/ */
    size_t size = (size_t)d.body_size + d.extra_size;
    if (size > sizeof bytes ||
        pread(fd, bytes, size, (off_t)(SONDE__DESCRIPTORS_AT + at + sizeof d)) != (ssize_t)size ||
        !sonde__scope_is_valid(bytes, d.body_size) || !sonde__utf8_is_valid(bytes + d.body_size, d.extra_size))
        return 0;
    struct sonde_bytes scope = {bytes, d.body_size}, schema_url = {bytes + d.body_size, d.extra_size};
    if (sonde_queue_scope(peer->services->env.queue, scope, schema_url, &peer->scope_ids[d.index]) != 0)
        peer->scope_ids[d.index] = 0; /* out of memory: the default scope stands in */
    return d.size;
}

static void descriptors_read(struct sonde__peer *peer) {
    const struct sonde__process *process = peer->process->pages;
    uint64_t head = atomic_load_explicit(&process->descriptors_head, memory_order_acquire);
    if (head > SONDE__DESCRIPTORS_SIZE || head < peer->descriptors_read) {
        sonde__peer_violation(peer, "a descriptor log that cannot be");
        return;
    }
    while (peer->descriptors_read < head) {
        uint64_t size = descriptor_take(peer, peer->descriptors_read, head);
        if (size == 0) {
            peer->descriptors_read = head;
            sonde__peer_violation(peer, "a descriptor that cannot be");
            return;
        }
        peer->descriptors_read += size;
    }
}

uint32_t sonde__peer_scope(struct sonde__peer *peer, uint32_t scope) {
    if (scope < SONDE_SCOPES_MAX && peer->scope_ids[scope])
        return peer->scope_ids[scope];
    if (peer->process)
        descriptors_read(peer);
    if (scope < SONDE_SCOPES_MAX && peer->scope_ids[scope])
        return peer->scope_ids[scope];
    if (!peer->scope_ids[0] && sonde_queue_scope(peer->services->env.queue, (struct sonde_bytes){NULL, 0},
                                                 (struct sonde_bytes){NULL, 0}, &peer->scope_ids[0]) != 0)
        return 0;
    return peer->scope_ids[0];
}

static void drops_add(struct sonde__peer *peer, const struct sonde__drops *drops, struct sonde__drops *published,
                      uint64_t taken[SONDE__SIGNALS][SONDE__DROP_REASONS]) {
    uint64_t fresh[SONDE__SIGNALS][SONDE__DROP_REASONS];
    if (sonde__drops_take(drops, taken, fresh) != 0)
        sonde__peer_violation(peer, "a drop counter that cannot be");
    for (unsigned i = 0; i < SONDE__SIGNALS; i++) {
        for (unsigned j = 0; j < SONDE__DROP_REASONS; j++) {
            if (!fresh[i][j])
                continue;
            enum sonde_intake_drop reason =
                j < SONDE_DROP_REASON_COUNT ? (enum sonde_intake_drop)j : SONDE_INTAKE_RING_FULL;
            sonde_ledger_dropped(peer->services->env.ledger, (enum sonde_signal)i, reason, fresh[i][j]);
            peer->dropped += fresh[i][j];
            atomic_store_explicit(&published->count[i][j], taken[i][j], memory_order_relaxed);
        }
    }
}

void sonde__peer_drops(struct sonde__peer *peer) {
    if (peer->process) {
        struct sonde__process *process = peer->process->pages;
        drops_add(peer, &process->drops, &process->taken, peer->process_drops_taken);
    }
    for (uint32_t i = 0; i < SONDE__THREAD_MEMORIES_MAX; i++) {
        struct sonde__peer_memory *memory = peer->threads[i];
        for (uint32_t r = 0; memory && r < SONDE__REGIONS_PER_MEMORY; r++) {
            if (memory->rings[r].in_use)
                drops_add(peer, &sonde__region_of(memory, r)->drops, &sonde__region_of(memory, r)->taken,
                          memory->rings[r].drops_taken);
        }
    }
}
