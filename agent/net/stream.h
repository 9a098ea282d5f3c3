/* SPDX-License-Identifier: Apache-2.0 */
/* A connection that we make: TCP to a numeric address or a Unix socket, plain or TLS, on the loop. Never blocks. The caller
 * keeps the time: it destroys what takes too long. */
#ifndef SONDE_AGENT_NET_STREAM_H
#define SONDE_AGENT_NET_STREAM_H

#include "agent/loop/loop.h"
#include "exporters/http.h"

enum sonde__stream_end {
    SONDE__STREAM_REFUSED, /* no connection was made */
    SONDE__STREAM_CLOSED,  /* it ended */
    SONDE__STREAM_TLS,     /* the handshake failed: no trust, most often */
};

/** address, path, tls, server_name: kept until destroyed.
 *  address      numeric IPv4 or IPv6; ignored when there is a path
 *  tls          NULL = plain
 *  server_name  who the certificate must be for: a name or a numeric address
 *  opened       connected, and the handshake is done
 *  received     borrowed bytes, as they come
 *  ended        not for what sonde__stream_destroy() ends. text: borrowed.
 *  All from the loop, never from inside create; any of them may destroy the stream. */
struct sonde__stream_config {
    struct sonde_loop *loop;
    const char *address, *path;
    uint16_t port;
    const struct sonde_tls_options *tls;
    const char *server_name;
    void (*opened)(void *user);
    void (*received)(void *user, const char *data, size_t size);
    void (*ended)(void *user, enum sonde__stream_end end, const char *text);
    void *user;
};

struct sonde__stream;
/** Starts connecting. error_text: why not, where TLS files are of no use. Returns 0, -errno (the system's), SONDE_EINVALID
 *  (TLS settings, a path or address that cannot be), -ENOMEM. */
int sonde__stream_create(const struct sonde__stream_config *config, struct sonde__stream **ret_stream, char *error_text,
                         size_t error_text_size);
void sonde__stream_destroy(struct sonde__stream *stream); /* NULL is fine */
/** Sends bytes, in order; what the socket does not take is copied and waits. Returns 0, -ENOMEM, SONDE_EFULL (more than
 *  SONDE__STREAM_WAITING_MAX bytes would wait). */
#define SONDE__STREAM_WAITING_MAX (4u << 20)
int sonde__stream_send(struct sonde__stream *stream, const char *data, size_t size);

#endif
