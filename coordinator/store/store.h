/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The store: one SQLite file (WAL, synchronous=FULL) written by one thread that commits in groups.
 *
 * Writes are queued from the loop's thread and answered there, after the fsync of the group they were in:
 * an answer means that it is in the file for good. Reads for reports use a connection of their own.
 * Storing is idempotent. The schema stands in schema.sql; migrations/ changes older files.
 */
#ifndef COORDINATOR_STORE_STORE_H
#define COORDINATOR_STORE_STORE_H

#include "common/err.h"
#include "proto/plimsoll.pb-c.h"

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

struct store;

int store_open(uv_loop_t *loop, const char *path, struct store **ret, struct err *e);
/* Commits what is queued, then closes. */
void store_close(struct store **s);

/* `e` is NULL on success. Called on the loop's thread, in the order of the writes. */
typedef void store_done(void *arg, const struct err *e);

/* One trial of a campaign on a host, as scheduled; order is the position within the host's sequence. */
struct store_trial {
    uint64_t trial;           /* within the campaign, from 1 */
    uint32_t cell;
    uint32_t repetition;
    bool warmup;
    const char *host;
    uint32_t order;
};

void store_add_campaign(struct store *s, const char *id, const Plimsoll__Plan *plan,
                        int64_t submitted_ns, bool keep_failed, store_done *done, void *arg);
void store_add_offers(struct store *s, const char *id, const char *host,
                      const Plimsoll__Fingerprint *fingerprint, const Plimsoll__Prepared *prepared,
                      store_done *done, void *arg);
/* The whole schedule in one go, with the seed it was drawn from. */
void store_add_schedule(struct store *s, const char *id, uint64_t seed,
                        const struct store_trial *trials, size_t n, store_done *done, void *arg);
void store_set_state(struct store *s, const char *id, const char *state, const char *note,
                     store_done *done, void *arg);
/* A new attempt: its lease becomes the trial's current one. */
void store_add_attempt(struct store *s, const Plimsoll__Lease *lease, const char *host,
                       store_done *done, void *arg);
/* The current lease ended without a result (host gone). */
void store_end_attempt(struct store *s, const Plimsoll__Lease *lease, const char *why,
                       store_done *done, void *arg);
/* Idempotent by (agent key, spool, sequence). Accepted where the lease is the trial's current one and no
 * result was accepted before; else kept and marked superseded. */
void store_add_result(struct store *s, const char *agent_key, const char *host,
                      const Plimsoll__Result *result, store_done *done, void *arg);

/* ---- Reading: any thread, a connection of its own each; see store/read.h ---- */

#endif
