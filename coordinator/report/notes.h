/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What a report's words go by, in every form: which facts come first, what to warn of. */
#ifndef COORDINATOR_REPORT_NOTES_H
#define COORDINATOR_REPORT_NOTES_H

#include "coordinator/report/model.h"

/* Visits all groups in the plan's order. */
#define FOR_GROUPS(m, g)                                                                           \
    for (size_t cell_ = 0; cell_ < (m)->plan->n_cells; cell_++)                                    \
        for (const struct report_group *g = (m)->cells[cell_]; g; g = g->next)

/* A group in words: its cell, and its accelerator where it has one. The caller frees. */
char *report_group_words(const struct report_model *m, const struct report_group *g);
bool report_is_emulated(const struct report_group *g);
bool report_has_emulated(const struct report_model *m);
/* The fewest and the most attempts that were rejected in a group. */
void report_rejected(const struct report_model *m, unsigned *ret_least, unsigned *ret_most);
/* What a reader compares first of a host; everything is in the json report. */
bool report_fact_is_telling(const Plimsoll__Fact *f);
/* Whether all groups that have conditions have this one, and no other value for its key. */
bool report_condition_is_common(const struct report_model *m, const struct report_condition *c);

#endif
