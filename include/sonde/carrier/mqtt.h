/* SPDX-License-Identifier: Apache-2.0 */
/* MQTT 5 user properties as a carrier, as an array of pairs; for libmosquitto's own type see mosquitto.h. MQTT 3.1.1
 * has no properties: where the payload is a JSON object use sonde/carrier/json.h on it, else nothing. A bridge that
 * appends a second traceparent leaves a message without context. CloudEvents in binary mode use the same bare names, so
 * that one property serves both. Source: OASIS MQTT 5.0, 3.3.2.3.7. */
#ifndef SONDE_CARRIER_MQTT_H
#define SONDE_CARRIER_MQTT_H

#include <sonde/carrier/pairs.h>

SONDE_BEGIN

/** A carrier of user properties (kept until the carrier is no longer used). set: SONDE_ETOOBIG without room or over
 * 65,535 bytes, SONDE_EINVALID for what is not UTF-8 or has a NUL; the properties are then unchanged. Not thread-safe;
 * no allocation. */
SONDE_API struct sonde_carrier sonde_mqtt_carrier(struct sonde_pairs *properties);

SONDE_END

#endif
