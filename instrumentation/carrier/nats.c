/* SPDX-License-Identifier: Apache-2.0 */
/* NATS headers: written as in HTTP. */
#include "instrumentation/carrier/pairs.h"
#include <sonde/carrier/nats.h>

/** RFC 822: printable but the colon. */
static bool is_name(struct sonde_string name) {
    for (size_t i = 0; i < name.size; i++)
        if (name.data[i] <= 0x20 || name.data[i] > 0x7e || name.data[i] == ':')
            return false;
    return name.size > 0;
}

static const struct sonde__pairs_rule rule = {
    .ignore_case = true, .trim = true, .text = SONDE__PAIRS_ASCII, .name = is_name};
SONDE__PAIRS_OPS(rule);

struct sonde_carrier sonde_nats_carrier(struct sonde_pairs *headers) {
    return (struct sonde_carrier){&carrier_ops, headers};
}
