/* SPDX-License-Identifier: Apache-2.0 */
/* The only list of receivers, sorted by name. */
#include "agent/receive/receiver.h"
#include <stddef.h>

const struct sonde_receiver_ops *const sonde_receivers[] = {
    NULL,
};
