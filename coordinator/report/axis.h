/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The value axis of a figure: its range, whether it is logarithmic, and its labelled ticks. */
#ifndef COORDINATOR_REPORT_AXIS_H
#define COORDINATOR_REPORT_AXIS_H

#include <stdbool.h>
#include <stdio.h>

struct axis {
    double low, high; /* of what is shown, a margin included */
    bool logarithmic; /* where the greatest value is more than 20 times the least */
    const char *unit; /* a sample's: "s", "B", "1" */
};

/* For values from least to most, both finite. */
struct axis axis_of(double least, double most, const char *unit);
/* As gnuplot's commands for x. */
void axis_script(const struct axis *a, FILE *out);

#endif
