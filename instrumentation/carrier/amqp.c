/* SPDX-License-Identifier: Apache-2.0 */
/* AMQP 0-9-1 tables and AMQP 1.0 maps: names are short strings in both. */
#include "instrumentation/carrier/first.h"
#include "instrumentation/carrier/pairs.h"
#include <sonde/carrier/amqp.h>

static const struct sonde__pairs_rule rule = {.text = SONDE__PAIRS_UTF8, .name_max = 255};
SONDE__PAIRS_OPS(rule);

struct sonde_carrier sonde_amqp_carrier(struct sonde_pairs *properties) {
    return (struct sonde_carrier){&carrier_ops, properties};
}

enum sonde_extract_reason sonde_amqp10_extract(const struct sonde_carrier *annotations,
                                               const struct sonde_carrier *properties,
                                               struct sonde_context *ret_context) {
    struct sonde__first first;
    sonde__first_init(&first, ret_context);
    if (!sonde__first_ask(&first, annotations, NULL))
        (void)sonde__first_ask(&first, properties, NULL);
    return first.reason;
}
