/* SPDX-License-Identifier: Apache-2.0 */
#include "instrumentation/wire/json.h"
#include "instrumentation/wire/writer.h"

/* What is left to read. */
struct scan {
    const char *at, *end;
};

static void skip_space(struct scan *scan) {
    while (scan->at < scan->end && (*scan->at == ' ' || *scan->at == '\t' || *scan->at == '\n' || *scan->at == '\r'))
        scan->at++;
}

/** Takes one character if it is next. */
static bool take(struct scan *scan, char c) {
    if (scan->at >= scan->end || *scan->at != c)
        return false;
    scan->at++;
    return true;
}

static int hex_digit(char c) {
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/** Four hex digits. */
static bool take_hex4(struct scan *scan, uint32_t *ret_unit) {
    uint32_t unit = 0;
    if (scan->end - scan->at < 4)
        return false;
    for (int i = 0; i < 4; i++) {
        int digit = hex_digit(*scan->at++);
        if (digit < 0)
            return false;
        unit = unit << 4 | (unsigned)digit;
    }
    *ret_unit = unit;
    return true;
}

/** Behind a backslash. */
static bool skip_escape(struct scan *scan) {
    uint32_t unit;
    if (scan->at >= scan->end)
        return false;
    char c = *scan->at++;
    return c == 'u' ? take_hex4(scan, &unit) : c != '\0' && strchr("\"\\/bfnrt", c) != NULL;
}

/** A string with its quotes. */
static bool skip_string(struct scan *scan, struct sonde_string *ret_inside) {
    bool wide = false;
    if (!take(scan, '"'))
        return false;
    const char *start = scan->at;
    while (scan->at < scan->end && *scan->at != '"') {
        unsigned char c = (unsigned char)*scan->at++;
        if (c < 0x20 || (c == '\\' && !skip_escape(scan)))
            return false;
        wide |= c >= 0x80;
    }
    *ret_inside = (struct sonde_string){start, (size_t)(scan->at - start)};
    return take(scan, '"') && (!wide || sonde__utf8_is_valid(start, ret_inside->size));
}

static bool skip_digits(struct scan *scan) {
    const char *start = scan->at;
    while (scan->at < scan->end && *scan->at >= '0' && *scan->at <= '9')
        scan->at++;
    return scan->at > start;
}

static bool skip_number(struct scan *scan) {
    (void)take(scan, '-');
    if (!take(scan, '0') && !skip_digits(scan))
        return false;
    if (take(scan, '.') && !skip_digits(scan))
        return false;
    if (!take(scan, 'e') && !take(scan, 'E'))
        return true;
    if (!take(scan, '+'))
        (void)take(scan, '-');
    return skip_digits(scan);
}

static bool skip_word(struct scan *scan, const char *word) {
    size_t size = strlen(word);
    if ((size_t)(scan->end - scan->at) < size || memcmp(scan->at, word, size) != 0)
        return false;
    scan->at += size;
    return true;
}

static bool skip_scalar(struct scan *scan) {
    struct sonde_string inside;
    if (scan->at >= scan->end)
        return false;
    switch (*scan->at) {
    case '"':
        return skip_string(scan, &inside);
    case 't':
        return skip_word(scan, "true");
    case 'f':
        return skip_word(scan, "false");
    case 'n':
        return skip_word(scan, "null");
    default:
        return skip_number(scan);
    }
}

/** A name and its colon, with the white space round them. */
static bool skip_key(struct scan *scan, struct sonde_string *ret_key) {
    skip_space(scan);
    if (!skip_string(scan, ret_key))
        return false;
    skip_space(scan);
    if (!take(scan, ':'))
        return false;
    skip_space(scan);
    return true;
}

/* The containers round the reader's place, the innermost in bit 0: 1 = an object. */
struct nest {
    uint64_t objects;
    unsigned depth;
};

/** Enters a container, if one is next. Returns 0 for a scalar or bad text (not read), 1 when its first value comes
 * next, 2 when it is empty and left again, -1 for what is not JSON. */
static int enter(struct scan *scan, struct nest *nest) {
    struct sonde_string key;
    bool object = take(scan, '{');
    if (!object && !take(scan, '['))
        return 0;
    if (nest->depth == SONDE__JSON_DEPTH_MAX)
        return -1;
    skip_space(scan);
    if (take(scan, object ? '}' : ']'))
        return 2;
    nest->depth++;
    nest->objects = nest->objects << 1 | object;
    return object && !skip_key(scan, &key) ? -1 : 1;
}

/** Behind a value in a container: 1 when another value comes next, 0 when all containers are left, -1 for what is not
 *  JSON. */
static int leave(struct scan *scan, struct nest *nest) {
    struct sonde_string key;
    while (nest->depth) {
        bool object = nest->objects & 1;
        skip_space(scan);
        if (take(scan, ',')) {
            skip_space(scan);
            return object && !skip_key(scan, &key) ? -1 : 1;
        }
        if (!take(scan, object ? '}' : ']'))
            return -1;
        nest->depth--;
        nest->objects >>= 1;
    }
    return 0;
}

static bool skip_value(struct scan *scan) {
    struct nest nest = {0, 0};
    for (;;) {
        skip_space(scan);
        int entered = enter(scan, &nest);
        if (entered < 0 || (entered == 0 && !skip_scalar(scan)))
            return false;
        if (entered == 1)
            continue;
        int more = leave(scan, &nest);
        if (more <= 0)
            return more == 0;
    }
}

bool sonde__json_check(const char *text, size_t size, struct sonde_string *ret_value) {
    struct scan scan = {text, text + size};
    if (size == 0 || size > SONDE__JSON_SIZE_MAX)
        return false;
    skip_space(&scan);
    const char *start = scan.at;
    if (!skip_value(&scan))
        return false;
    *ret_value = (struct sonde_string){start, (size_t)(scan.at - start)};
    skip_space(&scan);
    return scan.at == scan.end;
}

/** To the next value of a container: behind its opening or its comma. */
static bool next(struct sonde_string container, char open, size_t *position, struct scan *ret_scan) {
    struct scan scan = {container.data + *position, container.data + container.size};
    if (container.size == 0 || *container.data != open)
        return false;
    (void)take(&scan, *position == 0 ? open : ',');
    skip_space(&scan);
    *ret_scan = scan;
    return scan.at < scan.end && *scan.at != (open == '{' ? '}' : ']');
}

/** The value that comes next, and where the position then is: at the comma or the closing behind it. */
static bool value_next(struct sonde_string container, struct scan *scan, size_t *position,
                       struct sonde_string *ret_value) {
    const char *start = scan->at;
    if (!skip_value(scan))
        return false;
    *ret_value = (struct sonde_string){start, (size_t)(scan->at - start)};
    skip_space(scan);
    *position = (size_t)(scan->at - container.data);
    return true;
}

bool sonde__json_member_next(struct sonde_string object, size_t *position, struct sonde__json_member *ret_member) {
    struct scan scan;
    return next(object, '{', position, &scan) && skip_key(&scan, &ret_member->key) &&
           value_next(object, &scan, position, &ret_member->value);
}

bool sonde__json_element_next(struct sonde_string array, size_t *position, struct sonde_string *ret_value) {
    struct scan scan;
    return next(array, '[', position, &scan) && value_next(array, &scan, position, ret_value);
}

bool sonde__json_find(struct sonde_string object, struct sonde_string name, struct sonde_string *ret_value) {
    struct sonde__json_member member;
    size_t position = 0;
    while (sonde__json_member_next(object, &position, &member))
        if (sonde__json_equals(member.key, name)) {
            *ret_value = member.value;
            return true;
        }
    return false;
}

/* ---- strings ---- */

bool sonde__json_string(struct sonde_string value, struct sonde_string *ret_inside) {
    if (value.size < 2 || *value.data != '"')
        return false;
    *ret_inside = (struct sonde_string){value.data + 1, value.size - 2};
    return true;
}

static size_t utf8_put(uint32_t point, char *to) {
    if (point < 0x80) {
        to[0] = (char)point;
        return 1;
    }
    size_t size = point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
    for (size_t i = size - 1; i > 0; i--) {
        to[i] = (char)(0x80 | (point & 0x3F));
        point >>= 6;
    }
    static const unsigned char heads[] = {0, 0, 0xC0, 0xE0, 0xF0};
    to[0] = (char)(heads[size] | point);
    return size;
}

/** The code point of \u, a pair of surrogates together. */
static bool unescape_unicode(struct scan *scan, uint32_t *ret_point) {
    uint32_t high, low;
    if (!take_hex4(scan, &high))
        return false;
    *ret_point = high;
    if (high < 0xD800 || high > 0xDFFF)
        return true;
    if (high > 0xDBFF || !take(scan, '\\') || !take(scan, 'u') || !take_hex4(scan, &low) || low < 0xDC00 ||
        low > 0xDFFF)
        return false;
    *ret_point = 0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00);
    return true;
}

/** One character, an escape resolved. Returns its bytes in ret_text, 0 when it is bad. */
static size_t unescape_one(struct scan *scan, char ret_text[4]) {
    static const char letters[] = "\"\\/bfnrt", meanings[] = "\"\\/\b\f\n\r\t";
    char c = *scan->at++;
    if (c != '\\') {
        ret_text[0] = c;
        return 1;
    }
    if (scan->at >= scan->end)
        return 0;
    c = *scan->at++;
    if (c == 'u') {
        uint32_t point;
        return unescape_unicode(scan, &point) ? utf8_put(point, ret_text) : 0;
    }
    const char *letter = c ? strchr(letters, c) : NULL;
    if (!letter)
        return 0;
    ret_text[0] = meanings[letter - letters];
    return 1;
}

bool sonde__json_unescape(struct sonde_string inside, char *ret_text, size_t size, size_t *ret_size) {
    struct scan scan = {inside.data, inside.data + inside.size};
    size_t used = 0;
    while (scan.at < scan.end) {
        char bytes[4];
        size_t count = unescape_one(&scan, bytes);
        if (count == 0 || count > size - used)
            return false;
        memcpy(ret_text + used, bytes, count);
        used += count;
    }
    *ret_size = used;
    return true;
}

bool sonde__json_equals(struct sonde_string inside, struct sonde_string text) {
    struct scan scan = {inside.data, inside.data + inside.size};
    size_t used = 0;
    if (inside.size == text.size && (text.size == 0 || memcmp(inside.data, text.data, text.size) == 0))
        return !text.size || !memchr(text.data, '\\', text.size);
    if (inside.size < text.size || !memchr(inside.data, '\\', inside.size))
        return false;
    while (scan.at < scan.end) {
        char bytes[4];
        size_t count = unescape_one(&scan, bytes);
        if (count == 0 || count > text.size - used || memcmp(text.data + used, bytes, count) != 0)
            return false;
        used += count;
    }
    return used == text.size;
}

size_t sonde__json_escape(struct sonde_string text, char *ret_text) {
    static const char digits[] = "0123456789abcdef";
    size_t used = 0;
    for (size_t i = 0; i < text.size; i++) {
        unsigned char c = (unsigned char)text.data[i];
        char bytes[6] = {'\\', (char)c, '0', '0'};
        const char *from = bytes;
        size_t count = 2;
        if (c < 0x20) {
            bytes[1] = 'u';
            bytes[2] = bytes[3] = '0';
            bytes[4] = digits[c >> 4];
            bytes[5] = digits[c & 15];
            count = 6;
        } else if (c != '"' && c != '\\') {
            from = bytes + 1;
            count = 1;
        }
        if (ret_text)
            memcpy(ret_text + used, from, count);
        used += count;
    }
    return used;
}
