/* SPDX-License-Identifier: Apache-2.0 */
/* JSON as it lies in a buffer: checked as a whole, then walked member by member. Nothing is allocated and nothing is
 * copied but strings with escapes. Strict: RFC 8259 without extensions, UTF-8, nothing behind the value. Bounded: by
 * size and by depth, no recursion. Raw texts are pieces of the buffer: a value with its delimiters, a string's inside
 * without its quotes. */
#ifndef SONDE_INSTRUMENTATION_WIRE_JSON_H
#define SONDE_INSTRUMENTATION_WIRE_JSON_H

#include <sonde/attribute.h>

#define SONDE__JSON_SIZE_MAX  1048576u /* no broker named in carrier/ takes a larger message by default */
#define SONDE__JSON_DEPTH_MAX 64u      /* a bit each */

struct sonde__json_member {
    struct sonde_string key, value; /* key: the string's inside */
};

/** Checks a text. Returns false, or true with the value less the white space round it. */
bool sonde__json_check(const char *text, size_t size, struct sonde_string *ret_value);
/** The next member of an object (raw, checked before) or element of an array. position: 0 at first. Returns false at
 * the end, and for a value of another kind. */
bool sonde__json_member_next(struct sonde_string object, size_t *position, struct sonde__json_member *ret_member);
bool sonde__json_element_next(struct sonde_string array, size_t *position, struct sonde_string *ret_value);
/** The first member of a name. */
bool sonde__json_find(struct sonde_string object, struct sonde_string name, struct sonde_string *ret_value);

/** A string value's inside; false for other kinds. */
bool sonde__json_string(struct sonde_string value, struct sonde_string *ret_inside);
/** Whether a string's inside, its escapes resolved, is this text. */
bool sonde__json_equals(struct sonde_string inside, struct sonde_string text);
/** Resolves escapes into ret_text. Returns false when it does not fit, or half a surrogate pair stands alone. */
bool sonde__json_unescape(struct sonde_string inside, char *ret_text, size_t size, size_t *ret_size);
/** Writes text (UTF-8) as a string's inside; ret_text NULL only counts. Returns the size. */
size_t sonde__json_escape(struct sonde_string text, char *ret_text);

#endif
