/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "common/units.h"

#include <ctype.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

struct unit {
    const char *name;
    int64_t scale;
};

/* Largest first; where two forms are equally short the earlier one is written. */
static const struct unit sizes[] = {
    {"TiB", INT64_C(1) << 40},
    {"GiB", INT64_C(1) << 30},
    {"MiB", INT64_C(1) << 20},
    {"KiB", INT64_C(1) << 10},
    {"TB", 1000000000000},
    {"GB", 1000000000},
    {"MB", 1000000},
    {"kB", 1000},
    {"B", 1},
    {NULL, 0},
};

static const struct unit durations[] = {
    {"d", 86400000000000},
    {"h", 3600000000000},
    {"min", 60000000000},
    {"s", 1000000000},
    {"ms", 1000000},
    {"us", 1000},
    {"ns", 1},
    {NULL, 0},
};

enum { MOST_DIGITS = 24 };

/* digits / 10^decimals; 24 digits times the largest unit stay below 2^127 */
struct decimal {
    __int128 digits;
    int decimals;
};

/* Returns what follows the number, or NULL when there is none or it has too many digits to be
 * exact. */
static const char *scan_decimal(const char *text, struct decimal *ret)
{
    struct decimal d = {0, 0};
    int n_digits = 0;
    bool point = false;
    const char *at = text;
    for (; isdigit((unsigned char)*at) || (*at == '.' && !point && n_digits > 0); at++) {
        if (*at == '.') {
            point = true;
            continue;
        }
        if (++n_digits > MOST_DIGITS)
            return NULL;
        d.digits = d.digits * 10 + (*at - '0');
        d.decimals += point;
    }
    if (n_digits == 0 || at[-1] == '.')
        return NULL;
    *ret = d;
    return at;
}

static const struct unit *find_unit(const struct unit *units, const char *name)
{
    for (; units->name; units++)
        if (strcmp(units->name, name) == 0)
            return units;
    return NULL;
}

static int parse(const char *text, const struct unit *units, const char *expected, int64_t *ret,
                 struct err *e)
{
    struct decimal d;
    const char *rest = scan_decimal(text, &d);
    if (!rest)
        return err_set(e, ERR_INPUT, "expected %s, found \"%s\"", expected, text);
    while (*rest == ' ')
        rest++;
    if (*rest == '\0')
        return err_set(e, ERR_INPUT, "\"%s\" lacks its unit; expected %s", text, expected);
    const struct unit *unit = find_unit(units, rest);
    if (!unit)
        return err_set(e, ERR_INPUT, "unknown unit \"%s\" in \"%s\"; expected %s", rest, text,
                       expected);
    __int128 scaled = d.digits * unit->scale;
    for (int i = 0; i < d.decimals; i++) {
        if (scaled % 10 != 0)
            return err_set(e, ERR_INPUT, "\"%s\" is no whole number of %s; expected one", text,
                           units == sizes ? "bytes" : "nanoseconds");
        scaled /= 10;
    }
    if (scaled > INT64_MAX)
        return err_set(e, ERR_INPUT, "\"%s\" is too large; expected at most %lld%s", text,
                       (long long)(INT64_MAX / units->scale), units->name);
    *ret = (int64_t)scaled;
    return 0;
}

int units_parse_size(const char *text, int64_t *ret_bytes, struct err *e)
{
    return parse(text, sizes,
                 "a size with its unit (B, kB, KiB, MB, MiB, GB, GiB, TB, TiB), as \"256MiB\"",
                 ret_bytes, e);
}

int units_parse_duration(const char *text, int64_t *ret_ns, struct err *e)
{
    return parse(text, durations,
                 "a duration with its unit (ns, us, ms, s, min, h, d), as \"1.5s\"", ret_ns, e);
}

/* Writes count/unit exactly, or returns false when it takes more than three decimals. */
static bool format_exact(int64_t count, const struct unit *unit, char *buffer)
{
    int64_t whole = count / unit->scale;
    __int128 rest = (__int128)(count % unit->scale) * 1000;
    if (whole == 0 || rest % unit->scale != 0)
        return false;
    int thousandths = (int)(rest / unit->scale);
    int n = snprintf(buffer, 32, "%lld.%03d", (long long)whole, thousandths);
    while (buffer[n - 1] == '0')
        n--;
    if (buffer[n - 1] == '.')
        n--;
    snprintf(buffer + n, 32 - (size_t)n, "%s", unit->name);
    return true;
}

static const char *format(int64_t count, const struct unit *units, const char *zero, char *buffer)
{
    char draft[32];
    snprintf(buffer, 32, "%s", zero);
    bool found = false;
    for (; units->name; units++) {
        if (!format_exact(count, units, draft) || (found && strlen(draft) >= strlen(buffer)))
            continue;
        memcpy(buffer, draft, sizeof draft);
        found = true;
    }
    return buffer;
}

const char *units_format_size(int64_t bytes, char *buffer)
{
    return format(bytes, sizes, "0B", buffer);
}

const char *units_format_duration(int64_t ns, char *buffer)
{
    return format(ns, durations, "0s", buffer);
}

/* Three significant digits without an exponent; more before the point where there are more. */
static void format_three(double value, char *buffer)
{
    double size = fabs(value);
    int decimals = size >= 99.95 || size == 0 ? 0 : size >= 9.995 ? 1 : size >= 0.9995 ? 2 : 3;
    if (!isfinite(size) || size >= 1e15)
        snprintf(buffer, 24, "%.3g", value);
    else
        snprintf(buffer, 24, "%.*f", decimals, value);
}

static double seconds_for_people(double seconds, const char **ret_unit)
{
    static const struct {
        double from, scale;
        const char *name;
    } steps[] = {{0.9995, 1, "s"}, {0.9995e-3, 1e3, "ms"}, {0.9995e-6, 1e6, "us"}, {0, 1e9, "ns"}};
    double size = fabs(seconds);
    size_t i = 0;
    while (size > 0 && size < steps[i].from)
        i++;
    *ret_unit = steps[i].name;
    return seconds * steps[i].scale;
}

const char *units_format_value(double value, const char *unit, char *buffer)
{
    const char *shown = unit;
    if (strcmp(unit, "s") == 0) {
        value = seconds_for_people(value, &shown);
    } else if (strcmp(unit, "B") == 0) {
        value /= 1 << 20;
        shown = "MiB";
    } else if (strcmp(unit, "1") == 0) {
        shown = "";
    }
    char number[24];
    format_three(value, number);
    snprintf(buffer, 32, "%s%s%.7s", number, *shown ? " " : "", shown);
    return buffer;
}
