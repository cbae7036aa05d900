/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Certified values: NIST StRD "Numerical Accuracy" sets, NIST/SEMATECH e-Handbook 1.3.5.2 (ZARR13),
 * Student's sleep data (Biometrika 6, 1908), Conover's table of ranks.
 */
#include "coordinator/stats/stats.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void assert_near(double got, double wanted, double tolerance)
{
    if (!(fabs(got - wanted) <= tolerance))
        fail_msg("got %.17g, wanted %.17g within %g", got, wanted, tolerance);
}

/* StRD's sets: `first`, then first - 0.1 and first + 0.1 alternating, 1001 values in all. */
static void check_alternating(double first)
{
    double values[1001] = {first};
    for (size_t i = 1; i < 1001; i++)
        values[i] = i % 2 ? first - 0.1 : first + 0.1;
    struct stats_summary s;
    stats_summarise(values, 1001, 0.95, &s);
    assert_near(s.mean, first, 1e-9 * first);
    assert_near(s.sd, 0.1, 1e-7);
    assert_near(s.median, first, 0);
}

static void mean_and_deviation_keep_their_digits_far_from_zero(void **state)
{
    (void)state;
    double one[] = {10000001, 10000003, 10000002};
    struct stats_summary s;
    stats_summarise(one, 3, 0.95, &s);
    assert_near(s.mean, 10000002, 0);
    assert_near(s.sd, 1, 1e-15);
    check_alternating(1.2);
    check_alternating(1000000.2);
    check_alternating(10000000.2);
}

static void t_interval_is_that_of_the_handbook(void **state)
{
    (void)state;
    struct accumulator a = {.n = 195, .mean = 9.261460, .m2 = 0.022789 * 0.022789 * 194};
    struct stats_interval i = stats_mean_interval(&a, 0.95);
    assert_near(i.low, 9.258242, 1e-6);
    assert_near(i.high, 9.264679, 1e-6);
}

static void t_interval_is_that_of_students_own_data(void **state)
{
    (void)state;
    double more_sleep[] = {1.2, 2.4, 1.3, 1.3, 0, 1.0, 1.8, 0.8, 4.6, 1.4};
    struct stats_summary s;
    stats_summarise(more_sleep, 10, 0.95, &s);
    assert_near(s.mean, 1.58, 1e-12);
    assert_near(s.sd, 1.229995, 1e-6);
    assert_near(s.median, 1.3, 1e-12);
    assert_near(s.mean_interval.low, 0.7001142, 1e-7);
    assert_near(s.mean_interval.high, 2.4598858, 1e-7);
    assert_near(s.least, 0, 0);
    assert_near(s.most, 4.6, 0);
}

static void t_interval_widens_with_confidence(void **state)
{
    (void)state;
    struct accumulator a = {.n = 2, .mean = 0, .m2 = 1};
    /* t(0.975, 1) = 12.7062, t(0.995, 1) = 63.6567; sd / sqrt(n) = 1 / sqrt(2) */
    assert_near(stats_mean_interval(&a, 0.95).high, 12.7062047 / sqrt(2), 1e-6);
    assert_near(stats_mean_interval(&a, 0.99).high, 63.6567412 / sqrt(2), 1e-6);
}

static void what_does_not_exist_is_no_number(void **state)
{
    (void)state;
    struct stats_summary s;
    stats_summarise(NULL, 0, 0.95, &s);
    assert_int_equal(s.n, 0);
    assert_true(isnan(s.mean) && isnan(s.sd) && isnan(s.median) && isnan(s.least));
    double one[] = {3};
    stats_summarise(one, 1, 0.95, &s);
    assert_near(s.mean, 3, 0);
    assert_near(s.median, 3, 0);
    assert_true(isnan(s.sd) && isnan(s.mean_interval.low) && isnan(s.median_interval.high));
    assert_true(isnan(stats_ratio(1, 0)) && isnan(stats_ratio((double)NAN, 1)));
    assert_near(stats_ratio(3, 2), 1.5, 0);
}

static void median_interval_takes_the_published_ranks(void **state)
{
    (void)state;
    /* n, rank at 0.95: sign-test tables, for example Conover's. */
    static const unsigned table[][2] = {{5, 0},  {6, 1},  {8, 1},   {9, 2},  {10, 2},
                                        {20, 6}, {25, 8}, {30, 10}, {50, 18}};
    double sorted[50];
    for (size_t i = 0; i < 50; i++)
        sorted[i] = (double)(i + 1);
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        unsigned n = table[i][0];
        struct stats_interval interval = stats_median_interval(sorted, n, 0.95);
        if (table[i][1] == 0) {
            assert_true(isnan(interval.low));
            continue;
        }
        assert_near(interval.low, table[i][1], 0);
        assert_near(interval.high, n + 1 - table[i][1], 0);
    }
}

static void median_does_not_depend_on_the_order(void **state)
{
    (void)state;
    double values[] = {9, 1, 8, 2};
    struct stats_summary s;
    stats_summarise(values, 4, 0.95, &s);
    assert_near(s.median, 5, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mean_and_deviation_keep_their_digits_far_from_zero),
        cmocka_unit_test(t_interval_is_that_of_the_handbook),
        cmocka_unit_test(t_interval_is_that_of_students_own_data),
        cmocka_unit_test(t_interval_widens_with_confidence),
        cmocka_unit_test(what_does_not_exist_is_no_number),
        cmocka_unit_test(median_interval_takes_the_published_ranks),
        cmocka_unit_test(median_does_not_depend_on_the_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
