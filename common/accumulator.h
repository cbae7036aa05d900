/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Mean and variance in one pass: Welford, Technometrics 4 (1962) 419. */
#ifndef COMMON_ACCUMULATOR_H
#define COMMON_ACCUMULATOR_H

#include <stddef.h>

struct accumulator {
    size_t n;
    double mean;
    double m2; /* sum of squared differences from the mean */
    double least;
    double most;
};

void accumulator_add(struct accumulator *a, double x);
/* Sample standard deviation (n - 1); NaN below two values. */
double accumulator_sd(const struct accumulator *a);

#endif
