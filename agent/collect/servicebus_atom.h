/* SPDX-License-Identifier: Apache-2.0 */
/* Feeds of Azure Service Bus's management: queues, topics or subscriptions, an entry each. Elements are told by their
 * local names; what is missing or no number is unknown. */
#ifndef SONDE_AGENT_COLLECT_SERVICEBUS_ATOM_H
#define SONDE_AGENT_COLLECT_SERVICEBUS_ATOM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SONDE__SERVICEBUS_NAME_MAX 261u /* 260 characters */

enum sonde__servicebus_number {
    SONDE__SERVICEBUS_ACTIVE,
    SONDE__SERVICEBUS_DEAD_LETTERED,
    SONDE__SERVICEBUS_SCHEDULED,
    SONDE__SERVICEBUS_TRANSFER,
    SONDE__SERVICEBUS_TRANSFER_DEAD_LETTERED,
    SONDE__SERVICEBUS_SIZE,
    SONDE__SERVICEBUS_NUMBERS,
};

struct sonde__servicebus_entry {
    char name[SONDE__SERVICEBUS_NAME_MAX];      /* "" = none, or too long */
    int64_t numbers[SONDE__SERVICEBUS_NUMBERS]; /* -1 = unknown */
    uint64_t accessed_unix_ns;                  /* 0 = never, or unknown */
};

/** Calls entry for each. ret_count: entries, those without a name too. Returns 0, SONDE_EINVALID (not XML, or no feed),
 *  -ENOMEM. */
int sonde__servicebus_feed_read(const void *bytes, size_t size,
                                void (*entry)(void *user, const struct sonde__servicebus_entry *entry), void *user,
                                size_t *ret_count);

#endif
