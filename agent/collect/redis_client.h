/* SPDX-License-Identifier: Apache-2.0 */
/* One connection to a Redis server on the loop: our transport (plain or TLS), hiredis' reader and formatter. Never blocks:
 * names are resolved on the pool, the connection is made without waiting. The caller keeps the time: it closes what takes too
 * long. A server is not trusted: one reply may have so many bytes and elements and no more. */
#ifndef SONDE_AGENT_REDIS_CLIENT_H
#define SONDE_AGENT_REDIS_CLIENT_H

#include "agent/collect/poll.h"
#include <hiredis/hiredis.h>

/* Troubles of Redis, beside those of poll.h. */
#define SONDE__REDIS_LOADING     "loading"
#define SONDE__REDIS_WRONG_TYPE  "wrong_type"
#define SONDE__REDIS_LAG_UNKNOWN "lag_unknown"
#define SONDE__REDIS_MOVED       "moved" /* of a cluster: another node has it */

/** What an error reply means: NOAUTH, WRONGPASS and NOPERM are AUTH, and so on; else SERVER. */
const char *sonde__redis_reply_trouble(const redisReply *reply);

/** Where a server is. host or path is set. */
struct sonde__redis_address {
    char host[256]; /* name, IPv4 or IPv6 without brackets */
    char path[108]; /* of a unix socket */
    uint16_t port;
};
/** "host", "host:port", "[ipv6]:port", "unix:/path". Returns 0 or SONDE_EINVALID. */
int sonde__redis_address_parse(const char *text, struct sonde__redis_address *ret_address);

struct sonde__redis_client;

/** address, username, password (NULL or "" = none), user: kept until destroyed.
 *  ready  connected, authenticated, database selected: commands may be sent. From the loop.
 *  lost   the connection could not be made or broke; text says why and is borrowed. From the loop. Not called for what
 *         sonde__redis_client_close() ends. */
struct sonde__redis_client_config {
    struct sonde_loop *loop;
    const struct sonde__redis_address *address;
    const char *username, *password;
    int database;
    size_t reply_size_max;               /* bytes of one reply */
    const struct sonde_tls_options *tls; /* NULL = plain; kept */
    void (*ready)(void *user);
    void (*lost)(void *user, const char *trouble, const char *text);
    void *user;
};

int sonde__redis_client_create(const struct sonde__redis_client_config *config,
                               struct sonde__redis_client **ret_client);
void sonde__redis_client_destroy(struct sonde__redis_client *client); /* NULL is fine; not from its callbacks */

/** Starts connecting; ready or lost will be called. Only when closed. */
void sonde__redis_client_open(struct sonde__redis_client *client);
/** Ends the connection, or the attempt. Replies that are due are called back with NULL, from inside. */
void sonde__redis_client_close(struct sonde__redis_client *client);
bool sonde__redis_client_is_ready(const struct sonde__redis_client *client);

/** reply: borrowed during the call; NULL when the connection ended first. */
typedef void (*sonde__redis_reply_fn)(void *user, const redisReply *reply);
/** Sends a command; arguments are copied. Exactly one call of fn follows when 0 is returned.
 *  Returns 0, -ENOTCONN, -ENOMEM. */
int sonde__redis_client_send(struct sonde__redis_client *client, sonde__redis_reply_fn fn, void *user, int argc,
                             const char *const *argv, const size_t *argvlen);

#endif
