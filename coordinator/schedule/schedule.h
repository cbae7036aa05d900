/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The order of a campaign's trials and what became of each: no input or output, no clock of its
 * own.
 *
 * Order. Each host has a sequence of its own (the hosts are the blocks), drawn from (seed, host's
 * name). First come the warm-ups, shuffled, so that no counted trial is the one right after its own
 * warm-up. Then the counted trials: repetition k of the n of a cell is placed at (k + u) / n of the
 * run, u uniform in [0, 1). With equal n that is a randomised complete block design in time (each
 * round holds every cell once, shuffled); with unequal n each cell is still spread evenly over the
 * whole run, so a drift of the host meets all cells alike. `design.order = "listed"`: cell by cell,
 * warm-ups first.
 *
 * A trial: pending -lease-> leased -answer-> accepted | pending | given up; -lose-> pending | given
 * up. What must be tried again comes after everything that was not tried yet: what spoilt it may
 * have passed by then.
 *
 * hosts.use = "all": each host runs each cell. "any": the largest group of identical hosts shares
 * the cells out, a cell to one host, and takes over the cells of a host that is gone.
 */
#ifndef COORDINATOR_SCHEDULE_SCHEDULE_H
#define COORDINATOR_SCHEDULE_SCHEDULE_H

#include "common/err.h"
#include "proto/plimsoll.pb-c.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum trial_state { TRIAL_PENDING, TRIAL_LEASED, TRIAL_ACCEPTED, TRIAL_GIVEN_UP };

struct trial {
    uint64_t number;     /* within the campaign, from 1 */
    uint32_t cell;       /* index in the plan's cells */
    uint32_t repetition; /* from 0, within cell and host, warm-ups counted apart */
    bool warmup;
    uint32_t host;     /* index in the schedule's hosts */
    uint32_t position; /* in the host's order, from 0 */

    enum trial_state state;
    uint32_t attempts; /* in all */
    uint32_t answered; /* attempts that ended with a result that is not accepted */
    uint32_t lost;     /* attempts that ended without a result */
    uint64_t lease;    /* while leased */
    int64_t leased_ns; /* monotonic, while leased */
    char *reason;      /* of the last attempt that did not do; NULL: none */
};

/* A host as it answered Prepare. Everything is copied. */
struct schedule_host {
    const char *name;
    const char *identity;
    const Plimsoll__Prepared *prepared;
};

struct schedule_counts {
    uint64_t trials, accepted, given_up, leased;
    uint64_t failed, rejected; /* attempts seen by this schedule or restored */
    uint64_t unavailable; /* cells x hosts; under "any" cells that no host of the group offers */
};

struct schedule;

/* No trials yet. `plan` is borrowed and must outlive it. The hosts must be in order of their names.
 */
int schedule_new(const Plimsoll__Plan *plan, const struct schedule_host *hosts, size_t n_hosts,
                 struct schedule **ret, struct err *e);
void schedule_free(struct schedule **s);

/* Draws all trials; numbers follow the hosts' order and then the position. ERR_UNAVAILABLE with all
 * reasons in short where no host can run any cell. */
int schedule_draw(struct schedule *s, struct err *e);
/* Adds a trial that was drawn before, when a campaign is taken up again. In order of the numbers.
 */
int schedule_restore(struct schedule *s, const struct trial *t, struct err *e);
/* How many trials a schedule may have: more is a plan's mistake. */
enum { SCHEDULE_MOST_TRIALS = 200000 };

const struct trial *schedule_trials(const struct schedule *s, size_t *ret_n);
const struct trial *schedule_find(const struct schedule *s, uint64_t number);
size_t schedule_n_hosts(const struct schedule *s);
const char *schedule_host_name(const struct schedule *s, uint32_t host);
/* -1 where the host takes no part. */
int schedule_host_index(const struct schedule *s, const char *name);
/* Whether it shares the work: under "any" only the hosts of the largest group do. */
bool schedule_host_works(const struct schedule *s, uint32_t host);
/* The host's offer for a cell; NULL where it said nothing about it. */
const Plimsoll__Offer *schedule_offer(const struct schedule *s, uint32_t host, uint32_t cell);

/* What the host should do next; NULL: nothing now. */
const struct trial *schedule_next(const struct schedule *s, uint32_t host);
/* The number of the attempt. The trial must be pending. */
uint32_t schedule_lease(struct schedule *s, uint64_t number, uint64_t lease, int64_t now_ns);
/* False where the lease is not the trial's current one: nothing happens then. */
bool schedule_answer(struct schedule *s, uint64_t number, uint64_t lease, Plimsoll__Outcome outcome,
                     const char *reason, int64_t now_ns);
bool schedule_lose(struct schedule *s, uint64_t number, uint64_t lease, const char *why);
/* The trial the host holds; NULL: none. */
const struct trial *schedule_held(const struct schedule *s, uint32_t host);

/* Gives up what is pending on a host. Returns how many trials. */
size_t schedule_give_up(struct schedule *s, uint32_t host, const char *why);
/* Moves what is pending on a host that is gone to identical hosts that are not (`alive`, by index),
 * cell by cell, with warm-ups of their own; those are new trials, numbered from the count before
 * on. Only under "any", else nothing moves. Returns how many trials moved. */
size_t schedule_move(struct schedule *s, uint32_t from, const bool *alive);
/* Cancelled or failed trials may be tried anew: as store_resume does. */
void schedule_forgive(struct schedule *s);

bool schedule_is_over(const struct schedule *s);
/* Whether a host has trials that are pending. */
bool schedule_has_work(const struct schedule *s, uint32_t host);
struct schedule_counts schedule_counts(const struct schedule *s);

/* One attempt took so long; for what is left. */
void schedule_saw(struct schedule *s, uint32_t cell, int64_t duration_ns);
/* Until the last host is done, from what trials of the cell (of its guest, of any) took so far; 0:
 * unknown. */
int64_t schedule_left_ns(const struct schedule *s, int64_t now_ns);

#endif
