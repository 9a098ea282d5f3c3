/* SPDX-License-Identifier: Apache-2.0 */
#include "instrumentation/propagation/number.h"

int sonde__decimal_read(const char *text, size_t size, uint64_t *ret_number) {
    uint64_t number = 0;
    size_t i = 0;
    while (i < size && text[i] == '0') /* leading zeros do not count; work stays bounded by the digits that do */
        i++;
    size_t end = size - i > SONDE__DECIMAL_MAX ? i + SONDE__DECIMAL_MAX + 1 : size;
    bool over = false;
    if (size == 0)
        return 1;
    for (; i < end; i++) {
        unsigned digit = (unsigned char)text[i] - (unsigned)'0';
        if (digit > 9)
            return 1;
        over |= __builtin_mul_overflow(number, (uint64_t)10, &number);
        over |= __builtin_add_overflow(number, (uint64_t)digit, &number);
    }
    *ret_number = number;
    return over || end != size ? 2 : 0;
}

size_t sonde__decimal_write(uint64_t number, char ret_text[SONDE__DECIMAL_MAX]) {
    char digits[SONDE__DECIMAL_MAX];
    size_t at = sizeof digits;
    for (; number >= 100; number /= 100) { /* two at a time halves the divisions */
        unsigned pair = (unsigned)(number % 100);
        digits[--at] = (char)('0' + pair % 10);
        digits[--at] = (char)('0' + pair / 10);
    }
    digits[--at] = (char)('0' + number % 10);
    if (number >= 10)
        digits[--at] = (char)('0' + number / 10);
    memcpy(ret_text, digits + at, sizeof digits - at);
    return sizeof digits - at;
}
