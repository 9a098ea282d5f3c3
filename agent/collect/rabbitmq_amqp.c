/* SPDX-License-Identifier: Apache-2.0 */
/* AMQP 0-9-1, for brokers that have neither the management API nor the Prometheus endpoint: Queue.Declare with `passive`
 * answers how many messages and consumers a queue has, and never makes one. A queue that is missing, or another's
 * exclusive one, closes the channel; the next is opened. librabbitmq blocks, so this runs on a thread; each of its calls
 * has a time-out, and the whole job the poll's.
 * Source: AMQP 0-9-1, queue.declare; rabbitmq.com/docs/specification. */
#include "agent/collect/rabbitmq.h"
#include "agent/collect/worker.h"
#include <amqp.h>
#include <amqp_ssl_socket.h>
#include <amqp_tcp_socket.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>

#define FRAME_SIZE_MAX  131072
#define REPLY_NOT_FOUND 404
#define REPLY_FORBIDDEN 403
#define CHANNELS_MAX    2047u

struct answer {
    size_t vhost, queue;
    int64_t messages, consumers; /* messages < 0: it has none for us, and status says why */
    uint16_t status;
};

struct sonde__rabbitmq_amqp {
    struct sonde__rabbitmq *rabbitmq;
    struct sonde__worker *worker;
    bool wanted; /* the poll waits for what the job finds */
    /* the job's, while it runs */
    struct sonde__endpoint endpoint;
    uint64_t deadline_ns;
    struct answer *answers; /* owned */
    size_t count;
    const char *trouble; /* NULL = every vhost answered */
    char text[256], cluster[SONDE__RABBITMQ_NAME_SIZE_MAX];
};

static size_t vhost_count(const struct sonde__rabbitmq_config *config) {
    return config->vhosts.count ? config->vhosts.count : 1;
}
static const char *vhost_at(const struct sonde__rabbitmq_config *config, size_t index) {
    return config->vhosts.count ? config->vhosts.items[index] : "/";
}

/* --- on the thread --- */

struct job {
    struct sonde__rabbitmq_amqp *amqp;
    const struct sonde__worker *worker;
    amqp_connection_state_t connection;
    amqp_channel_t channel; /* that is open; 0 = none */
    unsigned opened;
};

static bool left(const struct job *job, struct timeval *ret_left) {
    const struct sonde_time *time = &job->amqp->rabbitmq->env.seams->time;
    uint64_t now_ns = time->monotonic_ns(time->self), deadline_ns = job->amqp->deadline_ns;
    if (now_ns >= deadline_ns || sonde__worker_is_cancelled(job->worker))
        return false;
    uint64_t left_us = (deadline_ns - now_ns) / 1000 + 1;
    *ret_left = (struct timeval){(time_t)(left_us / 1000000), (suseconds_t)(left_us % 1000000)};
    return true;
}

static bool give_up(struct job *job, const char *trouble, const char *text) {
    struct sonde__rabbitmq_amqp *amqp = job->amqp;
    if (!amqp->trouble) {
        amqp->trouble = trouble;
        (void)snprintf(amqp->text, sizeof amqp->text, "%s", text);
    }
    return false;
}

static const char *trouble_of_status(int status) {
    switch (status) {
    case AMQP_STATUS_TIMEOUT:
        return SONDE__TROUBLE_TIMEOUT;
    case AMQP_STATUS_HOSTNAME_RESOLUTION_FAILED:
        return SONDE__TROUBLE_RESOLVE;
    case AMQP_STATUS_CONNECTION_CLOSED:
    case AMQP_STATUS_SOCKET_CLOSED:
        return SONDE__TROUBLE_CLOSED;
    case AMQP_STATUS_SSL_ERROR:
    case AMQP_STATUS_SSL_HOSTNAME_VERIFY_FAILED:
    case AMQP_STATUS_SSL_PEER_VERIFY_FAILED:
    case AMQP_STATUS_SSL_CONNECTION_FAILED:
        return SONDE__TROUBLE_TLS;
    case AMQP_STATUS_NO_MEMORY:
        return SONDE__TROUBLE_MEMORY;
    case AMQP_STATUS_SOCKET_ERROR:
    case AMQP_STATUS_TCP_ERROR:
        return SONDE__TROUBLE_CONNECT;
    default:
        return SONDE__TROUBLE_PROTOCOL;
    }
}

/** What the broker said when it closed the connection or the channel; 0 = it closed neither. */
static uint16_t close_code(amqp_rpc_reply_t reply, char *ret_text, size_t size) {
    uint16_t code = 0;
    amqp_bytes_t text = {0, (void *)(uintptr_t) ""};
    if (reply.reply_type != AMQP_RESPONSE_SERVER_EXCEPTION)
        return 0;
    if (reply.reply.id == AMQP_CONNECTION_CLOSE_METHOD) {
        const amqp_connection_close_t *method = reply.reply.decoded;
        code = method->reply_code;
        text = method->reply_text;
    } else if (reply.reply.id == AMQP_CHANNEL_CLOSE_METHOD) {
        const amqp_channel_close_t *method = reply.reply.decoded;
        code = method->reply_code;
        text = method->reply_text;
    }
    (void)snprintf(ret_text, size, "%u %.*s", code, (int)(text.len < 200 ? text.len : 200), (const char *)text.bytes);
    return code;
}

/** Whether the reply is good; else the job has its trouble. */
static bool replied(struct job *job, amqp_rpc_reply_t reply) {
    char text[256];
    if (reply.reply_type == AMQP_RESPONSE_NORMAL)
        return true;
    if (reply.reply_type == AMQP_RESPONSE_LIBRARY_EXCEPTION)
        return give_up(job, trouble_of_status(reply.library_error), amqp_error_string2(reply.library_error));
    uint16_t code = close_code(reply, text, sizeof text);
    return give_up(job, code == REPLY_FORBIDDEN ? SONDE__TROUBLE_AUTH : SONDE__TROUBLE_SERVER,
                   code ? text : "no answer");
}

static amqp_socket_t *socket_new(struct job *job) {
    const struct sonde__rabbitmq_config *config = job->amqp->rabbitmq->config;
    if (!job->amqp->endpoint.tls)
        return amqp_tcp_socket_new(job->connection);
    amqp_socket_t *socket = amqp_ssl_socket_new(job->connection);
    int status = socket ? AMQP_STATUS_OK : AMQP_STATUS_NO_MEMORY;
    if (!status && *config->ca_file)
        status = amqp_ssl_socket_set_cacert(socket, config->ca_file);
    if (!status && *config->cert_file)
        status = amqp_ssl_socket_set_key(socket, config->cert_file, config->key_file);
    if (status) {
        (void)give_up(job, SONDE__TROUBLE_TLS, "tls.ca_file, tls.cert_file or tls.key_file cannot be used");
        return NULL;
    }
    amqp_ssl_socket_set_verify_peer(socket, !config->insecure_skip_verify);
    amqp_ssl_socket_set_verify_hostname(socket, !config->insecure_skip_verify);
    return socket;
}

/** What the broker calls its cluster. */
static void cluster_take(struct job *job) {
    static const char wanted[] = "cluster_name";
    const amqp_table_t *properties = amqp_get_server_properties(job->connection);
    for (int i = 0; i < properties->num_entries; i++) {
        const amqp_table_entry_t *entry = &properties->entries[i];
        if (entry->key.len != sizeof wanted - 1 || memcmp(entry->key.bytes, wanted, entry->key.len) != 0 ||
            entry->value.kind != AMQP_FIELD_KIND_UTF8)
            continue;
        amqp_bytes_t name = entry->value.value.bytes;
        size_t size = name.len < SONDE__RABBITMQ_NAME_SIZE_MAX ? name.len : SONDE__RABBITMQ_NAME_SIZE_MAX - 1;
        memcpy(job->amqp->cluster, name.bytes, size);
        job->amqp->cluster[size] = '\0';
    }
}

static bool login(struct job *job, const char *vhost) {
    const struct sonde__rabbitmq_config *config = job->amqp->rabbitmq->config;
    const struct sonde__endpoint *endpoint = &job->amqp->endpoint;
    struct timeval time;
    job->connection = amqp_new_connection();
    amqp_socket_t *socket = job->connection ? socket_new(job) : NULL;
    if (!socket)
        return give_up(job, SONDE__TROUBLE_MEMORY, "out of memory");
    if (!left(job, &time))
        return give_up(job, SONDE__TROUBLE_TIMEOUT, "not all answers within the timeout");
    int status = amqp_socket_open_noblock(socket, endpoint->host, endpoint->port, &time);
    if (status)
        return give_up(job, trouble_of_status(status), amqp_error_string2(status));
    if (!left(job, &time))
        return give_up(job, SONDE__TROUBLE_TIMEOUT, "not all answers within the timeout");
    (void)amqp_set_handshake_timeout(job->connection, &time);
    amqp_rpc_reply_t reply = amqp_login(job->connection, vhost, CHANNELS_MAX, FRAME_SIZE_MAX, 0, AMQP_SASL_METHOD_PLAIN,
                                        config->username, config->password);
    /* A broker that refuses a password closes the connection without a word (RabbitMQ: to whom does not ask for one). */
    if (reply.reply_type == AMQP_RESPONSE_LIBRARY_EXCEPTION &&
        (reply.library_error == AMQP_STATUS_CONNECTION_CLOSED || reply.library_error == AMQP_STATUS_SOCKET_ERROR))
        return give_up(job, SONDE__TROUBLE_AUTH, "the broker ended the login: a wrong user, password or vhost");
    bool good = replied(job, reply);
    if (good)
        cluster_take(job);
    return good;
}

static bool channel_open(struct job *job) {
    struct timeval time;
    if (job->channel)
        return true;
    if (!left(job, &time))
        return give_up(job, SONDE__TROUBLE_TIMEOUT, "not all answers within the timeout");
    (void)amqp_set_rpc_timeout(job->connection, &time);
    amqp_channel_t next = (amqp_channel_t)(job->opened++ % CHANNELS_MAX + 1);
    (void)amqp_channel_open(job->connection, next);
    if (!replied(job, amqp_get_rpc_reply(job->connection)))
        return false;
    job->channel = next;
    return true;
}

/** One queue. False: the connection is of no more use. */
static bool declare(struct job *job, const char *queue, struct answer *answer) {
    struct timeval time;
    char text[256];
    if (!channel_open(job))
        return false;
    if (!left(job, &time))
        return give_up(job, SONDE__TROUBLE_TIMEOUT, "not all answers within the timeout");
    (void)amqp_set_rpc_timeout(job->connection, &time);
    const amqp_queue_declare_ok_t *ok = amqp_queue_declare(job->connection, job->channel, amqp_cstring_bytes(queue),
                                                           true, false, false, false, amqp_empty_table);
    if (ok) {
        answer->messages = ok->message_count;
        answer->consumers = ok->consumer_count;
        amqp_maybe_release_buffers(job->connection);
        return true;
    }
    amqp_rpc_reply_t reply = amqp_get_rpc_reply(job->connection);
    if (reply.reply_type != AMQP_RESPONSE_SERVER_EXCEPTION || reply.reply.id != AMQP_CHANNEL_CLOSE_METHOD)
        return replied(job, reply);
    answer->status = close_code(reply, text, sizeof text);
    amqp_channel_close_ok_t close_ok;
    (void)amqp_send_method(job->connection, job->channel, AMQP_CHANNEL_CLOSE_OK_METHOD, &close_ok);
    job->channel = 0;
    return true;
}

static void vhost_ask(struct job *job, size_t vhost) {
    const struct sonde__rabbitmq_config *config = job->amqp->rabbitmq->config;
    job->connection = NULL;
    job->channel = 0;
    job->opened = 0;
    bool good = login(job, vhost_at(config, vhost));
    for (size_t i = 0; good && i < config->queues.count; i++) {
        struct answer *answer = &job->amqp->answers[job->amqp->count];
        *answer = (struct answer){.vhost = vhost, .queue = i, .messages = -1, .consumers = -1};
        good = declare(job, config->queues.items[i], answer);
        job->amqp->count += good;
    }
    struct timeval time;
    if (good && left(job, &time)) {
        (void)amqp_set_rpc_timeout(job->connection, &time);
        (void)amqp_connection_close(job->connection, AMQP_REPLY_SUCCESS);
    }
    if (job->connection)
        (void)amqp_destroy_connection(job->connection);
}

static void run(void *user, const struct sonde__worker *worker) {
    struct sonde__rabbitmq_amqp *amqp = user;
    struct job job = {.amqp = amqp, .worker = worker};
    amqp->count = 0;
    amqp->trouble = NULL;
    for (size_t i = 0; !amqp->trouble && i < vhost_count(amqp->rabbitmq->config); i++)
        vhost_ask(&job, i);
}

/* --- on the loop --- */

static void answer_take(struct sonde__rabbitmq *rabbitmq, const struct answer *answer) {
    const struct sonde__rabbitmq_config *config = rabbitmq->config;
    const char *name = config->queues.items[answer->queue];
    if (answer->messages < 0) {
        sonde__poll_note(rabbitmq->poll, answer->status == REPLY_NOT_FOUND ? SONDE__TROUBLE_NOT_FOUND : "refused",
                         name);
        return;
    }
    struct sonde__rabbitmq_queue *row =
        sonde__rabbitmq_queue_at(&rabbitmq->queues, vhost_at(config, answer->vhost), name);
    if (!row)
        return;
    sonde__rabbitmq_queue_seen(&rabbitmq->queues, row);
    row->ready = answer->messages;
    row->details.consumers = answer->consumers;
}

static void on_done(void *user) {
    struct sonde__rabbitmq_amqp *amqp = user;
    struct sonde__rabbitmq *rabbitmq = amqp->rabbitmq;
    if (!amqp->wanted)
        return;
    amqp->wanted = false;
    if (amqp->trouble) {
        sonde__rabbitmq_failed(rabbitmq, amqp->trouble, amqp->text);
        return;
    }
    sonde__rabbitmq_cluster(rabbitmq, amqp->cluster);
    for (size_t i = 0; i < amqp->count; i++)
        answer_take(rabbitmq, &amqp->answers[i]);
    sonde__rabbitmq_answered(rabbitmq);
}

void sonde__rabbitmq_amqp_start(struct sonde__rabbitmq *rabbitmq) {
    struct sonde__rabbitmq_amqp *amqp = rabbitmq->amqp;
    if (sonde__worker_is_busy(amqp->worker)) { /* with a poll that was given up */
        sonde__poll_fail(rabbitmq->poll, SONDE__TROUBLE_TIMEOUT, "the last poll has not come to its end");
        return;
    }
    amqp->endpoint = rabbitmq->endpoints[SONDE__RABBITMQ_AMQP][rabbitmq->address];
    amqp->deadline_ns = rabbitmq->rest.deadline_ns;
    amqp->wanted = true;
    (void)sonde__worker_run(amqp->worker); /* it is not busy */
}

void sonde__rabbitmq_amqp_stop(struct sonde__rabbitmq *rabbitmq) {
    if (!rabbitmq->amqp)
        return;
    rabbitmq->amqp->wanted = false;
    sonde__worker_cancel(rabbitmq->amqp->worker);
}

int sonde__rabbitmq_amqp_create(struct sonde__rabbitmq *rabbitmq, struct sonde__rabbitmq_amqp **ret_amqp) {
    const struct sonde_alloc *alloc = &rabbitmq->env.seams->alloc;
    size_t count = vhost_count(rabbitmq->config) * rabbitmq->config->queues.count;
    struct sonde__rabbitmq_amqp *amqp = sonde_alloc_new(alloc, sizeof *amqp);
    if (!amqp)
        return -ENOMEM;
    *amqp = (struct sonde__rabbitmq_amqp){.rabbitmq = rabbitmq};
    amqp->answers = sonde_alloc_new(alloc, count * sizeof *amqp->answers);
    struct sonde__worker_config config = {
        .loop = rabbitmq->env.loop, .alloc = alloc, .name = "rabbitmq", .job = run, .done = on_done, .user = amqp};
    int error = amqp->answers ? sonde__worker_create(&config, &amqp->worker) : -ENOMEM;
    if (error) {
        sonde__rabbitmq_amqp_destroy(amqp);
        return error;
    }
    *ret_amqp = amqp;
    return 0;
}

void sonde__rabbitmq_amqp_destroy(struct sonde__rabbitmq_amqp *amqp) {
    if (!amqp)
        return;
    const struct sonde_alloc *alloc = &amqp->rabbitmq->env.seams->alloc;
    sonde__worker_destroy(amqp->worker);
    sonde_alloc_free(alloc, amqp->answers);
    sonde_alloc_free(alloc, amqp);
}
