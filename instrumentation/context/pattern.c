/* SPDX-License-Identifier: Apache-2.0 */
#include "instrumentation/context/pattern.h"

static char lower(char c) {
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

/* On a mismatch the last '*' takes one more: no recursion. */
bool sonde__pattern_fits(const char *pattern, struct sonde_string text, bool any_case) {
    const char *star = NULL;
    size_t size = text.size < SONDE__PATTERN_TEXT_MAX ? text.size : SONDE__PATTERN_TEXT_MAX, at = 0, retry = 0;
    while (at < size) {
        char c = text.data[at];
        if (*pattern == '*') {
            star = pattern++;
            retry = at;
        } else if (*pattern && (*pattern == '?' || *pattern == c || (any_case && lower(*pattern) == lower(c)))) {
            pattern++;
            at++;
        } else if (star) {
            pattern = star + 1;
            at = ++retry;
        } else {
            return false;
        }
    }
    while (*pattern == '*')
        pattern++;
    return !*pattern;
}
