/* SPDX-License-Identifier: Apache-2.0 */
#include "exporters/prometheus/escape.h"
#include <stdio.h>

static bool is_plain(uint32_t c, size_t at, bool is_label) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (c == ':' && !is_label) ||
           (c >= '0' && c <= '9' && at > 0);
}

bool escape_is_plain(const char *name, size_t size, bool is_label) {
    for (size_t i = 0; i < size; i++)
        if (!is_plain((unsigned char)name[i], i, is_label))
            return false;
    return size > 0;
}

/* The character at the beginning; U+FFFD for a byte that begins none. Returns its size. */
static size_t decode(const unsigned char *text, size_t size, uint32_t *ret_c) {
    size_t wanted = text[0] < 0x80   ? 1
                    : text[0] < 0xC2 ? 0
                    : text[0] < 0xE0 ? 2
                    : text[0] < 0xF0 ? 3
                    : text[0] < 0xF5 ? 4
                                     : 0;
    uint32_t c = wanted == 1 ? text[0] : text[0] & (0x7Fu >> wanted);
    *ret_c = 0xFFFD;
    if (!wanted || wanted > size)
        return 1;
    for (size_t i = 1; i < wanted; i++) {
        if ((text[i] & 0xC0) != 0x80)
            return 1;
        c = c << 6 | (text[i] & 0x3Fu);
    }
    if ((wanted == 3 && c < 0x800) || (wanted == 4 && c < 0x10000) || c > 0x10FFFF || (c >= 0xD800 && c < 0xE000))
        return 1;
    *ret_c = c;
    return wanted;
}

static void escape_one(struct buffer *to, uint32_t c, bool plain, enum sonde_prometheus_escaping escaping) {
    char text[16];
    char own = (char)c;
    bool doubled = c == '_' && escaping != SONDE_PROMETHEUS_UNDERSCORES;
    if (doubled)
        buffer_text(to, "__");
    else if (escaping == SONDE_PROMETHEUS_DOTS && c == '.')
        buffer_text(to, "_dot_");
    else if (plain)
        buffer_put(to, &own, 1);
    else if (escaping == SONDE_PROMETHEUS_VALUES)
        buffer_put(to, text, (size_t)snprintf(text, sizeof text, "_%x_", (unsigned)c));
    else
        buffer_text(to, escaping == SONDE_PROMETHEUS_DOTS ? "__" : "_");
}

void escape_name(struct buffer *to, const char *name, size_t size, bool is_label,
                 enum sonde_prometheus_escaping escaping) {
    if (escape_is_plain(name, size, is_label)) {
        buffer_put(to, name, size);
        return;
    }
    if (escaping == SONDE_PROMETHEUS_VALUES && size)
        buffer_text(to, "U__");
    for (size_t i = 0; i < size;) {
        uint32_t c;
        size_t taken = decode((const unsigned char *)name + i, size - i, &c);
        if (escaping != SONDE_PROMETHEUS_ALLOW_UTF8)
            escape_one(to, c, is_plain(c, i, is_label), escaping);
        else if (c == 0xFFFD)
            buffer_text(to, "\xEF\xBF\xBD");
        else
            buffer_put(to, name + i, taken);
        i += taken;
    }
}

void escape_text(struct buffer *to, const char *text, size_t size, bool quotes) {
    size_t from = 0;
    for (size_t i = 0; i < size; i++) {
        const char *escaped = text[i] == '\\'            ? "\\\\"
                              : text[i] == '\n'          ? "\\n"
                              : text[i] == '"' && quotes ? "\\\""
                                                         : NULL;
        if (!escaped)
            continue;
        buffer_put(to, text + from, i - from);
        buffer_text(to, escaped);
        from = i + 1;
    }
    buffer_put(to, text + from, size - from);
}
