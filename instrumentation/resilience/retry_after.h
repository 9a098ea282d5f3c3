/* SPDX-License-Identifier: Apache-2.0 */
/* The Retry-After header: how long a backend asks us to stay away.
 * Source: RFC 9110, 10.2.3 (delay-seconds or HTTP-date) and 5.6.7 (the three forms of a date). */
#ifndef SONDE_RESILIENCE_RETRY_AFTER_H
#define SONDE_RESILIENCE_RETRY_AFTER_H

#include <stdbool.h>
#include <stdint.h>

/* The longest pause a backend may ask for. A header of 1e9 seconds is a mistake of somebody's, and would be an outage.
 */
#define SONDE__RETRY_AFTER_NS_MAX (UINT64_C(300) * 1000000000u)

/** Reads a Retry-After value.
 *  text     borrowed, NUL-terminated raw header value.
 *  date     borrowed, the answer's Date header ("" = none): a date is measured against the server's own clock where it
 *           tells it, so that a wrong clock here does no harm.
 *  unix_ns  wall time here, used when there is no date.
 *  ret_ns   0..SONDE__RETRY_AFTER_NS_MAX; a date in the past gives 0.
 *  Returns false when text is neither form; ret_ns is untouched. Pure. */
bool sonde__retry_after_parse(const char *text, const char *date, uint64_t unix_ns, uint64_t *ret_ns);

/** Reads an HTTP-date in any of its three forms (IMF-fixdate, RFC 850, asctime) into seconds since 1970. Pure. */
bool sonde__http_date_parse(const char *text, int64_t *ret_unix_s);

#endif
