/* SPDX-License-Identifier: Apache-2.0 */
/* The only list of receivers, sorted by name. */
#include "agent/receive/receiver.h"
#include <stddef.h>

extern const struct sonde_receiver_ops sonde_receiver_prometheus_scrape, sonde_receiver_services;

const struct sonde_receiver_ops *const sonde_receivers[] = {
    &sonde_receiver_prometheus_scrape,
    &sonde_receiver_services,
    NULL,
};
