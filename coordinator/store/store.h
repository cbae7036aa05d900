/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The store: one SQLite file (WAL, synchronous=FULL) written by one thread that commits in groups.
 *
 * Writes are queued from the loop's thread and answered there, after the fsync of the group they
 * were in: an answer means that it is in the file for good. Reads for reports use a connection of
 * their own. Storing is idempotent. The schema stands in schema.sql; migrations/ changes older
 * files.
 */
#ifndef COORDINATOR_STORE_STORE_H
#define COORDINATOR_STORE_STORE_H

#include "common/err.h"
#include "proto/plimsoll.pb-c.h"

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

struct store;

/* A trial is given up after so many attempts that ended with a result that is not accepted, or so
 * many that were lost with their agent: a loss says little about the trial, so more of them are
 * forgiven. */
enum { STORE_MOST_ANSWERED = 3, STORE_MOST_LOST = 6 };

/* Makes the file (0600) or brings it to this version's schema. A file of a later version is
 * ERR_INPUT, one that another process has open to write is ERR_UNAVAILABLE. */
int store_open(uv_loop_t *loop, const char *path, struct store **ret, struct err *e);
/* Commits what is queued and calls back, then closes; the loop must run once more to free the
 * handle. */
void store_close(struct store **s);

/* `e` is NULL on success. Called on the loop's thread, in the order of the writes. May be NULL.
 * After an error the write is not in the file; other writes of its group are unless the file itself
 * failed. */
typedef void store_done(void *arg, const struct err *e);

/* Every call copies what it is given. */

/* One trial of a campaign on a host, as scheduled; order is the position within the host's
 * sequence. */
struct store_trial {
    uint64_t trial; /* within the campaign, from 1 */
    uint32_t cell;
    uint32_t repetition;
    bool warmup;
    const char *host;
    uint32_t order;
};

void store_add_campaign(struct store *s, const char *id, const Plimsoll__Plan *plan,
                        int64_t submitted_ns, bool keep_failed, store_done *done, void *arg);
/* What a host said when the campaign was prepared; said again (after a restart), it replaces what
 * was said. */
struct store_host {
    const char *name;
    const char *identity; /* digest of the facts that must match */
    const char *software;
    const Plimsoll__Fingerprint *fingerprint;
    const Plimsoll__Prepared *prepared;
};
void store_add_offers(struct store *s, const char *id, const struct store_host *host,
                      store_done *done, void *arg);
/* The whole schedule in one go, with the seed it was drawn from and the number of cells x hosts
 * that are not available. The campaign is "running" with it. */
void store_add_schedule(struct store *s, const char *id, uint64_t seed, uint64_t unavailable,
                        const struct store_trial *trials, size_t n, store_done *done, void *arg);
/* More trials of a campaign that has its schedule: warm-ups on a host that took over. */
void store_add_trials(struct store *s, const char *id, const struct store_trial *trials, size_t n,
                      store_done *done, void *arg);
/* `state` as in proto Campaign, or "cancelling"; one of the last four ends the campaign. */
void store_set_state(struct store *s, const char *id, const char *state, const char *note,
                     store_done *done, void *arg);
/* The campaign goes on: "running" where it has its schedule, else "preparing"; what was given up is
 * pending. `keep_failed`: from now on, whatever was said before. */
void store_resume(struct store *s, const char *id, bool keep_failed, store_done *done, void *arg);
/* A new attempt: its lease becomes the trial's current one. */
void store_add_attempt(struct store *s, const Plimsoll__Lease *lease, const char *host,
                       store_done *done, void *arg);
/* The lease ended without a result (host gone); nothing happens where it is not the current one. */
void store_end_attempt(struct store *s, const Plimsoll__Lease *lease, const char *why,
                       store_done *done, void *arg);
/* What the host still had to do is missing: it has been gone for too long. */
void store_give_up(struct store *s, const char *id, const char *host, const char *why,
                   store_done *done, void *arg);
/* Idempotent by (agent key, spool, sequence). Accepted where the lease is the trial's current one
 * and no result was accepted before, and its outcome is good (valid, suspect; rejected will do for
 * a warm-up). One whose lease is not current is kept and marked superseded. */
void store_add_result(struct store *s, const char *agent_key, const char *host,
                      const Plimsoll__Result *result, store_done *done, void *arg);

/* Whether a result of the current lease with this outcome is accepted. */
bool store_accepts(Plimsoll__Outcome outcome, bool warmup);

/* Groups committed so far. Any thread. */
uint64_t store_commits(const struct store *s);

/* ---- Reading: any thread, a connection of its own each; see store/read.h ---- */

#endif
