/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/collect/timestamp.h"
#include <stdbool.h>
#include <time.h>

#define NS_PER_S 1000000000ull

static bool digits(const char *text, int count, int *ret_number) {
    int number = 0;
    for (int i = 0; i < count; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        number = number * 10 + (text[i] - '0');
    }
    *ret_number = number;
    return true;
}

uint64_t sonde__timestamp_read(const char *text, size_t size) {
    struct tm tm = {0};
    if (size < 20 || size > 40 || text[4] != '-' || text[7] != '-' || text[10] != 'T' || text[13] != ':' ||
        text[16] != ':' || text[size - 1] != 'Z')
        return 0;
    if (!digits(text, 4, &tm.tm_year) || !digits(text + 5, 2, &tm.tm_mon) || !digits(text + 8, 2, &tm.tm_mday) ||
        !digits(text + 11, 2, &tm.tm_hour) || !digits(text + 14, 2, &tm.tm_min) || !digits(text + 17, 2, &tm.tm_sec))
        return 0;
    if (tm.tm_mon < 1 || tm.tm_mon > 12 || tm.tm_mday < 1 || tm.tm_mday > 31 || tm.tm_hour > 23 || tm.tm_min > 59 ||
        tm.tm_sec > 60 || tm.tm_year < 1970 || tm.tm_year > 2500)
        return 0;
    for (size_t i = 19; i + 1 < size; i++)
        if (i == 19 ? text[i] != '.' : (text[i] < '0' || text[i] > '9'))
            return 0;
    tm.tm_year -= 1900;
    tm.tm_mon -= 1;
    time_t seconds = timegm(&tm);
    return seconds > 0 ? (uint64_t)seconds * NS_PER_S : 0;
}
