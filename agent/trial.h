/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * One trial: a guest is made, measured and removed. Runs on the trial thread and blocks.
 *
 * Always ends in a result: valid or suspect with samples, failed with a reason and the guest's
 * words, or cancelled. Whatever happens the guest is gone afterwards, unless a failed one is to be
 * kept.
 */
#ifndef AGENT_TRIAL_H
#define AGENT_TRIAL_H

#include "agent/channel.h"
#include "agent/host/host.h"
#include "common/err.h"
#include "proto/plimsoll.pb-c.h"

#include <stddef.h>

/* Guests that were left up for a look, with what they refer to. */
struct kept_guest;

struct bench {
    struct host *host; /* borrowed, as everything here */
    struct stamper *stamper;
    const char *runner_digest; /* "sha256:...", "" where there is no runner */
    /* A stage of the assignment begins, "prepare": called on the trial thread, never within the
     * timed window. May be NULL. */
    void (*stage)(void *arg, const Plimsoll__Lease *lease, const char *stage);
    void *arg;
    struct kept_guest *kept; /* newest first */
};

/* Takes the assignment. `cancel_fd` is an eventfd or -1. The result has no spool name yet; free it
 * with plimsoll__result__free_unpacked. */
Plimsoll__Result *trial_run(struct bench *b, Plimsoll__Assign **assign, int cancel_fd);

/* A result without a trial: `outcome` and why. */
Plimsoll__Result *trial_result(const Plimsoll__Lease *lease, bool warmup, Plimsoll__Outcome outcome,
                               const char *reason);

size_t bench_kept(const struct bench *b);
/* Lets go of the kept guests without removing them: only a sweep will. */
void bench_forget_kept(struct bench *b);

/* Which CPU guests are confined to: always the same one, and the last, since the first handles most
 * of a host's interrupts. */
int bench_cpu(const struct bench *b);

#endif
