/* SPDX-License-Identifier: Apache-2.0 */
/* The receiver `services`: see services.h. This file: configuration, socket, control page, the turn. */
#include "agent/receive/services.h"
#include "agent/log.h"
#include "agent/receive/listen.h"
#include <errno.h>
#include <fcntl.h>
#include <sonde/err.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define IDLE_TURNS 50u /* 5 s without a record: buffers go back */

static const struct sonde_option options[] = {
    {.key = "socket_mode",
     .type = SONDE_OPTION_STRING,
     .offset = offsetof(struct sonde_services_config, socket_mode),
     .default_text = "0666",
     .sentence = "Permissions of the socket, octal; who can write to it can send telemetry."},
    {.key = "allow_uids",
     .type = SONDE_OPTION_STRING_LIST,
     .offset = offsetof(struct sonde_services_config, allow_uids),
     .default_text = "",
     .sentence = "Numeric user ids whose processes are accepted; empty = all that the socket's permissions let in."},
    {.key = "connections_per_uid_max",
     .type = SONDE_OPTION_INT,
     .offset = offsetof(struct sonde_services_config, connections_per_uid_max),
     .min = 1,
     .max = 8192,
     .default_text = "1024",
     .sentence = "Processes of one user at the same time; one more is refused."},
    {.key = "memory_per_uid_max",
     .type = SONDE_OPTION_SIZE,
     .offset = offsetof(struct sonde_services_config, memory_per_uid_max),
     .min = 64.0 * 1024 * 1024,
     .max = 16.0 * 1024 * 1024 * 1024 * 1024,
     .default_text = "64GiB",
     .sentence = "Address space (sparse, mostly untouched) that processes of one user may hand over, in bytes."},
    SONDE_OPTION_END,
};

uint64_t sonde__services_now(const struct sonde__services *services) {
    const struct sonde_time *time = &services->env.seams->time;
    return time->monotonic_ns(time->self);
}

void sonde__services_wake(struct sonde__services *services, uint64_t monotonic_ns) {
    if (monotonic_ns >= services->timer_ns)
        return;
    services->timer_ns = monotonic_ns;
    sonde_timer_set(services->timer, monotonic_ns);
}

void sonde__services_pause_listener(struct sonde__services *services) {
    services->listener_paused = sonde_watch_change(services->listener_watch, 0) == 0;
}

bool sonde__services_uid_allowed(const struct sonde__services *services, uint32_t uid) {
    const struct sonde_string_list *list = &services->config->allow_uids;
    char text[16];
    snprintf(text, sizeof text, "%u", uid);
    for (size_t i = 0; i < list->count; i++) {
        if (strcmp(list->items[i], text) == 0)
            return true;
    }
    return list->count == 0;
}

/* The sleep word: odd while the loop sleeps, each sleep its own number. A producer that sees it odd rings once. */
static void before_sleep(void *user) {
    struct sonde__services *services = user;
    uint64_t now = atomic_load_explicit(&services->control->sleep_sequence, memory_order_relaxed);
    if (now % 2 == 0)
        atomic_store_explicit(&services->control->sleep_sequence, now + 1, memory_order_seq_cst);
}
static void after_sleep(void *user) {
    struct sonde__services *services = user;
    uint64_t now = atomic_load_explicit(&services->control->sleep_sequence, memory_order_relaxed);
    if (now % 2 == 1)
        atomic_store_explicit(&services->control->sleep_sequence, now + 1, memory_order_seq_cst);
}

/* Our memfd, mapped here before the seal that makes it read-only to whoever gets the descriptor. */
static int control_create(struct sonde__services *services) {
    int fd = memfd_create("sonde-control", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return -errno;
    services->control_fd = fd;
    if (ftruncate(fd, SONDE__CONTROL_SIZE) != 0)
        return -errno;
    void *page = mmap(NULL, SONDE__CONTROL_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (page == MAP_FAILED)
        return -errno;
    services->control = page;
    if (fcntl(fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE | F_SEAL_SHRINK | F_SEAL_GROW) != 0 ||
        fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL) != 0)
        return -errno;
    const struct sonde_time *time = &services->env.seams->time;
    services->control->layout_major = SONDE__LAYOUT_MAJOR;
    services->control->layout_minor = SONDE__LAYOUT_MINOR;
    atomic_store(&services->control->start_unix_ns, time->unix_ns(time->self));
    if (services->env.steering && services->env.steering->count)
        sonde_steering_publish(services->env.steering, services->control);
    atomic_store_explicit(&services->control->magic, SONDE__MAGIC, memory_order_release);
    return 0;
}

/* One peer's part of a turn. Returns true when it has more. */
static bool peer_turn(struct sonde__peer *peer) {
    if (peer->state != SONDE__PEER_ALIVE) {
        (void)sonde__peer_bury(peer); /* not done: it asked for another turn, or the queue is full */
        return false;
    }
    if (peer->bells > 0) {
        peer->bells = 0;
        if (peer->bell_watch)
            (void)sonde_watch_change(peer->bell_watch, SONDE_WATCH_READ);
    }
    sonde__peer_scan(peer, false);
    bool more = sonde__peer_drain(peer);
    sonde__peer_release(peer);
    sonde__peer_drops(peer);
    sonde__peer_series_look(peer);
    sonde__connection_answer_flush(peer);
    if (peer->violated) {
        sonde__peer_evict(peer);
        return false;
    }
    return !peer->held_back && (more || peer->flush_count > 0);
}

static uint64_t records_taken(const struct sonde__services *services) {
    uint64_t sum = 0;
    for (int i = 0; i < SONDE_SIGNAL_COUNT; i++)
        sum += services->env.ledger->intake[i].received;
    return sum;
}

/* Buffers go back when nothing came for a while: an idle agent is small. */
static void idle_look(struct sonde__services *services, bool idle) {
    services->idle_turns = idle && !services->blocked ? services->idle_turns + 1 : 0;
    if (services->idle_turns != IDLE_TURNS)
        return;
    sonde_alloc_free(&services->env.seams->alloc, services->chunk);
    services->chunk = NULL;
    sonde__intake_deinit(&services->batch);
}

static void turn(void *user) {
    struct sonde__services *services = user;
    uint64_t now = sonde__services_now(services), before = records_taken(services);
    services->timer_ns = UINT64_MAX;
    if (services->stopped)
        return;
    bool more = false;
    if (services->blocked)
        (void)sonde__intake_flush(services); /* still full: next turn */
    for (struct sonde__peer *peer = services->peers, *next; peer; peer = next) {
        next = peer->next;
        more |= peer_turn(peer);
    }
    sonde__connections_sweep(services, false);
    if (services->listener_paused && sonde_watch_change(services->listener_watch, SONDE_WATCH_READ) == 0)
        services->listener_paused = false;
    idle_look(services, records_taken(services) == before);
    /* With nobody left it still turns until its buffers went. */
    if (services->peers || services->connections || services->listener_paused || services->chunk)
        sonde__services_wake(services, more && !services->blocked ? now : now + SONDE__POLL_NS);
}

static void on_listener(void *user, int events) {
    (void)events;
    sonde__connection_accept(user);
}

static void destroy(void *self) {
    struct sonde__services *services = self;
    if (!services)
        return;
    while (services->peers)
        sonde__peer_destroy(services->peers);
    if (services->timer)
        sonde__connections_sweep(services, true);
    sonde_loop_on_sleep(services->env.loop, NULL, NULL, NULL);
    sonde_watch_destroy(services->listener_watch);
    sonde__listen_close(services->listener, services->path, services->inode);
    sonde_timer_destroy(services->timer);
    if (services->control)
        munmap(services->control, SONDE__CONTROL_SIZE);
    if (services->control_fd >= 0)
        close(services->control_fd);
    sonde__intake_deinit(&services->batch);
    sonde_alloc_free(&services->env.seams->alloc, services->chunk);
    sonde_alloc_free(&services->env.seams->alloc, services);
}

static int start(struct sonde__services *services, char *error_text, size_t error_text_size) {
    struct sonde_loop *loop = services->env.loop;
    int result = control_create(services);
    if (result == 0)
        result = sonde_timer_create(loop, turn, services, &services->timer);
    if (result != 0) {
        snprintf(error_text, error_text_size, "The control page cannot be made: %s.", sonde_strerror(result));
        return result;
    }
    snprintf(services->path, sizeof services->path, "%s", services->env.socket_path);
    result = sonde__listen(services->env.socket_path, services->config->socket_mode, &services->inode,
                           &services->listener, error_text, error_text_size);
    if (result != 0)
        return result;
    sonde_loop_on_sleep(loop, before_sleep, after_sleep, services);
    return sonde_watch_create(loop, services->listener, SONDE_WATCH_READ, on_listener, services,
                              &services->listener_watch);
}

static int check_uids(const struct sonde_string_list *list, char *error_text, size_t error_text_size) {
    for (size_t i = 0; i < list->count; i++) {
        const char *text = list->items[i];
        if (*text && strspn(text, "0123456789") == strlen(text) && strlen(text) <= 10)
            continue;
        snprintf(error_text, error_text_size, "allow_uids: \"%s\" is not a numeric user id.", text);
        return SONDE_EINVALID;
    }
    return 0;
}

static int create(const void *config, const struct sonde_receiver_env *env, void **ret_self, char *error_text,
                  size_t error_text_size) {
    const struct sonde_services_config *c = config;
    int result = check_uids(&c->allow_uids, error_text, error_text_size);
    if (result != 0)
        return result;
    struct sonde__services *services = sonde_alloc_new(&env->seams->alloc, sizeof *services);
    if (!services) {
        snprintf(error_text, error_text_size, "Out of memory.");
        return -ENOMEM;
    }
    memset(services, 0, sizeof *services);
    services->env = *env;
    services->config = c;
    services->listener = services->control_fd = -1;
    services->timer_ns = UINT64_MAX;
    sonde__intake_init(&services->batch, &env->seams->alloc);
    result = start(services, error_text, error_text_size);
    if (result != 0) {
        destroy(services);
        return result;
    }
    sonde_agent_log(SONDE_LOG_INFO, "Listening for services", "socket=%s", sonde_agent_log_quote(services->path));
    *ret_self = services;
    return 0;
}

/* May be called from inside an append of our own: nothing is appended here. */
static void released(void *self, uint64_t sequence) {
    struct sonde__services *services = self;
    (void)sequence;
    bool waits = services->blocked;
    for (struct sonde__peer *peer = services->peers; peer; peer = peer->next) {
        sonde__peer_release(peer);
        waits |= peer->held_back;
    }
    if (waits)
        sonde__services_wake(services, 0);
}

static void drain(void *self) {
    struct sonde__services *services = self;
    if (services->blocked)
        (void)sonde__intake_flush(services); /* still full: nothing can be taken in */
    for (struct sonde__peer *peer = services->peers, *next; peer; peer = next) {
        next = peer->next;
        if (peer->state != SONDE__PEER_ALIVE) {
            (void)sonde__peer_bury(peer); /* what it cannot finish now stays in its memory */
            continue;
        }
        sonde__peer_drain_all(peer);
        sonde__peer_drops(peer);
        sonde__connection_answer_flush(peer);
    }
}

/* What the rings still hold stays there: the next agent finds it, and what is delivered until then is let go. */
static void stop(void *self) {
    struct sonde__services *services = self;
    services->stopped = true;
    (void)sonde_watch_change(services->listener_watch, 0);
}

static void view(const struct sonde__peer *peer, struct sonde_peer_view *ret_view) {
    *ret_view = (struct sonde_peer_view){.pid = peer->pid,
                                         .uid = peer->uid,
                                         .connected = peer->connection != NULL,
                                         .alive = peer->state == SONDE__PEER_ALIVE,
                                         .dropped = peer->dropped,
                                         .violations = peer->violations};
    memcpy(ret_view->service_name, peer->service_name, sizeof ret_view->service_name);
    memcpy(ret_view->records, peer->records, sizeof ret_view->records);
    for (uint32_t i = 0; i < SONDE__THREAD_MEMORIES_MAX; i++) {
        const struct sonde__peer_memory *memory = peer->threads[i];
        for (uint32_t r = 0; memory && r < SONDE__REGIONS_PER_MEMORY; r++) {
            const struct sonde__ring_reader *reader = &memory->rings[r].reader;
            if (!memory->rings[r].in_use)
                continue;
            uint32_t state = atomic_load_explicit(&reader->region->state, memory_order_relaxed);
            ret_view->threads += state == SONDE__REGION_ATTACHED;
            uint64_t held = reader->read - reader->tail + sonde__ring_pending(reader);
            if (held >= ret_view->ring_bytes) {
                ret_view->ring_bytes = held < reader->size ? held : reader->size;
                ret_view->ring_bytes_max = reader->size;
            }
        }
    }
}

static void peers(void *self, void (*visit)(void *user, const struct sonde_peer_view *peer), void *user) {
    struct sonde__services *services = self;
    for (const struct sonde__peer *peer = services->peers; peer; peer = peer->next) {
        struct sonde_peer_view peer_view;
        view(peer, &peer_view);
        visit(user, &peer_view);
    }
}

const struct sonde_receiver_ops sonde_receiver_services = {
    .name = "services",
    .summary = "processes that link libsonde, through shared memory",
    .config_size = sizeof(struct sonde_services_config),
    .options = options,
    .create = create,
    .released = released,
    .drain = drain,
    .stop = stop,
    .pull = sonde__services_pull,
    .pulling = sonde__services_pulling,
    .pull_end = sonde__services_pull_end,
    .peers = peers,
    .destroy = destroy,
};
