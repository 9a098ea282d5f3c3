/* SPDX-License-Identifier: Apache-2.0 */
/* Times as APIs write them. */
#ifndef SONDE_AGENT_COLLECT_TIMESTAMP_H
#define SONDE_AGENT_COLLECT_TIMESTAMP_H

#include <stddef.h>
#include <stdint.h>

/** "2026-01-02T03:04:05Z", with or without a fraction, which is passed over (RFC 3339 in UTC). Returns unix ns; 0 = it is
 *  none, or not between 1970 and 2500: the year 1 is how some say never. */
uint64_t sonde__timestamp_read(const char *text, size_t size);

#endif
