/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "coordinator/stats/stats.h"

#include <gsl/gsl_cdf.h>
#include <gsl/gsl_sort.h>
#include <limits.h>
#include <math.h>

static const struct stats_interval no_interval = {(double)NAN, (double)NAN};

struct stats_interval stats_mean_interval(const struct accumulator *a, double confidence)
{
    if (a->n < 2)
        return no_interval;
    double t = gsl_cdf_tdist_Pinv((1 + confidence) / 2, (double)(a->n - 1));
    double half = t * accumulator_sd(a) / sqrt((double)a->n);
    return (struct stats_interval){a->mean - half, a->mean + half};
}

double stats_median(const double *sorted, size_t n)
{
    if (n == 0)
        return (double)NAN;
    double upper = sorted[n / 2];
    return n % 2 == 1 ? upper : (sorted[n / 2 - 1] + upper) / 2;
}

/* The largest r with P(Binomial(n, 1/2) < r) <= tail, by bisection: the distribution rises in r. */
static unsigned median_rank(unsigned n, double tail)
{
    unsigned good = 0;
    unsigned bad = n / 2 + 1;
    while (bad - good > 1) {
        unsigned r = good + (bad - good) / 2;
        if (gsl_cdf_binomial_P(r - 1, 0.5, n) <= tail)
            good = r;
        else
            bad = r;
    }
    return good;
}

struct stats_interval stats_median_interval(const double *sorted, size_t n, double confidence)
{
    if (n == 0 || n > UINT_MAX)
        return no_interval;
    unsigned r = median_rank((unsigned)n, (1 - confidence) / 2);
    return r == 0 ? no_interval : (struct stats_interval){sorted[r - 1], sorted[n - r]};
}

void stats_summarise(double *values, size_t n, double confidence, struct stats_summary *ret)
{
    struct accumulator a = {0};
    for (size_t i = 0; i < n; i++)
        accumulator_add(&a, values[i]);
    gsl_sort(values, 1, n);
    *ret = (struct stats_summary){
        .n = n,
        .mean = n ? a.mean : (double)NAN,
        .sd = accumulator_sd(&a),
        .median = stats_median(values, n),
        .least = n ? a.least : (double)NAN,
        .most = n ? a.most : (double)NAN,
        .mean_interval = stats_mean_interval(&a, confidence),
        .median_interval = stats_median_interval(values, n, confidence),
    };
}

double stats_ratio(double ours, double theirs)
{
    return theirs == 0 || !isfinite(theirs) || !isfinite(ours) ? (double)NAN : ours / theirs;
}
