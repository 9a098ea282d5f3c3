/* SPDX-License-Identifier: Apache-2.0 */
/* The only list of discoverers, sorted by name. */
#include "agent/discover/discover.h"
#include <stddef.h>

extern const struct sonde_discoverer_ops sonde_discoverer_consul;
extern const struct sonde_discoverer_ops sonde_discoverer_eureka;

const struct sonde_discoverer_ops *const sonde_discoverers[] = {
    &sonde_discoverer_consul,
    &sonde_discoverer_eureka,
    NULL,
};
