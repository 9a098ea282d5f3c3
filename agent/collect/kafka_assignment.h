/* SPDX-License-Identifier: Apache-2.0 */
/* What a member of a consumer group was given, as the broker passes it on from the group's leader: bytes of another
 * client, in the format of Kafka's ConsumerProtocolAssignment (big-endian): version i16, topics i32 of (name: length i16
 * and bytes, partitions i32 of i32), then user data, which is not looked at. */
#ifndef SONDE_AGENT_COLLECT_KAFKA_ASSIGNMENT_H
#define SONDE_AGENT_COLLECT_KAFKA_ASSIGNMENT_H

#include <stddef.h>
#include <stdint.h>

/** Visits each topic partition; topic NUL-terminated, at most SONDE__KAFKA_TOPIC_MAX bytes, borrowed.
 *  Returns 0, SONDE_EINVALID (it is cut or no such thing; what came before was visited), or what visit returned. */
int sonde__kafka_assignment_each(const void *data, size_t size,
                                 int (*visit)(void *user, const char *topic, int32_t partition), void *user);

#endif
