/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP out, behind exporters/http.h: libcurl's multi interface on the loop. HTTP/1.1 with keep-alive; names are
 * resolved on a thread of libcurl's; nothing here blocks. Loop thread only.
 * The environment's proxy variables (http_proxy, HTTPS_PROXY, ALL_PROXY, NO_PROXY) count as everywhere, but never for
 * localhost and loopback addresses. */
#ifndef SONDE_AGENT_HTTP_CLIENT_H
#define SONDE_AGENT_HTTP_CLIENT_H

#include "agent/loop/loop.h"
#include "exporters/http.h"

struct sonde_http_curl;

/** Makes a client on a loop.
 *  ret_client  owned; free with sonde_http_curl_destroy() before the loop.
 *  Returns 0, -ENOMEM. */
int sonde_http_curl_create(struct sonde_loop *loop, struct sonde_http_curl **ret_client);
/** NULL is fine. Exchanges still under way end without their done being called. */
void sonde_http_curl_destroy(struct sonde_http_curl *client);
/** The interface exporters and collectors get; valid until the client is destroyed. */
struct sonde__http_client sonde_http_curl_interface(struct sonde_http_curl *client);

#endif
