/* SPDX-License-Identifier: Apache-2.0 */
#include "instrumentation/resource/environment.h"

#include "instrumentation/resource/settings.h"
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

const char *sonde__environment_text(const char *name) {
    const char *value = getenv(name);
    return value && *value ? value : NULL;
}

void sonde__environment_refused(const char *name, const char *value, const char *accepted) {
    sonde__report("%s: \"%.40s\" is not accepted, ignored; accepted: %s", name, value, accepted);
}

bool sonde__environment_copy(const char *name, char *ret_text, size_t size) {
    const char *value = sonde__environment_text(name);
    if (!value)
        return false;
    size_t length = strlen(value);
    if (length >= size) {
        sonde__report("%s: longer than %zu bytes, ignored", name, size - 1);
        return false;
    }
    memcpy(ret_text, value, length + 1);
    return true;
}

bool sonde__environment_bool(const char *name) {
    const char *value = sonde__environment_text(name);
    if (!value)
        return false;
    if (strcasecmp(value, "true") == 0)
        return true;
    if (strcasecmp(value, "false") != 0)
        sonde__report("%s: \"%.40s\" is neither true nor false, taken as false", name, value);
    return false;
}

size_t sonde__environment_limit(const char *name, size_t otherwise, size_t most) {
    const char *value = sonde__environment_text(name);
    if (!value)
        return otherwise;
    size_t number = 0, digits = 0;
    for (; value[digits] >= '0' && value[digits] <= '9' && digits < 18; digits++)
        number = number * 10u + (size_t)(value[digits] - '0');
    if (digits == 0 || value[digits]) {
        sonde__environment_refused(name, value, "a whole number from 0");
        return otherwise;
    }
    if (number > most) {
        sonde__report("%s: more than %zu, taken as that", name, most);
        return most;
    }
    return number;
}

bool sonde__ratio_parse(const char *text, double *ret_ratio) {
    return sonde__decimal_parse(text, 1, ret_ratio);
}

bool sonde__decimal_parse(const char *text, double most, double *ret_value) {
    double value = 0, unit = 1;
    size_t digits = 0;
    for (; *text >= '0' && *text <= '9' && digits < 40; text++, digits++)
        value = value * 10 + (*text - '0');
    if (*text == '.')
        for (text++; *text >= '0' && *text <= '9' && digits < 40; text++, digits++)
            value += (unit /= 10) * (*text - '0');
    if (digits == 0)
        return false;
    if (*text == 'e' || *text == 'E') {
        int exponent = 0;
        bool negative = *++text == '-';
        if (*text == '-' || *text == '+')
            text++;
        if (*text < '0' || *text > '9')
            return false;
        for (; *text >= '0' && *text <= '9' && exponent < 400; text++)
            exponent = exponent * 10 + (*text - '0');
        for (; exponent > 0; exponent--)
            value = negative ? value / 10 : value * 10;
    }
    if (*text || !(value >= 0 && value <= most))
        return false;
    *ret_value = value;
    return true;
}
