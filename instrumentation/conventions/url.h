/* SPDX-License-Identifier: Apache-2.0 */
/* URLs: what may not be recorded of them, and the server in them. No allocation. */
#ifndef SONDE_CONVENTIONS_URL_H
#define SONDE_CONVENTIONS_URL_H

#include <sonde/attribute.h>

/* Room for a URL or query that had to be changed; what is longer is cut. */
#define SONDE__URL_SIZE_MAX 4096u

/** A URL without user, password and values of signature keys.
 *  url     borrowed, absolute.
 *  buffer  SONDE__URL_SIZE_MAX bytes; used only when something had to be taken out.
 *  Returns the url itself or what is in the buffer. */
struct sonde_string sonde__url_redact(struct sonde_string url, char *buffer);
/** The same for a query, without its question mark. */
struct sonde_string sonde__query_redact(struct sonde_string query, char *buffer);

/** Host (without brackets) and port of an absolute URL; the port is the scheme's when it is not told, 0 when unknown.
 *  Returns false when there is no host. */
bool sonde__url_server(struct sonde_string url, struct sonde_string *ret_host, uint16_t *ret_port);

#endif
