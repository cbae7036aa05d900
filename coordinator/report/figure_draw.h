/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the figures share: their arms, their script's frame, and drawing it. */
#ifndef COORDINATOR_REPORT_FIGURE_DRAW_H
#define COORDINATOR_REPORT_FIGURE_DRAW_H

#include "coordinator/report/figure.h"

enum {
    FIGURE_ARMS_MOST = 24,
    FIGURE_VALUES_MOST = 4000, /* drawn in a figure */
    FIGURE_LABEL_BYTES = 64,
    /* of style.css's --kN */
    INK = 1,
    INK_SOFT = 2,
    INK_ARMS = 10,
    INK_PHASES = 30,
    ARM_INKS = 8,
};

struct figure_arm {
    const struct report_group *group;
    const struct report_metric *metric;
    char *label;
};

/* The groups of an experiment that have values of a metric. */
struct figure_arms {
    struct figure_arm items[FIGURE_ARMS_MOST];
    size_t n;
    size_t beyond; /* arms that found no room */
    size_t values; /* of all items */
    double least, most;
};

void figure_arms_find(const struct report_model *m, const char *experiment, const char *metric,
                      struct figure_arms *ret);
void figure_arms_clear(struct figure_arms *arms);
unsigned figure_arm_ink(size_t arm);
/* How many of an arm's values are drawn. */
size_t figure_share(const struct figure_arms *arms, const struct figure_arm *arm);
/* Of `n` sorted values the place of the i-th of `drawn`, the least and the greatest among them. */
size_t figure_place(size_t i, size_t drawn, size_t n);

/* A script in memory; figure_begin writes its frame, figure_end draws and frees it. */
struct figure {
    FILE *script;
    char *text;
    size_t length;
    const char *texts[3 * FIGURE_ARMS_MOST]; /* of the marks; borrowed */
    size_t n_texts;
};

/* `height` in the units of the viewBox, which is 480 wide; `rows` is how far y reaches, from 0. */
void figure_begin(struct figure *fig, const struct figures *f, double height, double rows);
/* The mark of a text. */
size_t figure_text(struct figure *fig, const char *text);
/* Draws, and leaves a <figure> open for its key and caption. False, and the reason in its place,
 * where that failed. */
bool figure_end(struct figure *fig, struct figures *f, const char *title);
/* An item of a key to colours. */
void figure_key_entry(struct figures *f, unsigned ink, const char *text);

#endif
