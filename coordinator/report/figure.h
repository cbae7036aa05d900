/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The figures of the HTML report, drawn by gnuplot; each is a <figure> with a caption that says
 * what the marks are, and how many of the samples are drawn. */
#ifndef COORDINATOR_REPORT_FIGURE_H
#define COORDINATOR_REPORT_FIGURE_H

#include "common/catalog/catalog.h"
#include "coordinator/report/model.h"

#include <stdio.h>

/* Of one report. Once a figure failed none is tried again, and the reason stands in its place. */
struct figures {
    const struct report_model *m;
    FILE *out;
    unsigned drawn;
    bool failed;
};

/* Every sample as a dot, medians with their intervals, published values; by arm. */
void figure_samples(struct figures *f, const char *experiment, const struct metric_row *row);
/* Which part of the values is at most so large, by arm. */
void figure_distribution(struct figures *f, const char *experiment, const struct metric_row *row);
/* Medians of the phases of a start as bars, by arm; nothing where the experiment measured none. */
void figure_phases(struct figures *f, const char *experiment);

#endif
