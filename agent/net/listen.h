/* SPDX-License-Identifier: Apache-2.0 */
/* "HOST:PORT" texts: listening sockets, and who a Host header may name. */
#ifndef SONDE_AGENT_LISTEN_H
#define SONDE_AGENT_LISTEN_H

#include "exporters/option.h"
#include <sys/socket.h>

/** Reads "127.0.0.1:80", "[::1]:80", "localhost:80" (numeric addresses only; no look-ups).
 *  Returns 0, SONDE_EINVALID. */
int sonde__listen_parse(const char *text, struct sockaddr_storage *ret_address, socklen_t *ret_size);
bool sonde__address_is_loopback(const struct sockaddr_storage *address);
/** Opens a listening TCP socket, non-blocking. ret_fd: owned. Returns 0 or -errno. */
int sonde__listen_open(const struct sockaddr_storage *address, socklen_t size, int *ret_fd);
/** "127.0.0.1:80" of a bound socket. */
void sonde__address_format(int fd, char *text, size_t text_size);

/** Whether a Host header (with or without port) may be answered: localhost, loopback addresses and those allowed; with
 *  any_address any numeric address as well (a name is what DNS rebinding needs). */
bool sonde__host_is_allowed(const char *host, const struct sonde_string_list *allowed, bool any_address);

/** Whether an URL with a numeric host or localhost leads to that listener ("127.0.0.1:4320"; port 0 is never reached).
 */
bool sonde__url_reaches(const char *url, const char *listen_text);

/** Whether an URL's host is localhost or a loopback address: no proxy may stand between. */
bool sonde__url_is_loopback(const char *url);

#endif
