/* SPDX-License-Identifier: Apache-2.0 */
/* What the readers of both registries need of JSON. */
#ifndef SONDE_AGENT_DISCOVER_READ_JSON_H
#define SONDE_AGENT_DISCOVER_READ_JSON_H

#include "agent/discover/discover.h"
#include <jansson.h>

/** The text of a member; "" when it is absent, no text, or too long to be used. Borrowed from object. */
const char *sonde__discover_text(const json_t *object, const char *key);
/** Of metadata, see read.h. */
const char *sonde__discover_meta(const json_t *metadata, const char *key);
/** 1..65535 as a number or as text; else 0. */
uint16_t sonde__discover_port(const json_t *value);
/** Fills scheme, path, version and, where it is still empty, namespace and zone from metadata.
 *  Returns the port that is to be asked, 0 = the service's own. */
uint16_t sonde__discover_metadata(const json_t *metadata, const char *fields[SONDE_DISCOVERED_FIELDS]);
/** Adds an instance; one without host or port is left out.
 *  Returns 0, -ENOMEM. */
int sonde__discover_put(struct sonde__discovered_set *set, const struct sonde_alloc *alloc, const char *host,
                        uint16_t port, const char *fields[SONDE_DISCOVERED_FIELDS]);

#endif
