/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What a report says of a set of numbers. Pure: no input, no output, no memory of its own; the
 * distributions are GSL's.
 *
 * A figure that does not exist (the deviation of one value, an interval of too few) is NaN, never
 * 0.
 */
#ifndef COORDINATOR_STATS_STATS_H
#define COORDINATOR_STATS_STATS_H

#include "common/accumulator.h"

#include <stddef.h>

struct stats_interval {
    double low;
    double high;
};

struct stats_summary {
    size_t n;
    double mean;
    double sd; /* of the sample, divisor n - 1 */
    double median;
    double least;
    double most;
    struct stats_interval mean_interval;   /* Student's t */
    struct stats_interval median_interval; /* from order statistics, without a distribution */
};

/* Two-sided Student's t interval of the mean, mean -+ t((1 + confidence) / 2, n - 1) sd / sqrt(n):
 * Student, Biometrika 6 (1908) 1; NIST/SEMATECH e-Handbook 1.3.5.2. NaN below two values.
 * `confidence` is in (0, 1). */
struct stats_interval stats_mean_interval(const struct accumulator *a, double confidence);

/* Of n values sorted ascending: the middle one, or the mean of the middle two. NaN of none. */
double stats_median(const double *sorted, size_t n);

/* Of n values sorted ascending: from the r-th smallest to the r-th largest, with the largest r for
 * which P(Binomial(n, 1/2) < r) is at most (1 - confidence) / 2, so that it covers the median at
 * least as often as asked whatever the distribution: Conover, Practical Nonparametric
 * Statistics, 3.2. NaN where no such r exists (below 6 values at 0.95). */
struct stats_interval stats_median_interval(const double *sorted, size_t n, double confidence);

/* All of the above. Sorts `values` in place. */
void stats_summarise(double *values, size_t n, double confidence, struct stats_summary *ret);

/* Ours over theirs. NaN where either is no number or theirs is 0. */
double stats_ratio(double ours, double theirs);

#endif
