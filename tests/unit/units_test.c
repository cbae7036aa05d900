/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "common/units.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void assert_size(const char *text, int64_t bytes)
{
    int64_t found = -1;
    cleanup_err struct err e = ERR_INIT;
    if (units_parse_size(text, &found, &e) < 0)
        fail_msg("%s: %s", text, err_text(&e));
    assert_int_equal(found, bytes);
}

static void assert_duration(const char *text, int64_t ns)
{
    int64_t found = -1;
    cleanup_err struct err e = ERR_INIT;
    if (units_parse_duration(text, &found, &e) < 0)
        fail_msg("%s: %s", text, err_text(&e));
    assert_int_equal(found, ns);
}

static void sizes_are_read_with_their_units(void **state)
{
    (void)state;
    assert_size("0B", 0);
    assert_size("256MiB", 268435456);
    assert_size("20GiB", INT64_C(21474836480));
    assert_size("64kB", 64000);
    assert_size("1.5KiB", 1536);
    assert_size("0.5TB", INT64_C(500000000000));
    assert_size("1 MiB", 1 << 20);
    assert_size("9223372036854775807B", INT64_MAX);
}

static void durations_are_read_with_their_units(void **state)
{
    (void)state;
    assert_duration("1.5s", 1500000000);
    assert_duration("20ms", 20000000);
    assert_duration("3min", INT64_C(180000000000));
    assert_duration("208us", 208000);
    assert_duration("5h", INT64_C(18000000000000));
    assert_duration("2d", INT64_C(172800000000000));
    assert_duration("0.000000001s", 1);
}

static void what_is_no_size_is_refused_with_what_was_expected(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",        "MiB",      "256",    "-1MiB",  "+1MiB",       "1,5MiB", "1.MiB", ".5MiB",
        "1..5MiB", "0x10B",    "1e3B",   "256mib", "256M",        "1MiB ",  " 1MiB", "1MiBs",
        "0.5B",    "1.0001kB", "1.5.5B", "nanB",   "99999999TiB", "1\nMiB"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        int64_t untouched = 42;
        cleanup_err struct err e = ERR_INIT;
        if (units_parse_size(bad[i], &untouched, &e) == 0)
            fail_msg("\"%s\" was taken", bad[i]);
        assert_int_equal(untouched, 42);
        assert_int_equal(e.code, ERR_INPUT);
        assert_non_null(strstr(err_text(&e), "expected"));
    }
}

static void what_is_formatted_reads_back_as_the_same(void **state)
{
    (void)state;
    static const int64_t values[] = {0,
                                     1,
                                     999,
                                     1000,
                                     1024,
                                     1536,
                                     1048576,
                                     1500000000,
                                     268435456,
                                     INT64_C(21474836480),
                                     INT64_C(86400000000000),
                                     INT64_C(999999999999999999),
                                     INT64_C(1) << 62};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        char buffer[32];
        units_format_size(values[i], buffer);
        assert_size(buffer, values[i]);
        units_format_duration(values[i], buffer);
        assert_duration(buffer, values[i]);
    }
}

static void the_shortest_form_is_written(void **state)
{
    (void)state;
    char buffer[32];
    assert_string_equal(units_format_size(268435456, buffer), "256MiB");
    assert_string_equal(units_format_size(1610612736, buffer), "1.5GiB");
    assert_string_equal(units_format_size(1000000, buffer), "1MB");
    assert_string_equal(units_format_size(1025, buffer), "1025B");
    assert_string_equal(units_format_duration(INT64_C(90000000000), buffer), "90s");
    assert_string_equal(units_format_duration(1500000, buffer), "1.5ms");
    assert_string_equal(units_format_duration(208000, buffer), "208us");
}

static void values_for_people_have_three_digits(void **state)
{
    (void)state;
    char buffer[32];
    assert_string_equal(units_format_value(0.000208, "s", buffer), "208 us");
    assert_string_equal(units_format_value(10.342, "s", buffer), "10.3 s");
    assert_string_equal(units_format_value(0.0996, "s", buffer), "99.6 ms");
    assert_string_equal(units_format_value(0.9999, "s", buffer), "1.00 s");
    assert_string_equal(units_format_value(0.99949, "s", buffer), "999 ms");
    assert_string_equal(units_format_value(9.996, "s", buffer), "10.0 s");
    assert_string_equal(units_format_value(1234.5, "s", buffer), "1234 s");
    assert_string_equal(units_format_value(3e-9, "s", buffer), "3.00 ns");
    assert_string_equal(units_format_value(0, "s", buffer), "0 s");
    assert_string_equal(units_format_value(-0.0015, "s", buffer), "-1.50 ms");
    assert_string_equal(units_format_value(13.5 * (1 << 20), "B", buffer), "13.5 MiB");
    assert_string_equal(units_format_value(42, "1", buffer), "42.0");
    assert_string_equal(units_format_value(INFINITY, "s", buffer), "inf s");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes_are_read_with_their_units),
        cmocka_unit_test(durations_are_read_with_their_units),
        cmocka_unit_test(what_is_no_size_is_refused_with_what_was_expected),
        cmocka_unit_test(what_is_formatted_reads_back_as_the_same),
        cmocka_unit_test(the_shortest_form_is_written),
        cmocka_unit_test(values_for_people_have_three_digits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
