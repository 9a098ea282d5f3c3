/* SPDX-License-Identifier: Apache-2.0 */
/* Encoded attributes as label values. */
#ifndef SONDE_EXPORTERS_PROMETHEUS_VALUE_H
#define SONDE_EXPORTERS_PROMETHEUS_VALUE_H

#include "exporters/prometheus/buffer.h"
#include "exporters/record_log.h"

/** Takes the next KeyValue that stands as `field` of a message apart; other fields are passed over.
 *  *at begins as the message's data. Returns false at the end, or where the bytes do not follow the format. */
bool sonde_prometheus_next_attribute(struct sonde_bytes message, unsigned field, const uint8_t **at,
                                     struct sonde_bytes *ret_key, struct sonde_bytes *ret_value);

/** Appends an encoded AnyValue as text: a string as it is, true, 1, 1.5; bytes in base64; lists and maps as JSON. */
void sonde_prometheus_value(struct buffer *to, struct sonde_bytes value);

#endif
