/* SPDX-License-Identifier: Apache-2.0 */
/* librdkafka's calls for groups wait for a thread of its own, thus they are made on one of ours; the loop reads what that
 * one found. Brokers count a session from when they got a heartbeat, we from when it was answered: a holder that is cut off
 * stops a round trip, not more, after its session ended. One that was itself stopped in between (SIGSTOP, a frozen machine)
 * knows by the clock that it has missed its session, before the library does. */
#include "agent/collect/lease_kafka.h"
#include <errno.h>
#include <librdkafka/rdkafka.h>
#include <pthread.h>
#include <signal.h>
#include <sonde/err.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NS_PER_MS      UINT64_C(1000000)
#define SESSION_MIN_MS UINT64_C(6000)
#define SESSION_MAX_MS UINT64_C(45000)
#define LOOK_MS        1000 /* the thread's, when nothing comes; below each session timeout */
#define LEAVE_NS       (2000 * NS_PER_MS)
/* The library tells a connection that fails again each 30 s, and never that it works again. */
#define CONNECTION_NS  (60000 * NS_PER_MS)

struct sonde__kafka_lease {
    const struct sonde_seams *seams;
    struct sonde__kafka_lease_name name;
    rd_kafka_t *handle;
    rd_kafka_queue_t *queue; /* the consumer's */
    uint64_t session_ns;
    pthread_t thread;
    bool started;
    atomic_bool stopping, held;
    _Atomic uint64_t looked_ns; /* when the thread came by last */
    pthread_mutex_t lock;
    char trouble[256];         /* under lock */
    uint64_t trouble_until_ns; /* under lock */
    char shown[256];           /* the loop's */
};

static uint64_t now_ns(const struct sonde__kafka_lease *lease) {
    const struct sonde_time *time = &lease->seams->time;
    return time->monotonic_ns(time->self);
}

/* --- what is wrong --- */

static void trouble_clear(struct sonde__kafka_lease *lease) {
    (void)pthread_mutex_lock(&lease->lock);
    lease->trouble[0] = '\0';
    (void)pthread_mutex_unlock(&lease->lock);
}

static void trouble_set(struct sonde__kafka_lease *lease, rd_kafka_resp_err_t error, const char *text) {
    bool connection = error == RD_KAFKA_RESP_ERR__TRANSPORT || error == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN;
    uint64_t now = now_ns(lease);
    (void)pthread_mutex_lock(&lease->lock);
    /* A password that is refused shows as a broken connection, too, and that as brokers that are all down. */
    bool vague = lease->trouble[0] && connection && lease->trouble_until_ns == UINT64_MAX;
    bool same = lease->trouble[0] && error == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN;
    if (error == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART)
        (void)snprintf(lease->trouble, sizeof lease->trouble,
                       "Kafka: topic \"%.100s\" does not exist; it must be made for the lease, with one partition",
                       lease->name.topic);
    else if (!vague && !same)
        (void)snprintf(lease->trouble, sizeof lease->trouble, "Kafka: %.200s", text ? text : rd_kafka_err2str(error));
    if (!vague)
        lease->trouble_until_ns = connection ? now + CONNECTION_NS : UINT64_MAX;
    (void)pthread_mutex_unlock(&lease->lock);
}

static void on_error(rd_kafka_t *handle, int code, const char *reason, void *opaque) {
    (void)handle;
    trouble_set(opaque, (rd_kafka_resp_err_t)code, reason);
}

/** Its log says what on_error() is told, and much else. */
static void on_log(const rd_kafka_t *handle, int level, const char *facility, const char *text) {
    (void)handle, (void)level, (void)facility, (void)text;
}

/* --- the group; on the thread --- */

static void settle(struct sonde__kafka_lease *lease, rd_kafka_error_t *error) {
    if (!error)
        return;
    trouble_set(lease, rd_kafka_error_code(error), rd_kafka_error_string(error));
    rd_kafka_error_destroy(error);
}

static void on_rebalance(rd_kafka_t *handle, rd_kafka_resp_err_t what, rd_kafka_topic_partition_list_t *list,
                         void *opaque) {
    struct sonde__kafka_lease *lease = opaque;
    bool first = rd_kafka_topic_partition_list_find(list, lease->name.topic, 0) != NULL;
    if (what != RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS) { /* revoked, or lost with the session */
        if (first || rd_kafka_assignment_lost(handle))
            atomic_store(&lease->held, false);
        settle(lease, rd_kafka_incremental_unassign(handle, list));
        return;
    }
    for (int i = 0; i < list->cnt; i++)
        list->elems[i].offset = RD_KAFKA_OFFSET_END; /* else committed offsets are asked for */
    (void)rd_kafka_pause_partitions(handle, list);   /* before the first fetch is sent */
    rd_kafka_error_t *error = rd_kafka_incremental_assign(handle, list);
    (void)rd_kafka_pause_partitions(handle, list);
    if (first && !error)
        atomic_store(&lease->held, true);
    if (!error)
        trouble_clear(lease);
    settle(lease, error);
}

static void join(struct sonde__kafka_lease *lease) {
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    (void)rd_kafka_topic_partition_list_add(list, lease->name.topic, RD_KAFKA_PARTITION_UA);
    rd_kafka_resp_err_t error = rd_kafka_subscribe(lease->handle, list);
    rd_kafka_topic_partition_list_destroy(list);
    if (error)
        trouble_set(lease, error, NULL);
}

static void leave(struct sonde__kafka_lease *lease) {
    uint64_t until = now_ns(lease) + LEAVE_NS;
    rd_kafka_queue_t *queue = rd_kafka_queue_new(lease->handle);
    rd_kafka_error_t *error = rd_kafka_consumer_close_queue(lease->handle, queue);
    while (!error && !rd_kafka_consumer_closed(lease->handle) && now_ns(lease) < until)
        (void)rd_kafka_queue_poll_callback(queue, 50);
    if (error)
        rd_kafka_error_destroy(error);
    rd_kafka_queue_destroy(queue);
}

static void *run(void *argument) {
    struct sonde__kafka_lease *lease = argument;
    join(lease);
    while (!atomic_load(&lease->stopping)) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(lease->handle, LOOK_MS);
        uint64_t now = now_ns(lease);
        if (now - atomic_load(&lease->looked_ns) >= lease->session_ns) { /* was stopped: another may have it */
            atomic_store(&lease->held, false);
            (void)rd_kafka_unsubscribe(lease->handle);
            join(lease);
        }
        atomic_store(&lease->looked_ns, now);
        if (message && message->err)
            trouble_set(lease, message->err, rd_kafka_message_errstr(message));
        if (message)
            rd_kafka_message_destroy(message);
    }
    atomic_store(&lease->held, false);
    leave(lease);
    return NULL;
}

/* --- its name --- */

int sonde__kafka_lease_parse(const char *name, struct sonde__kafka_lease_name *ret_name, char *error_text,
                             size_t error_text_size) {
    static const char host[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_:[],";
    const char *group = strchr(name, '/'), *topic = strrchr(name, '/');
    size_t brokers_size = group ? (size_t)(group - name) : 0;
    size_t group_size = topic > group ? (size_t)(topic - group) - 1 : 0;
    size_t topic_size = topic ? strlen(topic + 1) : 0;
    bool good = brokers_size > 0 && brokers_size < sizeof ret_name->brokers && strspn(name, host) == brokers_size &&
                name[0] != ',' && name[0] != ':' && group_size > 0 && group_size < sizeof ret_name->group &&
                topic_size > 0 && topic_size < sizeof ret_name->topic && strspn(topic + 1, host) == topic_size &&
                !strpbrk(topic + 1, ":[],") && strcmp(topic + 1, ".") != 0 && strcmp(topic + 1, "..") != 0;
    for (size_t i = 0; good && i < group_size; i++)
        good = (unsigned char)group[1 + i] >= ' ' && group[1 + i] != 0x7f;
    if (!good) {
        (void)snprintf(error_text, error_text_size,
                       "lease: \"kafka:%.80s\" is not accepted; use kafka:HOST:PORT[,HOST:PORT...]/GROUP/TOPIC", name);
        return SONDE_EINVALID;
    }
    (void)snprintf(ret_name->brokers, sizeof ret_name->brokers, "%.*s", (int)brokers_size, name);
    (void)snprintf(ret_name->group, sizeof ret_name->group, "%.*s", (int)group_size, group + 1);
    (void)snprintf(ret_name->topic, sizeof ret_name->topic, "%s", topic + 1);
    return 0;
}

/* --- life --- */

struct making {
    rd_kafka_conf_t *conf;
    char *text;
    size_t text_size;
    bool failed;
};

static void set(struct making *making, const char *prefix, const char *property, const char *value) {
    char text[256];
    if (making->failed || rd_kafka_conf_set(making->conf, property, value, text, sizeof text) == RD_KAFKA_CONF_OK)
        return;
    making->failed = true;
    (void)snprintf(making->text, making->text_size, "%s%s: %s", prefix, property, text);
}
static void set_ms(struct making *making, const char *property, uint64_t ms) {
    char text[24];
    (void)snprintf(text, sizeof text, "%llu", (unsigned long long)ms);
    set(making, "lease: ", property, text);
}

static uint64_t session_ms(const struct making *making) {
    char text[24] = "";
    size_t size = sizeof text;
    (void)rd_kafka_conf_get(making->conf, "session.timeout.ms", text, &size);
    return strtoull(text, NULL, 10);
}

static void set_given(struct making *making, const struct sonde_string_map *properties) {
    static const char *const ours[] = {"bootstrap.servers", "metadata.broker.list", "group.id", "enable.auto.commit",
                                       "partition.assignment.strategy"};
    for (size_t i = 0; properties && i < properties->count; i++) {
        for (size_t k = 0; k < sizeof ours / sizeof *ours && !making->failed; k++)
            if (strcmp(properties->keys[i], ours[k]) == 0) {
                making->failed = true;
                (void)snprintf(making->text, making->text_size, "lease_properties.%s: the lease sets it itself",
                               ours[k]);
            }
        set(making, "lease_properties.", properties->keys[i], properties->values[i]);
    }
}

static int handle_make(struct sonde__kafka_lease *lease, const struct sonde_string_map *properties,
                       uint64_t interval_ns, char *text, size_t text_size) {
    struct making making = {.conf = rd_kafka_conf_new(), .text = text, .text_size = text_size};
    uint64_t ms = interval_ns / NS_PER_MS * 3;
    ms = ms < SESSION_MIN_MS ? SESSION_MIN_MS : ms > SESSION_MAX_MS ? SESSION_MAX_MS : ms;
    set(&making, "lease: ", "bootstrap.servers", lease->name.brokers);
    set(&making, "lease: ", "group.id", lease->name.group);
    set(&making, "lease: ", "client.id", "sonde-lease");
    set(&making, "lease: ", "partition.assignment.strategy", "cooperative-sticky");
    set(&making, "lease: ", "enable.auto.commit", "false");
    set(&making, "lease: ", "reconnect.backoff.max.ms", "2000");
    set_ms(&making, "topic.metadata.refresh.interval.ms", 10000); /* a topic that is made is found then */
    set_ms(&making, "session.timeout.ms", ms);
    set_ms(&making, "heartbeat.interval.ms", ms / 3);
    set_given(&making, properties);
    ms = session_ms(&making);
    if (!making.failed && ms < 2 * LOOK_MS) {
        making.failed = true;
        (void)snprintf(text, text_size, "lease_properties.session.timeout.ms: at least %d", 2 * LOOK_MS);
    }
    lease->session_ns = ms * NS_PER_MS;
    rd_kafka_conf_set_opaque(making.conf, lease);
    rd_kafka_conf_set_log_cb(making.conf, on_log);
    rd_kafka_conf_set_error_cb(making.conf, on_error);
    rd_kafka_conf_set_rebalance_cb(making.conf, on_rebalance);
    if (!making.failed) {
        char why[160];
        lease->handle = rd_kafka_new(RD_KAFKA_CONSUMER, making.conf, why, sizeof why);
        if (lease->handle)
            return 0;
        (void)snprintf(text, text_size, "lease: %s", why);
    }
    rd_kafka_conf_destroy(making.conf);
    return SONDE_EINVALID;
}

static int thread_start(struct sonde__kafka_lease *lease) {
    sigset_t all, old;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &old);
    int error = pthread_create(&lease->thread, NULL, run, lease);
    (void)pthread_sigmask(SIG_SETMASK, &old, NULL);
    lease->started = !error;
    if (!error)
        (void)pthread_setname_np(lease->thread, "sonde-lease");
    return -error;
}

int sonde__kafka_lease_create(const char *name, const struct sonde_collector_env *env, uint64_t interval_ns,
                              struct sonde__kafka_lease **ret_lease, char *error_text, size_t error_text_size) {
    struct sonde__kafka_lease_name parsed;
    int error = sonde__kafka_lease_parse(name, &parsed, error_text, error_text_size);
    if (error)
        return error;
    struct sonde__kafka_lease *lease = sonde_alloc_new(&env->seams->alloc, sizeof *lease);
    if (!lease)
        return -ENOMEM;
    *lease = (struct sonde__kafka_lease){.seams = env->seams, .name = parsed};
    (void)pthread_mutex_init(&lease->lock, NULL);
    atomic_store(&lease->looked_ns, now_ns(lease));
    error = handle_make(lease, env->lease_properties, interval_ns, error_text, error_text_size);
    if (!error) {
        (void)rd_kafka_poll_set_consumer(lease->handle);
        lease->queue = rd_kafka_queue_get_consumer(lease->handle);
        error = thread_start(lease);
    }
    if (error)
        sonde__kafka_lease_destroy(lease);
    else
        *ret_lease = lease;
    return error;
}

void sonde__kafka_lease_destroy(struct sonde__kafka_lease *lease) {
    if (!lease)
        return;
    if (lease->started) {
        atomic_store(&lease->stopping, true);
        rd_kafka_queue_yield(lease->queue);
        (void)pthread_join(lease->thread, NULL);
    }
    if (lease->queue)
        rd_kafka_queue_destroy(lease->queue);
    if (lease->handle)
        rd_kafka_destroy_flags(lease->handle, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
    (void)pthread_mutex_destroy(&lease->lock);
    sonde_alloc_free(&lease->seams->alloc, lease);
}

bool sonde__kafka_lease_hold(struct sonde__kafka_lease *lease, const char **ret_trouble) {
    uint64_t looked = atomic_load(&lease->looked_ns); /* before the clock: it is not later */
    uint64_t now = now_ns(lease);
    (void)pthread_mutex_lock(&lease->lock);
    bool lasts = lease->trouble[0] && now < lease->trouble_until_ns;
    memcpy(lease->shown, lease->trouble, sizeof lease->shown);
    (void)pthread_mutex_unlock(&lease->lock);
    *ret_trouble = lasts ? lease->shown : NULL;
    return atomic_load(&lease->held) && now - looked < lease->session_ns;
}
