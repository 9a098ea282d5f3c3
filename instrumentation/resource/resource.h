/* SPDX-License-Identifier: Apache-2.0 */
/* The resource: what this process is. Told once per connection, as the encoded OTLP Resource message.
 * Sources, first one wins: sonde_start() options, OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES, what we detect.
 * The command line is left out: it may hold secrets. process.executable.* says what runs.
 * Source: OpenTelemetry specification, resource/sdk.md; semantic conventions, resource/. */
#ifndef SONDE_RESOURCE_RESOURCE_H
#define SONDE_RESOURCE_RESOURCE_H

#include "instrumentation/resource/settings.h"

/** Encodes the Resource message of this process. Reads /proc and /etc (blocks on them; link thread).
 *  ret_message  size bytes of room; what does not fit is left out, detected attributes first.
 *  Returns bytes written. service.instance.id is a random UUID, new with every call unless one was given. */
uint32_t sonde__resource_encode(uint8_t *ret_message, uint32_t size);

/** Finds a container id in the text of /proc/self/cgroup or /proc/self/mountinfo.
 *  text    NUL-terminated, borrowed.   ret_id  64 hex digits and a NUL.   Returns true when there is one. */
bool sonde__container_id_find(const char *text, char ret_id[65]);

#endif
