/* SPDX-License-Identifier: Apache-2.0 */
/* TLS for a client, over memory: it never sees a socket. Cipher text goes in by take and comes out by give. */
#ifndef SONDE_AGENT_NET_TLS_H
#define SONDE_AGENT_NET_TLS_H

#include "exporters/http.h"
#include "exporters/seam.h"
#include <stdbool.h>

struct sonde__tls;
/** server_name: who the certificate must be for: a name or a numeric address; copied. options: used here only.
 *  Returns 0, SONDE_EINVALID (error_text: which file is of no use), -ENOMEM. */
int sonde__tls_create(const struct sonde_tls_options *options, const char *server_name, const struct sonde_alloc *alloc,
                      struct sonde__tls **ret_tls, char *error_text, size_t error_text_size);
void sonde__tls_destroy(struct sonde__tls *tls); /* NULL is fine */

/** Goes on with the handshake. Returns 1 when it is done, 0 when more must come in, SONDE_EINVALID: it failed. */
int sonde__tls_shake(struct sonde__tls *tls);
/** Cipher text that came in. Returns 0, -ENOMEM. */
int sonde__tls_take(struct sonde__tls *tls, const char *data, size_t size);
/** Cipher text to send: up to size bytes; returns how many. */
size_t sonde__tls_give(struct sonde__tls *tls, char *data, size_t size);
/** Plain text that came in: returns how many bytes, 0 = none now, SONDE_EINVALID = it is broken or ended. */
int sonde__tls_read(struct sonde__tls *tls, char *data, int size);
/** Plain text to send; after the handshake. Returns 0, -ENOMEM. */
int sonde__tls_write(struct sonde__tls *tls, const char *data, size_t size);
/** What is wrong, for people. */
void sonde__tls_problem(struct sonde__tls *tls, char *text, size_t size);

#endif
