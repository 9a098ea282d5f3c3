/* SPDX-License-Identifier: Apache-2.0 */
/* Kafka record headers. */
#include "instrumentation/carrier/pairs.h"
#include <sonde/carrier/kafka.h>

static const struct sonde__pairs_rule rule = {.last = true, .text = SONDE__PAIRS_BYTES};
SONDE__PAIRS_OPS(rule);

struct sonde_carrier sonde_kafka_carrier(struct sonde_pairs *headers) {
    return (struct sonde_carrier){&carrier_ops, headers};
}
