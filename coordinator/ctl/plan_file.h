/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A plan file for a verb: loaded, flattened, read in a child with limits, its faults told. */
#ifndef COORDINATOR_CTL_PLAN_FILE_H
#define COORDINATOR_CTL_PLAN_FILE_H

#include "coordinator/ctl/verb.h"
#include "coordinator/plan/plan.h"

struct plan_file {
    struct plan_source *source;
    Plimsoll__PlanReading *reading;
    const Plimsoll__Plan *plan; /* of the reading */
};

/* EXIT_GOOD, or what to exit with; errors and warnings are on standard error then. To be cleared in
 * both cases. */
int plan_file_read(const char *path, struct plan_file *ret);
void plan_file_clear(struct plan_file *f);

/* The request that sends it. Points into the file, which must outlive it. */
void plan_file_submit(const struct plan_file *f, Plimsoll__Submit *ret);

/* "FILE:LINE: text" of what a coordinator or reader answered, to standard error. */
void plan_file_tell(Plimsoll__Diagnostic *const *items, size_t n);

#endif
