/* SPDX-License-Identifier: Apache-2.0 */
/* MQTT 5 user properties: pairs of UTF-8 strings, each behind a length of 16 bits. */
#include "instrumentation/carrier/pairs.h"
#include <sonde/carrier/mqtt.h>

static const struct sonde__pairs_rule rule = {.text = SONDE__PAIRS_UTF8, .name_max = 65535, .value_max = 65535};
SONDE__PAIRS_OPS(rule);

struct sonde_carrier sonde_mqtt_carrier(struct sonde_pairs *properties) {
    return (struct sonde_carrier){&carrier_ops, properties};
}
