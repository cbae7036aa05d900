/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "common/accumulator.h"

#include <math.h>

void accumulator_add(struct accumulator *a, double x)
{
    if (a->n == 0 || x < a->least)
        a->least = x;
    if (a->n == 0 || x > a->most)
        a->most = x;
    a->n++;
    double from_old = x - a->mean;
    a->mean += from_old / (double)a->n;
    a->m2 += from_old * (x - a->mean);
}

double accumulator_sd(const struct accumulator *a)
{
    return a->n < 2 ? (double)NAN : sqrt(a->m2 / (double)(a->n - 1));
}
