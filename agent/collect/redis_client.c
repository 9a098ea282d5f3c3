/* SPDX-License-Identifier: Apache-2.0 */
/* The connection. States: closed -> resolving -> connecting -> greeting (AUTH, SELECT) -> ready -> closed.
 * Replies come in the order of the commands. A connection outlives the client's interest in it while a reply of it is being
 * called back: then its client is NULL. */
#include "agent/collect/redis_client.h"
#include "agent/net/stream.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <sonde/err.h>
#include <stdio.h>
#include <string.h>
#include <sys/queue.h>

enum {
    ADDRESSES_MAX = 4,     /* of one name; tried in order */
    ELEMENTS_MAX = 65536,  /* of all arrays in a reply: hiredis takes their memory before it has seen them */
    LINE_MAX_SIZE = 65536, /* of one that is not a bulk string; the longest are error texts */
    ADDRESS_TEXT_MAX = 64, /* INET6_ADDRSTRLEN, rounded up */
};

enum state { CLOSED, RESOLVING, CONNECTING, GREETING, READY };

/** What one sent command waits for. */
struct request {
    STAILQ_ENTRY(request) link;
    sonde__redis_reply_fn fn;
    void *user;
};
STAILQ_HEAD(requests, request);

/** One connection. */
struct wire {
    struct sonde__redis_client *client; /* NULL once the client has let go of it */
    const struct sonde_alloc *alloc;
    struct sonde__stream *stream;
    redisReader *reader;
    struct requests requests;
    bool in_reply;
    size_t elements_left; /* of the reply being read */
};

/** A name being resolved on the pool; outlives the client if need be. */
struct resolve_job {
    struct sonde__redis_client *client; /* loop thread only; NULL = nobody waits */
    const struct sonde_alloc *alloc;
    int error; /* EAI_* */
    unsigned count;
    char host[256];
    char addresses[ADDRESSES_MAX][ADDRESS_TEXT_MAX];
};

struct sonde__redis_client {
    struct sonde__redis_client_config config;
    const struct sonde_alloc *alloc;
    enum state state;
    struct sonde_timer *opener; /* so that nothing is called back from inside open */
    struct wire *wire;
    struct resolve_job *job;
    unsigned address_count, address_next;
    char addresses[ADDRESSES_MAX][ADDRESS_TEXT_MAX];
    unsigned greetings_due;
};

/* --- one connection --- */

static void wire_free(struct wire *wire) {
    if (wire->reader)
        redisReaderFree(wire->reader);
    sonde_alloc_free(wire->alloc, wire);
}

/** Ends the connection; what is due is called back with NULL. */
static void wire_close(struct sonde__redis_client *client) {
    struct wire *wire = client->wire;
    client->wire = NULL;
    if (!wire)
        return;
    wire->client = NULL;
    sonde__stream_destroy(wire->stream);
    wire->stream = NULL;
    for (struct request *request; (request = STAILQ_FIRST(&wire->requests)) != NULL;) {
        struct request copy = *request;
        STAILQ_REMOVE_HEAD(&wire->requests, link);
        sonde_alloc_free(wire->alloc, request);
        copy.fn(copy.user, NULL);
    }
    if (!wire->in_reply)
        wire_free(wire);
}

static void client_lost(struct sonde__redis_client *client, const char *trouble, const char *text) {
    char copy[256]; /* the text may be in what is about to be freed */
    (void)snprintf(copy, sizeof copy, "%s", text);
    client->state = CLOSED;
    wire_close(client);
    client->config.lost(client->config.user, trouble, copy);
}

/** What hiredis holds unparsed. Only a bulk string ('$') is long by right; a line without an end would also be searched
 *  from its start at each read. */
static bool reply_is_too_big(const redisReader *reader, size_t size_max) {
    bool bulk = reader->pos < reader->len && reader->buf[reader->pos] == '$';
    return reader->len > size_max || (!bulk && reader->len - reader->pos > LINE_MAX_SIZE);
}

#if HIREDIS_MAJOR >= 1
typedef size_t reply_count;
#else
typedef int reply_count;
#endif
static redisReplyObjectFunctions reply_functions; /* hiredis' own but for arrays; each time written the same */
static void *(*create_array)(const redisReadTask *task, reply_count elements);

static void *create_array_bounded(const redisReadTask *task, reply_count elements) {
    struct wire *wire = task->privdata;
    if (!task->parent)
        wire->elements_left = ELEMENTS_MAX;
    if (elements < 0 || (size_t)elements > wire->elements_left)
        return NULL;
    wire->elements_left -= (size_t)elements;
    return create_array(task, elements);
}

static int reader_create(struct wire *wire) {
    redisReader *reader = redisReaderCreate();
    if (!reader)
        return -ENOMEM;
    if (reader->fn->createArray != create_array_bounded) {
        create_array = reader->fn->createArray;
        reply_functions = *reader->fn;
        reply_functions.createArray = create_array_bounded;
    }
    reader->fn = &reply_functions;
    reader->privdata = wire;
    wire->reader = reader;
    return 0;
}

/* --- replies --- */

static void reader_failed(struct wire *wire) {
    bool large = wire->reader->err == REDIS_ERR_OOM;
    client_lost(wire->client, large ? SONDE__TROUBLE_TOO_BIG : SONDE__TROUBLE_PROTOCOL,
                large ? "a reply has too many elements" : wire->reader->errstr);
}

static void reply_take(struct wire *wire, redisReply *reply) {
    struct request *request = STAILQ_FIRST(&wire->requests), copy;
    if (!request) {
        client_lost(wire->client, SONDE__TROUBLE_PROTOCOL, "a reply to nothing");
        return;
    }
    copy = *request;
    STAILQ_REMOVE_HEAD(&wire->requests, link);
    sonde_alloc_free(wire->alloc, request);
    copy.fn(copy.user, reply);
}

static void on_received(void *user, const char *data, size_t size) {
    struct wire *wire = user;
    wire->in_reply = true;
    if (redisReaderFeed(wire->reader, data, size) != REDIS_OK)
        client_lost(wire->client, SONDE__TROUBLE_MEMORY, "out of memory");
    while (wire->client) {
        void *reply = NULL;
        if (redisReaderGetReply(wire->reader, &reply) != REDIS_OK)
            reader_failed(wire);
        else if (!reply)
            break;
        else
            reply_take(wire, reply);
        if (reply)
            freeReplyObject(reply);
    }
    if (wire->client && reply_is_too_big(wire->reader, wire->client->config.reply_size_max))
        client_lost(wire->client, SONDE__TROUBLE_TOO_BIG, "a reply is larger than reply_size_max");
    wire->in_reply = false;
    if (!wire->client)
        wire_free(wire);
}

/* --- connecting --- */

static void connect_next(struct sonde__redis_client *client);

static void greeted(void *user, const redisReply *reply) {
    struct sonde__redis_client *client = user;
    if (!reply || client->state != GREETING)
        return;
    if (reply->type == REDIS_REPLY_ERROR) {
        const char *trouble = sonde__redis_reply_trouble(reply);
        client_lost(client, trouble, reply->str);
    } else if (--client->greetings_due == 0) {
        client->state = READY;
        client->config.ready(client->config.user);
    }
}

/** A name in CLIENT LIST; a server that does not let us have it (an ACL) is fine, and what an unauthenticated
 *  connection cannot do shows at the first real command. Always sent, so that `ready` always comes from a reply. */
static void named(void *user, const redisReply *reply) {
    static const redisReply fine = {.type = REDIS_REPLY_STATUS};
    greeted(user, reply ? &fine : NULL);
}

static void greet(struct sonde__redis_client *client) {
    const char *username = client->config.username, *password = client->config.password;
    char database[16];
    (void)snprintf(database, sizeof database, "%d", client->config.database);
    client->state = GREETING;
    client->greetings_due = 1;
    /* A command that cannot be sent for want of memory leaves the count above 0: the caller's deadline ends it. */
    if (password && *password) {
        bool named_user = username && *username;
        const char *auth[3] = {"AUTH", named_user ? username : password, password};
        client->greetings_due++;
        (void)sonde__redis_client_send(client, greeted, client, named_user ? 3 : 2, auth, NULL);
    }
    if (client->config.database) {
        const char *select[2] = {"SELECT", database};
        client->greetings_due++;
        (void)sonde__redis_client_send(client, greeted, client, 2, select, NULL);
    }
    const char *name[3] = {"CLIENT", "SETNAME", "sonded"};
    (void)sonde__redis_client_send(client, named, client, 3, name, NULL);
}

static void on_opened(void *user) {
    const struct wire *wire = user;
    greet(wire->client);
}

static void on_ended(void *user, enum sonde__stream_end end, const char *text) {
    const struct wire *wire = user;
    struct sonde__redis_client *client = wire->client;
    if (end == SONDE__STREAM_REFUSED && client->address_next < client->address_count) {
        wire_close(client);
        connect_next(client);
        return;
    }
    client_lost(client,
                end == SONDE__STREAM_REFUSED ? SONDE__TROUBLE_CONNECT
                : end == SONDE__STREAM_TLS   ? SONDE__TROUBLE_TLS
                                             : SONDE__TROUBLE_CLOSED,
                text);
}

/** Begins a connection to an address, or the socket. */
static int connect_begin(struct sonde__redis_client *client, const char *address, char *text, size_t size) {
    const struct sonde__redis_client_config *config = &client->config;
    struct wire *wire = sonde_alloc_new(client->alloc, sizeof *wire);
    if (!wire)
        return -ENOMEM;
    *wire = (struct wire){.client = client, .alloc = client->alloc};
    STAILQ_INIT(&wire->requests);
    const struct sonde__stream_config stream = {.loop = config->loop,
                                                .address = address,
                                                .path = config->address->path,
                                                .port = config->address->port,
                                                .tls = config->tls,
                                                .server_name = config->address->host,
                                                .opened = on_opened,
                                                .received = on_received,
                                                .ended = on_ended,
                                                .user = wire};
    int error = reader_create(wire);
    if (!error)
        error = sonde__stream_create(&stream, &wire->stream, text, size);
    if (error)
        wire_free(wire);
    else
        client->wire = wire;
    return error;
}

static void connect_next(struct sonde__redis_client *client) {
    const char *trouble = SONDE__TROUBLE_CONNECT;
    char text[256] = "no address";
    client->state = CONNECTING;
    while (client->address_next < client->address_count) {
        text[0] = '\0';
        int error = connect_begin(client, client->addresses[client->address_next++], text, sizeof text);
        if (!error)
            return;
        if (client->config.tls && error == SONDE_EINVALID)
            trouble = SONDE__TROUBLE_TLS;
        if (!text[0])
            (void)snprintf(text, sizeof text, "%s", sonde_strerror(error));
    }
    client_lost(client, trouble, text);
}

/* --- resolving --- */

static void resolve_work(void *argument) {
    struct resolve_job *job = argument;
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG}, *found = NULL;
    job->error = getaddrinfo(job->host, NULL, &hints, &found);
    for (struct addrinfo *at = job->error ? NULL : found; at && job->count < ADDRESSES_MAX; at = at->ai_next)
        if (getnameinfo(at->ai_addr, at->ai_addrlen, job->addresses[job->count], ADDRESS_TEXT_MAX, NULL, 0,
                        NI_NUMERICHOST) == 0)
            job->count++;
    if (found)
        freeaddrinfo(found);
}

static void resolve_done(void *argument) {
    struct resolve_job *job = argument;
    struct sonde__redis_client *client = job->client;
    if (client) {
        client->job = NULL;
        memcpy(client->addresses, job->addresses, sizeof client->addresses);
        client->address_count = job->count;
        client->address_next = 0;
        if (job->count)
            connect_next(client);
        else
            client_lost(client, SONDE__TROUBLE_RESOLVE, job->error ? gai_strerror(job->error) : "no address");
    }
    sonde_alloc_free(job->alloc, job);
}

static int resolve_start(struct sonde__redis_client *client) {
    struct resolve_job *job = sonde_alloc_new(client->alloc, sizeof *job);
    if (!job)
        return -ENOMEM;
    *job = (struct resolve_job){.client = client, .alloc = client->alloc};
    memcpy(job->host, client->config.address->host, sizeof job->host);
    struct sonde_pool pool = sonde_loop_pool(client->config.loop);
    int error = pool.submit(pool.self, resolve_work, resolve_done, job);
    if (error)
        sonde_alloc_free(client->alloc, job);
    else
        client->job = job;
    return error;
}

static bool is_numeric(const char *host) {
    struct in6_addr any;
    return inet_pton(AF_INET, host, &any) == 1 || inet_pton(AF_INET6, host, &any) == 1;
}

/* --- the interface --- */

/** The first step, from the loop: what fails at once may call `lost`. */
static void open_now(void *user) {
    struct sonde__redis_client *client = user;
    const struct sonde__redis_address *address = client->config.address;
    client->address_next = 0;
    client->address_count = 1;
    if (address->path[0] || is_numeric(address->host)) {
        (void)snprintf(client->addresses[0], ADDRESS_TEXT_MAX, "%.*s", ADDRESS_TEXT_MAX - 1, address->host);
        connect_next(client);
        return;
    }
    int error = resolve_start(client);
    if (error)
        client_lost(client, SONDE__TROUBLE_RESOLVE, sonde_strerror(error));
}

int sonde__redis_client_create(const struct sonde__redis_client_config *config,
                               struct sonde__redis_client **ret_client) {
    const struct sonde_alloc *alloc = &sonde_loop_seams(config->loop)->alloc;
    struct sonde__redis_client *client = sonde_alloc_new(alloc, sizeof *client);
    if (!client)
        return -ENOMEM;
    *client = (struct sonde__redis_client){.config = *config, .alloc = alloc, .state = CLOSED};
    int error = sonde_timer_create(config->loop, open_now, client, &client->opener);
    if (error) {
        sonde_alloc_free(alloc, client);
        return error;
    }
    *ret_client = client;
    return 0;
}

void sonde__redis_client_destroy(struct sonde__redis_client *client) {
    if (!client)
        return;
    sonde__redis_client_close(client);
    sonde_timer_destroy(client->opener);
    sonde_alloc_free(client->alloc, client);
}

void sonde__redis_client_open(struct sonde__redis_client *client) {
    client->state = RESOLVING;
    sonde_timer_set(client->opener, 0);
}

void sonde__redis_client_close(struct sonde__redis_client *client) {
    client->state = CLOSED;
    sonde_timer_clear(client->opener);
    if (client->job)
        client->job->client = NULL; /* its result is nobody's */
    client->job = NULL;
    wire_close(client);
}

bool sonde__redis_client_is_ready(const struct sonde__redis_client *client) {
    return client->state == READY;
}

int sonde__redis_client_send(struct sonde__redis_client *client, sonde__redis_reply_fn fn, void *user, int argc,
                             const char *const *argv, const size_t *argvlen) {
    struct wire *wire = client->wire;
    char *command = NULL;
    if (!wire || client->state < GREETING)
        return -ENOTCONN;
    struct request *request = sonde_alloc_new(client->alloc, sizeof *request);
    if (!request)
        return -ENOMEM;
    *request = (struct request){.fn = fn, .user = user};
    int size = redisFormatCommandArgv(&command, argc, (const char **)(uintptr_t)argv, argvlen);
    int error = size < 0 ? -ENOMEM : sonde__stream_send(wire->stream, command, (size_t)size);
    if (size >= 0)
        redisFreeCommand(command);
    if (error)
        sonde_alloc_free(client->alloc, request);
    else
        STAILQ_INSERT_TAIL(&wire->requests, request, link);
    return error;
}
