/* SPDX-License-Identifier: Apache-2.0 */
#include "instrumentation/resilience/retry_after.h"
// clang-format off
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
// clang-format on

#define SECOND UINT64_C(1000000000)

static void dates_parse_in_their_three_forms(void **state) {
    (void)state;
    static const struct {
        const char *text;
        int64_t unix_s; /* INT64_MIN = refused */
    } cases[] = {
        {"Sun, 06 Nov 1994 08:49:37 GMT", 784111777}, /* the three of RFC 9110, 5.6.7 */
        {"Sunday, 06-Nov-94 08:49:37 GMT", 784111777},
        {"Sun Nov  6 08:49:37 1994", 784111777},
        {"Thu, 01 Jan 1970 00:00:00 GMT", 0},
        {"Wed, 31 Dec 1969 23:59:59 GMT", -1},
        {"Sat, 29 Feb 2020 12:00:00 GMT", 1582977600},
        {"Thu, 31 Dec 1998 23:59:60 GMT", 915148800}, /* a leap second */
        {"Fri, 31 Dec 9999 23:59:59 GMT", 253402300799},
        {"Sunday, 06-Nov-69 08:49:37 GMT", 3150953377},
        {"", INT64_MIN},
        {"Sun", INT64_MIN},
        {"Sun, 06 Nov 1994 08:49:37", INT64_MIN},
        {"Sun, 06 Nov 1994 08:49:37 GMT ", INT64_MIN},
        {"Sun, 06 Nov 1994 08:49:37 +0000", INT64_MIN},
        {"sun, 06 nov 1994 08:49:37 GMT", INT64_MIN},
        {"Sun, 00 Nov 1994 08:49:37 GMT", INT64_MIN},
        {"Sun, 32 Nov 1994 08:49:37 GMT", INT64_MIN},
        {"Sun, 06 Nov 1994 24:00:00 GMT", INT64_MIN},
        {"Sun, 06 Nov 1994 08:60:00 GMT", INT64_MIN},
        {"Sun, 06 Nov 199 08:49:37 GMT", INT64_MIN},
        {"Sun, 06 Xyz 1994 08:49:37 GMT", INT64_MIN},
        {"Sundays without end", INT64_MIN},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int64_t unix_s = INT64_MIN;
        bool ok = sonde__http_date_parse(cases[i].text, &unix_s);
        if (ok != (cases[i].unix_s != INT64_MIN) || unix_s != cases[i].unix_s)
            fail_msg("%s: %lld", cases[i].text, (long long)unix_s);
    }
}

static void values_are_bounded_and_never_negative(void **state) {
    (void)state;
    const uint64_t now = 784111777 * SECOND; /* Sun, 06 Nov 1994 08:49:37 GMT */
    static const struct {
        const char *text, *date;
        int64_t seconds; /* -1 = refused */
    } cases[] = {
        {"0", "", 0},
        {"1", "", 1},
        {"120", "", 120},
        {"300", "", 300},
        {"301", "", 300},
        {"1000000000", "", 300},
        {"99999999999999999999999999999999", "", 300},
        {"Sun, 06 Nov 1994 08:49:47 GMT", "", 10},
        {"Sun, 06 Nov 1994 08:49:37 GMT", "", 0},
        {"Sun, 06 Nov 1994 08:00:00 GMT", "", 0},                               /* past */
        {"Fri, 31 Dec 9999 23:59:59 GMT", "", 300},                             /* absurd */
        {"Sun, 06 Nov 2050 08:49:47 GMT", "Sun, 06 Nov 2050 08:49:37 GMT", 10}, /* by the server's own clock */
        {"Sun, 06 Nov 1994 08:49:47 GMT", "rubbish", 10},
        {"", "", -1},
        {"-1", "", -1},
        {"+1", "", -1},
        {" 1", "", -1},
        {"1.5", "", -1},
        {"1s", "", -1},
        {"soon", "", -1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint64_t ns = UINT64_MAX;
        bool ok = sonde__retry_after_parse(cases[i].text, cases[i].date, now, &ns);
        uint64_t wanted = cases[i].seconds < 0 ? UINT64_MAX : (uint64_t)cases[i].seconds * SECOND;
        if (ok != (cases[i].seconds >= 0) || ns != wanted)
            fail_msg("%s: %llu", cases[i].text, (unsigned long long)ns);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(dates_parse_in_their_three_forms),
                                       cmocka_unit_test(values_are_bounded_and_never_negative)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
