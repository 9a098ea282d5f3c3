/* SPDX-License-Identifier: Apache-2.0 */
/* The connection. States: closed -> resolving -> connecting -> greeting (AUTH, SELECT) -> ready -> closed.
 * hiredis owns the socket and calls the hooks of a `wire`, which turns them into a watch on the loop. A wire outlives
 * the client's interest in it where hiredis frees late (a close from inside a callback): then its client is NULL. */
#include "agent/collect/redis_client.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <hiredis/async.h>
#include <netdb.h>
#include <sonde/err.h>
#include <stdio.h>
#include <string.h>

enum {
    ADDRESSES_MAX = 4,     /* of one name; tried in order */
    ELEMENTS_MAX = 65536,  /* of all arrays in a reply: hiredis takes their memory before it has seen them */
    LINE_MAX_SIZE = 65536, /* of one that is not a bulk string; the longest are error texts */
    ADDRESS_TEXT_MAX = 64, /* INET6_ADDRSTRLEN, rounded up */
};

enum state { CLOSED, RESOLVING, CONNECTING, GREETING, READY };

/** One hiredis connection. */
struct wire {
    struct sonde__redis_client *client; /* NULL once the client has let go of it */
    redisAsyncContext *async;           /* NULL once hiredis has */
    const struct sonde_alloc *alloc;
    struct sonde_watch *watch;
    int events;
    bool in_watch;
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

/** What one sent command waits for. */
struct request {
    const struct sonde_alloc *alloc;
    sonde__redis_reply_fn fn;
    void *user;
};

/* --- one wire: hiredis' hooks and the watch --- */

/** Frees the wire when nobody holds it: not the client, not hiredis, not on_watch() further up the stack. */
static void wire_release(struct wire *wire) {
    if (!wire->client && !wire->async && !wire->in_watch)
        sonde_alloc_free(wire->alloc, wire);
}
static void wire_watch(struct wire *wire, int events) {
    wire->events = events;
    if (wire->watch)
        (void)sonde_watch_change(wire->watch, events); /* what cannot be watched ends by the caller's deadline */
}
static void hook_add_read(void *data) {
    struct wire *wire = data;
    wire_watch(wire, wire->events | SONDE_WATCH_READ);
}
static void hook_del_read(void *data) {
    struct wire *wire = data;
    wire_watch(wire, wire->events & ~SONDE_WATCH_READ);
}
static void hook_add_write(void *data) {
    struct wire *wire = data;
    wire_watch(wire, wire->events | SONDE_WATCH_WRITE);
}
static void hook_del_write(void *data) {
    struct wire *wire = data;
    wire_watch(wire, wire->events & ~SONDE_WATCH_WRITE);
}
/** hiredis is about to close the socket and to free the context. */
static void hook_cleanup(void *data) {
    struct wire *wire = data;
    sonde_watch_destroy(wire->watch);
    wire->watch = NULL;
    wire->async = NULL;
    wire_release(wire);
}

/** The client lets go of its wire, which hiredis itself is about to free. */
static void wire_detach(struct sonde__redis_client *client) {
    struct wire *wire = client->wire;
    client->wire = NULL;
    if (!wire)
        return;
    wire->client = NULL;
    wire_release(wire);
}
/** Ends the wire. hiredis frees its part now or, from inside a reply callback, when that returns. Not from
 * on_connect(), which hiredis calls without that care. */
static void wire_close(struct sonde__redis_client *client) {
    redisAsyncContext *async = client->wire ? client->wire->async : NULL;
    if (async)
        async->data = NULL; /* on_disconnect() is called after the wire is gone */
    wire_detach(client);
    if (async)
        redisAsyncFree(async);
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

static void on_watch(void *user, int events) {
    struct wire *wire = user;
    wire->in_watch = true;
    if (wire->async && (events & SONDE_WATCH_READ))
        redisAsyncHandleRead(wire->async);
    if (wire->async && wire->client && reply_is_too_big(wire->async->c.reader, wire->client->config.reply_size_max))
        client_lost(wire->client, SONDE__TROUBLE_TOO_BIG, "a reply is larger than reply_size_max");
    if (wire->async && (events & SONDE_WATCH_WRITE))
        redisAsyncHandleWrite(wire->async);
    wire->in_watch = false;
    wire_release(wire);
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

static void bound_replies(struct wire *wire) {
    redisReader *reader = wire->async->c.reader;
    if (reader->fn->createArray != create_array_bounded) {
        create_array = reader->fn->createArray;
        reply_functions = *reader->fn;
        reply_functions.createArray = create_array_bounded;
    }
    reader->fn = &reply_functions;
    reader->privdata = wire;
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

static void on_connect(const redisAsyncContext *async, int status) {
    struct wire *wire = async->data;
    struct sonde__redis_client *client = wire ? wire->client : NULL;
    if (!client)
        return;
    if (status == REDIS_OK) {
        greet(client);
        return;
    }
    char text[256];
    (void)snprintf(text, sizeof text, "%s", async->c.errstr);
    wire_detach(client); /* hiredis frees the connection when this returns */
    if (client->address_next < client->address_count) {
        connect_next(client);
        return;
    }
    client_lost(client, SONDE__TROUBLE_CONNECT, text);
}

static void on_disconnect(const redisAsyncContext *async, int status) {
    struct wire *wire = async->data;
    (void)status;
    if (!wire || !wire->client)
        return; /* our own doing */
    const char *trouble = SONDE__TROUBLE_CLOSED;
    const char *text = async->c.errstr;
    if (async->c.err == REDIS_ERR_PROTOCOL)
        trouble = SONDE__TROUBLE_PROTOCOL;
    if (async->c.err == REDIS_ERR_OOM) {
        trouble = SONDE__TROUBLE_TOO_BIG;
        text = "a reply has too many elements";
    }
    client_lost(wire->client, trouble, text);
}

/** Hooks and watch for a connection that hiredis has begun. Returns 0, -ENOMEM or the watch's error. */
static int wire_create(struct sonde__redis_client *client, redisAsyncContext *async) {
    struct wire *wire = sonde_alloc_new(client->alloc, sizeof *wire);
    if (!wire)
        return -ENOMEM;
    *wire = (struct wire){.client = client, .alloc = client->alloc, .async = async};
    (void)fcntl(async->c.fd, F_SETFD, FD_CLOEXEC);
    int error = sonde_watch_create(client->config.loop, async->c.fd, 0, on_watch, wire, &wire->watch);
    if (error) {
        sonde_alloc_free(client->alloc, wire);
        return error;
    }
    async->data = async->ev.data = wire;
    async->ev.addRead = hook_add_read;
    async->ev.delRead = hook_del_read;
    async->ev.addWrite = hook_add_write;
    async->ev.delWrite = hook_del_write;
    async->ev.cleanup = hook_cleanup;
    bound_replies(wire);
    client->wire = wire;
    return 0;
}

/** Begins a connection to an address, or the socket. Returns NULL (no memory), or a context whose err may be set. */
static redisAsyncContext *connect_begin(const struct sonde__redis_client *client) {
    const struct sonde__redis_address *address = client->config.address;
    return address->path[0] ? redisAsyncConnectUnix(address->path)
                            : redisAsyncConnect(client->addresses[client->address_next], address->port);
}

static void connect_next(struct sonde__redis_client *client) {
    char text[256] = "no address";
    client->state = CONNECTING;
    while (client->address_next < client->address_count) {
        redisAsyncContext *async = connect_begin(client);
        client->address_next++;
        if (!async) {
            (void)snprintf(text, sizeof text, "out of memory");
            continue;
        }
        int error = async->err ? 0 : wire_create(client, async);
        if (!async->err && !error) {
            (void)redisAsyncSetConnectCallback(async, on_connect);
            (void)redisAsyncSetDisconnectCallback(async, on_disconnect);
            return;
        }
        (void)snprintf(text, sizeof text, "%s", async->err ? async->errstr : sonde_strerror(error));
        redisAsyncFree(async);
    }
    client_lost(client, SONDE__TROUBLE_CONNECT, text);
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

static void on_reply(redisAsyncContext *async, void *reply, void *data) {
    struct request *request = data;
    struct request copy = *request;
    (void)async;
    sonde_alloc_free(copy.alloc, request);
    copy.fn(copy.user, reply);
}

int sonde__redis_client_send(struct sonde__redis_client *client, sonde__redis_reply_fn fn, void *user, int argc,
                             const char *const *argv, const size_t *argvlen) {
    if (!client->wire || !client->wire->async)
        return -ENOTCONN;
    struct request *request = sonde_alloc_new(client->alloc, sizeof *request);
    if (!request)
        return -ENOMEM;
    *request = (struct request){client->alloc, fn, user};
    if (redisAsyncCommandArgv(client->wire->async, on_reply, request, argc, (const char **)(uintptr_t)argv, argvlen) ==
        REDIS_OK)
        return 0;
    sonde_alloc_free(client->alloc, request);
    return -ENOMEM;
}
