/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "coordinator/report/axis.h"

#include <math.h>
#include <string.h>

enum { LOGARITHMIC_FROM = 20, INTERVALS = 4, LABELS_MOST = 6 };

struct scale {
    double of; /* one of this in the unit */
    const char *name;
};

static const struct scale times[] = {{1, "s"}, {1e-3, "ms"}, {1e-6, "us"}, {1e-9, "ns"}};
static const struct scale sizes[] = {
    {1099511627776.0, "TiB"}, {1073741824.0, "GiB"}, {1048576.0, "MiB"}, {1024.0, "KiB"}, {1, "B"}};
static const struct scale plain[] = {{1, ""}};

/* The largest that is not more than the value. */
static struct scale scale_for(double value, const char *unit)
{
    bool time = strcmp(unit, "s") == 0;
    bool size = strcmp(unit, "B") == 0;
    const struct scale *all = time ? times : size ? sizes : plain;
    size_t n = time ? sizeof times / sizeof *times : size ? sizeof sizes / sizeof *sizes : 1;
    for (size_t i = 0; i + 1 < n; i++)
        if (fabs(value) >= all[i].of * (1 - 1e-9))
            return all[i];
    return all[n - 1];
}

struct axis axis_of(double least, double most, const char *unit)
{
    struct axis a = {.unit = unit};
    a.logarithmic = least > 0 && most / least > LOGARITHMIC_FROM;
    if (a.logarithmic) {
        double margin = pow(most / least, 0.03);
        a.low = least / margin;
        a.high = most * margin;
        return a;
    }
    double margin = most > least ? (most - least) * 0.05 : fabs(most) * 0.1 + (most == 0);
    a.low = least - margin;
    a.high = most + margin;
    return a;
}

static void put_tick(double at, struct scale s, bool first, FILE *out)
{
    fprintf(out, "%s\"%.6g%s%s\" %.17g", first ? "" : ", ", at / s.of, *s.name ? " " : "", s.name,
            at);
}

/* Powers of ten, and twice and five times each where that are few. */
static void logarithmic_ticks(const struct axis *a, FILE *out)
{
    static const double between[] = {1, 2, 5};
    double decades = log10(a->high / a->low);
    unsigned per_decade = decades < 2 ? 3 : 1;
    int step = decades > LABELS_MOST ? (int)ceil(decades / LABELS_MOST) : 1;
    bool first = true;
    for (int power = (int)floor(log10(a->low)); power <= (int)ceil(log10(a->high)); power++) {
        for (unsigned i = 0; i < per_decade; i++) {
            double at = between[i] * pow(10, power);
            if (power % step != 0 || at < a->low || at > a->high)
                continue;
            put_tick(at, scale_for(at, a->unit), first, out);
            first = false;
        }
    }
}

/* 1, 2 or 5 times a power of ten (in the scale's own unit), some four of them in the range. */
static double step_of(double range)
{
    double rough = range / INTERVALS;
    double power = pow(10, floor(log10(rough)));
    double left = rough / power;
    return power * (left > 5 ? 10 : left > 2 ? 5 : left > 1 ? 2 : 1);
}

static void linear_ticks(const struct axis *a, FILE *out)
{
    struct scale s = scale_for(fmax(fabs(a->low), fabs(a->high)), a->unit);
    double step = step_of((a->high - a->low) / s.of) * s.of;
    bool first = true;
    for (double n = ceil(a->low / step); n * step <= a->high; n++) {
        put_tick(n * step, s, first, out);
        first = false;
    }
}

void axis_script(const struct axis *a, FILE *out)
{
    fprintf(out, "%s\nset xrange [%.17g:%.17g]\nset xtics nomirror scale 0 (",
            a->logarithmic ? "set logscale x" : "unset logscale", a->low, a->high);
    if (a->logarithmic)
        logarithmic_ticks(a, out);
    else
        linear_ticks(a, out);
    fputs(") textcolor rgb '#000002'\n", out);
}
