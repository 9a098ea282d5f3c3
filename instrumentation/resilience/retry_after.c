/* SPDX-License-Identifier: Apache-2.0 */
#include "instrumentation/resilience/retry_after.h"
#include <string.h>

/* What is left of the text; every take_* moves it on success. No libc parser is used: strptime() and strtol() follow
 * the locale or take signs and spaces that the grammar has not. */
static bool take_char(const char **at, char c) {
    if (**at != c)
        return false;
    (*at)++;
    return true;
}
static bool take_number(const char **at, unsigned digits, int *ret) {
    int value = 0;
    for (unsigned i = 0; i < digits; i++) {
        char c = (*at)[i];
        if (c < '0' || c > '9')
            return false;
        value = value * 10 + (c - '0');
    }
    *at += digits;
    *ret = value;
    return true;
}
static bool take_word(const char **at, const char *words, int *ret_index) { /* words of three letters, side by side */
    for (int i = 0; words[i * 3]; i++) {
        if (strncmp(*at, words + i * 3, 3) == 0) {
            *at += 3;
            *ret_index = i;
            return true;
        }
    }
    return false;
}
static bool take_time(const char **at, int64_t *ret_s) {
    int hour, minute, second;
    if (!take_number(at, 2, &hour) || !take_char(at, ':') || !take_number(at, 2, &minute) || !take_char(at, ':') ||
        !take_number(at, 2, &second) || hour > 23 || minute > 59 || second > 60)
        return false;
    *ret_s = hour * 3600 + minute * 60 + second;
    return true;
}

/* Days from 1970-01-01 of a proleptic Gregorian date; month 1..12 (the usual days_from_civil algorithm). */
static int64_t days_from_date(int year, int month, int day) {
    int64_t y = month <= 2 ? year - 1 : year;
    int64_t era = (y >= 0 ? y : y - 399) / 400;
    int64_t year_of_era = y - era * 400;
    int64_t day_of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
    return era * 146097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719468;
}

static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
static const char days[] = "MonTueWedThuFriSatSun";

/* "06 Nov 1994 08:49:37 GMT" and "06-Nov-94 08:49:37 GMT" */
static bool take_day_first(const char **at, char separator, int *ret_year, int *ret_month, int *ret_day,
                           int64_t *ret_s) {
    if (!take_number(at, 2, ret_day) || !take_char(at, separator) || !take_word(at, months, ret_month) ||
        !take_char(at, separator) || !take_number(at, separator == '-' ? 2 : 4, ret_year) || !take_char(at, ' ') ||
        !take_time(at, ret_s) || strncmp(*at, " GMT", 4) != 0)
        return false;
    *at += 4;
    if (separator == '-') /* RFC 9110: a two-digit year of the nearest century; we live in this one */
        *ret_year += *ret_year < 70 ? 2000 : 1900;
    return true;
}
/* "Nov  6 08:49:37 1994" */
static bool take_asctime(const char **at, int *ret_year, int *ret_month, int *ret_day, int64_t *ret_s) {
    if (!take_word(at, months, ret_month) || !take_char(at, ' '))
        return false;
    bool one_digit = take_char(at, ' ');
    return take_number(at, one_digit ? 1 : 2, ret_day) && take_char(at, ' ') && take_time(at, ret_s) &&
           take_char(at, ' ') && take_number(at, 4, ret_year);
}

bool sonde__http_date_parse(const char *text, int64_t *ret_unix_s) {
    const char *at = text;
    int weekday, year = 0, month = 0, day = 0;
    int64_t seconds = 0;
    if (!take_word(&at, days, &weekday))
        return false;
    bool ok;
    if (take_char(&at, ',')) {
        ok = take_char(&at, ' ') && take_day_first(&at, ' ', &year, &month, &day, &seconds);
    } else if (take_char(&at, ' ')) {
        ok = take_asctime(&at, &year, &month, &day, &seconds);
    } else {
        at += strcspn(at, ","); /* the rest of a full day name */
        ok = take_char(&at, ',') && take_char(&at, ' ') && take_day_first(&at, '-', &year, &month, &day, &seconds);
    }
    if (!ok || *at != '\0' || day < 1 || day > 31)
        return false;
    *ret_unix_s = days_from_date(year, month + 1, day) * 86400 + seconds;
    return true;
}

bool sonde__retry_after_parse(const char *text, const char *date, uint64_t unix_ns, uint64_t *ret_ns) {
    const uint64_t max_s = SONDE__RETRY_AFTER_NS_MAX / 1000000000u;
    if (text[0] >= '0' && text[0] <= '9') {
        uint64_t seconds = 0;
        for (const char *at = text; *at; at++) {
            if (*at < '0' || *at > '9')
                return false;
            if (seconds <= max_s) /* past the bound more digits change nothing, and must not wrap */
                seconds = seconds * 10 + (uint64_t)(*at - '0');
        }
        *ret_ns = (seconds < max_s ? seconds : max_s) * 1000000000u;
        return true;
    }
    int64_t then_s, now_s;
    if (!sonde__http_date_parse(text, &then_s))
        return false;
    if (!sonde__http_date_parse(date, &now_s))
        now_s = (int64_t)(unix_ns / 1000000000u);
    int64_t wait_s = then_s - now_s;
    uint64_t bounded = wait_s <= 0 ? 0 : (uint64_t)wait_s < max_s ? (uint64_t)wait_s : max_s;
    *ret_ns = bounded * 1000000000u;
    return true;
}
