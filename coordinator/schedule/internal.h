/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The schedule's own structures; private to it. */
#ifndef COORDINATOR_SCHEDULE_INTERNAL_H
#define COORDINATOR_SCHEDULE_INTERNAL_H

#include "common/accumulator.h"
#include "coordinator/schedule/schedule.h"

struct numbers {
    uint32_t *item; /* indices of trials */
    size_t n, capacity;
};

struct worker {
    char *name;
    char *identity;
    Plimsoll__Prepared *prepared;
    const Plimsoll__Offer **offers; /* by cell; NULL: said nothing */
    struct numbers trials;          /* all that were ever its own, by position */
    bool works;
};

struct schedule {
    const Plimsoll__Plan *plan;
    struct worker *hosts;
    size_t n_hosts;
    struct trial *trials; /* trial number n stands at n - 1 */
    size_t n_trials, capacity;
    struct accumulator *seen; /* by cell: durations in s */
    uint32_t *like;           /* by cell: the first cell with its guest */
    uint64_t failed, rejected;
};

/* Whether the host can run the cell. */
bool schedule_offers(const struct schedule *s, uint32_t host, uint32_t cell);
/* Repetitions of the cell at the accelerator the host offers. */
uint32_t schedule_repeat(const struct schedule *s, uint32_t host, uint32_t cell);
/* Appends; the number is set. */
int schedule_append(struct schedule *s, struct trial t, struct err *e);

#endif
