/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Sizes and durations as people write them. */
#ifndef COMMON_UNITS_H
#define COMMON_UNITS_H

#include "common/err.h"

#include <stdint.h>

/* "256MiB", "20GiB", "64kB", "0B" -> bytes. A unit is required; fractions are allowed where the
 * result is a whole number of bytes. ERR_INPUT names what was expected. */
int units_parse_size(const char *text, int64_t *ret_bytes, struct err *e);

/* "1.5s", "20ms", "3min", "250us", "5h", "2d" -> ns. A unit is required. */
int units_parse_duration(const char *text, int64_t *ret_ns, struct err *e);

/* The shortest of the forms above that says exactly this many; the buffer must hold 32 bytes. */
const char *units_format_size(int64_t bytes, char *buffer);
const char *units_format_duration(int64_t ns, char *buffer);

/* For people, three significant digits: 0.000208 s -> "208 us", 10.342 s -> "10.3 s", bytes in MiB.
 * `unit` is a sample's; the buffer must hold 32 bytes. */
const char *units_format_value(double value, const char *unit, char *buffer);

#endif
