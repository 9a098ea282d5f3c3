/* SPDX-License-Identifier: Apache-2.0 */
/* Decimal numbers of identifiers, against the C library on every length. */
#include "instrumentation/propagation/number.h"
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static void check(uint64_t number) {
    char want[24], have[SONDE__DECIMAL_MAX];
    uint64_t back = ~number;
    size_t size = (size_t)snprintf(want, sizeof want, "%" PRIu64, number);
    assert_int_equal(sonde__decimal_write(number, have), size);
    assert_memory_equal(have, want, size);
    assert_int_equal(sonde__decimal_read(have, size, &back), 0);
    assert_int_equal(back, number);
}

static void decimal_comes_back_at_every_length(void **state) {
    (void)state;
    for (uint64_t power = 1; power; power = power > UINT64_MAX / 10 ? 0 : power * 10)
        for (uint64_t digit = 1; digit < 10; digit++) {
            check(power - 1);
            check(power);
            check(power / 10 * digit + power % 10);
        }
    for (uint64_t i = 0; i < 20000; i++) { /* all of four digits, and what they are shifted to */
        check(i);
        check(i * 100000000u + i);
        check(i * 922337203685477u);
    }
    check(UINT64_MAX);
}

static void decimal_read_refuses(void **state) {
    (void)state;
    uint64_t number;
    static const char *const bad[] = {
        "", "-1", "+1", " 1", "1 ", "0x1", "1234567a", "a2345678", "123456781234567:", "/"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(sonde__decimal_read(bad[i], strlen(bad[i]), &number), 1);
    static const char *const over[] = {"18446744073709551616", "99999999999999999999", "100000000000000000000",
                                       "1000000000000000000000000000000"};
    for (size_t i = 0; i < sizeof over / sizeof *over; i++)
        assert_int_equal(sonde__decimal_read(over[i], strlen(over[i]), &number), 2);
    assert_int_equal(sonde__decimal_read("00000000000000000000000000042", 29, &number), 0);
    assert_int_equal(number, 42);
    for (int byte = 0; byte < 256; byte++) {
        char text[8] = {'1', '2', '3', (char)byte, '5', '6', '7', '8'};
        bool digit = byte >= '0' && byte <= '9';
        assert_int_equal(sonde__decimal_read(text, 8, &number), digit ? 0 : 1);
    }
}

/* Every byte in every place, at every size; those before the digits are not looked at. */
static void hex_of_the_end_is_read_alike_in_both_ways(void **state) {
    (void)state;
    for (size_t size = 1; size <= 16; size++)
        for (size_t place = 0; place < 16; place++)
            for (int c = 0; c < 256; c++) {
                char text[] = "0123456789abcdef";
                uint64_t want, have;
                text[place] = (char)c;
                bool good = sonde__hex_tail_plain(text + 16, size, &want);
                assert_int_equal(sonde__hex_tail(text + 16, size, &have), good);
                assert_true(good == (place < 16 - size || sonde__hex_digit((char)c) >= 0));
                assert_true(!good || have == want);
            }
}

/* Digit by digit, as decimal_read did before it took eight at a time. */
static int read_slowly(const char *text, size_t size, uint64_t *ret_number) {
    bool over = false;
    *ret_number = 0;
    while (size > 1 && *text == '0')
        text++, size--;
    size = size > SONDE__DECIMAL_MAX ? SONDE__DECIMAL_MAX + 1 : size;
    for (size_t i = 0; i < size; i++) {
        if (text[i] < '0' || text[i] > '9')
            return 1;
        over |= __builtin_mul_overflow(*ret_number, (uint64_t)10, ret_number);
        over |= __builtin_add_overflow(*ret_number, (uint64_t)(text[i] - '0'), ret_number);
    }
    return size == 0 ? 1 : over ? 2 : 0;
}

static void decimal_is_read_as_digit_by_digit(void **state) {
    (void)state;
    static const char others[] = "0/:.-+ a\x80\xb0";
    srand(5);
    for (int round = 0; round < 50000; round++) {
        char text[24];
        uint64_t want, have = 0;
        size_t size = (size_t)rand() % sizeof text;
        for (size_t i = 0; i < size; i++)
            text[i] = (char)('0' + rand() % 10);
        if (size && round % 3 == 0)
            text[(size_t)rand() % size] = others[(size_t)rand() % (sizeof others - 1)];
        if (size > 1 && round % 5 == 0)
            memcpy(text, "18", 2); /* about the largest there is */
        int result = read_slowly(text, size, &want);
        assert_int_equal(sonde__decimal_read(text, size, &have), result);
        assert_true(result != 0 || have == want);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decimal_comes_back_at_every_length),
        cmocka_unit_test(decimal_is_read_as_digit_by_digit),
        cmocka_unit_test(hex_of_the_end_is_read_alike_in_both_ways),
        cmocka_unit_test(decimal_read_refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
