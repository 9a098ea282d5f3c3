/* SPDX-License-Identifier: Apache-2.0 */
/* Google Pub/Sub attributes. The limits are the service's: past one of them it refuses the whole message. */
#include "instrumentation/carrier/pairs.h"
#include <sonde/carrier/pubsub.h>

static const struct sonde__pairs_rule rule = {
    .prefix = {"googclient_", 11}, .text = SONDE__PAIRS_UTF8, .name_max = 256, .value_max = 1024, .count_max = 100};
SONDE__PAIRS_OPS(rule);

struct sonde_carrier sonde_pubsub_carrier(struct sonde_pairs *attributes) {
    return (struct sonde_carrier){&carrier_ops, attributes};
}
