/* SPDX-License-Identifier: Apache-2.0 */
/* Messages under $SYS from any bytes: topic, NUL, payload. */
#include "agent/collect/mqtt_sys.h"
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct sonde__mqtt_values values = {.known = {false}};
    const uint8_t *end = memchr(data, '\0', size);
    if (!end)
        return 0;
    sonde__mqtt_values_take(&values, (const char *)data, end + 1, size - (size_t)(end + 1 - data));
    unsigned known = 0;
    for (size_t i = 0; i < SONDE__MQTT_VALUE_COUNT; i++) {
        known += values.known[i];
        if (values.of[i] > UINT64_C(1) << 53 || (!values.known[i] && values.of[i]))
            abort();
    }
    if (known > 1)
        abort();
    return 0;
}
