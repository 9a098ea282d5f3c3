/* SPDX-License-Identifier: Apache-2.0 */
#include "instrumentation/context/clock.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

/* Wide enough for a slow, shared machine under a sanitizer; far below what a wrong rate or base would give. */
#define TOLERANCE_NS 5000000u

static uint64_t system_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* Uses the clock, as a program does, until it has calibrated itself. */
static void run_for(uint64_t ns) {
    uint64_t ticks, until = system_ns() + ns;
    while (system_ns() < until)
        (void)sonde__clock_now(&ticks);
}

static void check_against_system(void) {
    uint64_t ticks, before = system_ns(), now = sonde__clock_now(&ticks), after = system_ns();
    assert_in_range(now, before - TOLERANCE_NS, after + TOLERANCE_NS);
}

static void clock_now_tells_the_wall_time(void **state) {
    (void)state;
    for (int tsc = 0;
         tsc <= sonde__clock_source_is_tsc("/sys/devices/system/clocksource/clocksource0/current_clocksource"); tsc++) {
        sonde__clock_use(tsc);
        check_against_system(); /* not calibrated yet */
        run_for(30000000);
        check_against_system();
        run_for(120000000); /* past the first, short period */
        check_against_system();
    }
}

static void clock_duration_measures_what_passed(void **state) {
    (void)state;
    for (int tsc = 0;
         tsc <= sonde__clock_source_is_tsc("/sys/devices/system/clocksource/clocksource0/current_clocksource"); tsc++) {
        sonde__clock_use(tsc);
        for (int calibrated = 0; calibrated < 2; calibrated++) {
            uint64_t start, end, a = system_ns();
            (void)sonde__clock_now(&start);
            run_for(10000000);
            end = sonde__clock_ticks();
            uint64_t b = system_ns(), duration = sonde__clock_duration(start, end);
            assert_in_range(duration, b - a - TOLERANCE_NS, b - a + TOLERANCE_NS);
            run_for(30000000);
        }
    }
}

static void clock_duration_is_never_negative(void **state) {
    (void)state;
    uint64_t ticks;
    run_for(30000000);
    (void)sonde__clock_now(&ticks);
    assert_int_equal(sonde__clock_duration(ticks, ticks - 1000), 0);
    assert_int_equal(sonde__clock_duration(ticks, ticks), 0);
}

static void clock_source_is_read_from_its_file(void **state) {
    (void)state;
    static const struct {
        const char *text;
        int tsc;
    } rows[] = {{"tsc\n", 1}, {"tsc", 1}, {"hpet\n", 0}, {"tsc-early\n", 0}, {"", 0}, {"kvm-clock\n", 0}};
    char path[] = "/tmp/sonde-clock-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_int_equal(ftruncate(fd, 0), 0);
        assert_true(pwrite(fd, rows[i].text, strlen(rows[i].text), 0) >= 0);
#if defined(__x86_64__)
        assert_int_equal(sonde__clock_source_is_tsc(path), rows[i].tsc);
#else
        assert_int_equal(sonde__clock_source_is_tsc(path), 0);
#endif
    }
    close(fd);
    unlink(path);
    assert_int_equal(sonde__clock_source_is_tsc(path), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(clock_now_tells_the_wall_time),
        cmocka_unit_test(clock_duration_measures_what_passed),
        cmocka_unit_test(clock_duration_is_never_negative),
        cmocka_unit_test(clock_source_is_read_from_its_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
