/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the store's thread does with its connection; private to the store. */
#ifndef COORDINATOR_STORE_WRITE_H
#define COORDINATOR_STORE_WRITE_H

#include "coordinator/store/store.h"

#include <sqlite3.h>

struct writer;

/* Opens, migrates, takes the file for this process. */
int writer_open(const char *path, struct writer **ret, struct err *e);
void writer_close(struct writer **w);

struct write;
typedef int write_run(struct writer *w, const struct write *op, struct err *e);

/* One queued write: a copy of what the caller gave. A kind uses the members it needs. */
struct write {
    struct write *next;
    write_run *run;
    store_done *done;
    void *arg;
    struct err error; /* set by the store's thread */

    char *campaign;
    char *host;
    char *text;                 /* state, identity, agent's key, or why */
    char *note;                 /* note, software */
    ProtobufCMessage *message;  /* the plan, fingerprint, lease or result */
    ProtobufCMessage *second;   /* what was prepared */
    struct store_trial *trials; /* their host names are in `names` */
    char *names;
    size_t n_trials;
    int64_t time_ns;
    uint64_t number; /* seed */
    uint64_t count;  /* unavailable */
    bool flag;       /* keep_failed */
};

write_run write_campaign, write_host, write_schedule, write_trials, write_state, write_resume,
    write_attempt, write_attempt_end, write_give_up, write_result;

/* Runs a group in one transaction. A write that fails alone has its own error; when the transaction
 * fails every one has. */
void writer_run_group(struct writer *w, struct write *first);

#endif
