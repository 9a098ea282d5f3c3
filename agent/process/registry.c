/* SPDX-License-Identifier: Apache-2.0 */
/* The only list of processors, sorted by name. */
#include "agent/process/processor.h"
#include <stddef.h>

extern const struct sonde_processor_ops sonde_processor_breakers, sonde_processor_lag_time, sonde_processor_sagas;

const struct sonde_processor_ops *const sonde_processors[] = {
    &sonde_processor_breakers,
    &sonde_processor_lag_time,
    &sonde_processor_sagas,
    NULL,
};
