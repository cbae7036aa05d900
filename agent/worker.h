/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The trial thread and the queue before it. What it has to say comes back as events on the loop's
 * thread.
 *
 * A trial's result is in the spool before the loop hears of it. When the spool cannot take it (the
 * disk is full), the thread keeps it, says so, and tries again until it can: nothing else is begun
 * meanwhile.
 */
#ifndef AGENT_WORKER_H
#define AGENT_WORKER_H

#include "agent/spool.h"
#include "agent/trial.h"
#include "common/err.h"

#include <stdbool.h>
#include <uv.h>

struct worker;

struct worker_events {
    /* All on the loop's thread; what they are given is freed after the call. */
    void (*stage)(void *arg, const Plimsoll__Lease *lease, const char *stage);
    void (*prepared)(void *arg, const Plimsoll__Prepared *prepared);
    /* A result is in the spool. */
    void (*spooled)(void *arg);
    /* After worker_quit: the thread is done. */
    void (*ended)(void *arg);
};

/* Whether the spool holds a result of this very attempt. Reads results until it is found. */
bool worker_has_result(struct spool *s, const Plimsoll__Lease *lease);

/* At start, before worker_start: a trial that ran when an earlier life was killed has failed, and
 * its lease gets a result that says so. */
int worker_recover(const struct host *h, struct spool *s, struct err *e);

/* `bench->stage` is taken over. The spool is appended to by this thread alone. */
int worker_start(uv_loop_t *loop, struct bench *bench, struct spool *spool,
                 const struct worker_events *events, void *arg, struct worker **ret, struct err *e);

/* Queued, in order; the messages are copied. ERR_REFUSED when the queue is full, or after
 * worker_quit. */
int worker_prepare(struct worker *w, const Plimsoll__Prepare *p, struct err *e);
/* An attempt that is queued or runs already is fine, and not run twice. */
int worker_assign(struct worker *w, const Plimsoll__Assign *a, struct err *e);
/* Ends a queued or running attempt soon, with a result that says so. False: there is none. */
bool worker_cancel(struct worker *w, const Plimsoll__Lease *lease);

/* A copy of the lease that runs (or whose result waits for the spool), else of the first queued
 * one, to be freed; NULL. */
Plimsoll__Lease *worker_running(struct worker *w);

/* Cancels everything; `ended` is called when the thread is done. */
void worker_quit(struct worker *w);
/* After `ended`, or before anything was asked of it. Frees once libuv closed its handle. NULL is
 * fine. */
void worker_free(struct worker **w);

#endif
