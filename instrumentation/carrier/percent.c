/* SPDX-License-Identifier: Apache-2.0 */
#include "instrumentation/carrier/percent.h"
#include "instrumentation/wire/writer.h"

static int hex_digit(char c) {
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

bool sonde__percent_decode(struct sonde_string text, char *ret_text, size_t size, size_t *ret_size) {
    size_t used = 0;
    for (size_t i = 0; i < text.size; i++) {
        char c = text.data[i];
        if (used == size)
            return false;
        if (c == '%') {
            int high = i + 2 < text.size ? hex_digit(text.data[i + 1]) : -1;
            int low = i + 2 < text.size ? hex_digit(text.data[i + 2]) : -1;
            if (high < 0 || low < 0)
                return false;
            c = (char)(high << 4 | low);
            i += 2;
        }
        ret_text[used++] = c;
    }
    *ret_size = used;
    return sonde__utf8_is_valid(ret_text, used);
}

size_t sonde__percent_encode(struct sonde_string text, bool (*is_plain)(char c), char *ret_text) {
    static const char digits[] = "0123456789ABCDEF";
    size_t used = 0;
    for (size_t i = 0; i < text.size; i++) {
        unsigned char c = (unsigned char)text.data[i];
        bool plain = is_plain((char)c);
        if (ret_text && plain)
            ret_text[used] = (char)c;
        if (ret_text && !plain) {
            ret_text[used] = '%';
            ret_text[used + 1] = digits[c >> 4];
            ret_text[used + 2] = digits[c & 15];
        }
        used += plain ? 1 : 3;
    }
    return used;
}
