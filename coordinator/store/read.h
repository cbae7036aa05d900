/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The store's read side, for reports and for answers to clients. Any thread, one reader a thread; a
 * reader has a connection of its own that cannot write, and never waits for the writer nor makes it
 * wait.
 *
 * Whatever a callback is given is the reader's and valid during the call only. A callback returns 0
 * to go on and -1, with the error set, to end the reading with that error.
 */
#ifndef COORDINATOR_STORE_READ_H
#define COORDINATOR_STORE_READ_H

#include "common/err.h"
#include "proto/plimsoll.pb-c.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct reader;

/* The file must exist and have the schema of this version (ERR_INPUT else). */
int read_open(const char *path, struct reader **ret, struct err *e);
void read_close(struct reader **r);

/* Everything read between the two is of one moment. Without them each call is of its own moment. */
int read_begin(struct reader *r, struct err *e);
void read_end(struct reader *r);

/* ---- Campaigns ---- */

struct read_campaign {
    const char *id;
    const char *name;
    const char *title;
    const char *state;    /* as in proto Campaign, or "cancelling" */
    const char *note;     /* never NULL */
    int64_t submitted_ns; /* CLOCK_REALTIME */
    int64_t ended_ns;     /* 0 while it has not ended */
    uint64_t seed;        /* the order was drawn from it; 0 while there is no schedule */
    bool scheduled;
    bool keep_failed;
};

typedef int read_campaign_call(void *arg, const struct read_campaign *c, struct err *e);

/* Newest first, at most `most` (0: all). */
int read_campaigns(struct reader *r, unsigned most, read_campaign_call *call, void *arg,
                   struct err *e);
/* One, by its id; ERR_NOT_FOUND. */
int read_campaign(struct reader *r, const char *id, read_campaign_call *call, void *arg,
                  struct err *e);
/* The plan as it was submitted, its text included; free it with plimsoll__plan__free_unpacked(plan,
 * NULL). */
int read_plan(struct reader *r, const char *id, Plimsoll__Plan **ret, struct err *e);

/* ---- Hosts of a campaign, by name ---- */

struct read_host {
    const char *name;
    const char *group;    /* hosts with one value agree in every must-match fact */
    const char *software; /* "plimsoll 0.1.0" */
    const Plimsoll__Fingerprint *fingerprint; /* never NULL */
    const Plimsoll__Prepared *prepared;       /* the offers; never NULL */
};

typedef int read_host_call(void *arg, const struct read_host *h, struct err *e);
int read_hosts(struct reader *r, const char *id, read_host_call *call, void *arg, struct err *e);

/* ---- Trials, by number ---- */

enum read_trial_state {
    READ_TRIAL_PENDING,  /* never leased, or its last attempt did not do */
    READ_TRIAL_LEASED,   /* an attempt is under way */
    READ_TRIAL_ACCEPTED, /* has exactly one accepted result */
    READ_TRIAL_GIVEN_UP, /* too many attempts: missing, once the campaign has ended */
};

struct read_trial {
    uint64_t trial;
    uint32_t cell;
    uint32_t repetition; /* from 0, within cell and host */
    bool warmup;
    const char *host;  /* the last one that had it, else the one it was planned for */
    uint32_t position; /* in the planned host's order, from 0 */
    enum read_trial_state state;
    uint32_t attempts; /* in all */
    uint32_t answered; /* attempts that ended with a result that is not accepted, since the last
                          resume */
    uint32_t lost;     /* attempts that ended without a result, since the last resume */
    const char *last_reason; /* of the last result or loss that was not accepted; "" */
};

typedef int read_trial_call(void *arg, const struct read_trial *t, struct err *e);
int read_trials(struct reader *r, const char *id, read_trial_call *call, void *arg, struct err *e);

/* ---- Attempts, by trial and number ---- */

struct read_attempt {
    uint64_t trial;
    uint32_t attempt;
    uint64_t lease;
    const char *host;
    int64_t started_ns; /* CLOCK_REALTIME */
    int64_t ended_ns;   /* 0 while it is open */
    const char *lost;   /* why it ended without a result; "" where it did not */
};

typedef int read_attempt_call(void *arg, const struct read_attempt *a, struct err *e);
int read_attempts(struct reader *r, const char *id, read_attempt_call *call, void *arg,
                  struct err *e);

/* ---- Results, by trial, attempt and arrival ---- */

struct read_sample {
    const char *metric;
    const char *unit;
    double value;
    int64_t time_ns;  /* the agent host's CLOCK_MONOTONIC */
    int64_t clock_ns; /* CLOCK_REALTIME, for people */
};

struct read_result {
    uint64_t trial;
    uint32_t cell; /* of the trial; UINT32_MAX where the store does not know the trial */
    uint32_t repetition;
    uint32_t attempt;
    const char *host;
    bool warmup;
    bool accepted;   /* at most one a trial */
    bool superseded; /* came after its lease had ended: kept, not used */
    Plimsoll__Outcome outcome;
    const char *reason;                /* never NULL */
    int64_t stored_ns;                 /* CLOCK_REALTIME */
    const struct read_sample *samples; /* in the order they were taken */
    size_t n_samples;
    Plimsoll__Factor *const *conditions;
    size_t n_conditions;
    Plimsoll__Text *const *texts; /* only where asked for */
    size_t n_texts;
};

enum {
    READ_WITH_TEXTS = 1,    /* definitions and logs, up to 512 KiB a result */
    READ_ACCEPTED_ONLY = 2, /* of counted trials and warm-ups alike */
};

typedef int read_result_call(void *arg, const struct read_result *result, struct err *e);
/* `trial` 0: all. `flags` as above. One result is in memory at a time. */
int read_results(struct reader *r, const char *id, uint64_t trial, unsigned flags,
                 read_result_call *call, void *arg, struct err *e);

/* ---- Where results came from ---- */

/* Each spool of each agent and the sequence its next result should bear. For the coordinator
 * itself. */
typedef int read_source_call(void *arg, const char *agent_key, const char *spool,
                             uint64_t next_sequence, struct err *e);
int read_sources(struct reader *r, read_source_call *call, void *arg, struct err *e);

/* ---- Counts ---- */

struct read_counts {
    uint64_t trials;      /* wanted in all, warm-ups included */
    uint64_t accepted;    /* trials */
    uint64_t given_up;    /* trials */
    uint64_t failed;      /* attempts: failed, or lost with their agent */
    uint64_t rejected;    /* attempts */
    uint64_t superseded;  /* results */
    uint64_t unavailable; /* cells x hosts announced as not available */
};

int read_counts(struct reader *r, const char *id, struct read_counts *ret, struct err *e);

#endif
