/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/collect/mqtt_sys.h"
#include <string.h>

#define NUMBER_MAX (UINT64_C(1) << 53) /* what a series can hold exactly */

static bool number_read(const char *text, size_t size, uint64_t *ret_number) {
    size_t at = 0;
    uint64_t number = 0;
    for (; at < size && text[at] >= '0' && text[at] <= '9'; at++) {
        number = number * 10 + (uint64_t)(text[at] - '0');
        if (number > NUMBER_MAX)
            return false;
    }
    *ret_number = number;
    return at > 0 && (at == size || (size - at == 8 && memcmp(text + at, " seconds", 8) == 0));
}

const char *sonde__mqtt_topic(enum sonde__mqtt_value value) {
    static const char *const topics[] = {
#define TOPIC(id, topic) "$SYS/broker/" topic,
        SONDE__MQTT_VALUES(TOPIC)
#undef TOPIC
    };
    return topics[value];
}

void sonde__mqtt_values_take(struct sonde__mqtt_values *values, const char *topic, const void *payload, size_t size) {
    uint64_t number;
    if (!number_read(payload, size, &number))
        return;
    for (unsigned i = 0; i < SONDE__MQTT_VALUE_COUNT; i++)
        if (strcmp(topic, sonde__mqtt_topic(i)) == 0) {
            values->of[i] = number;
            values->known[i] = true;
        }
}
