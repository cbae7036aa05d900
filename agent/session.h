/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The agent's side of the conversation with its coordinator (see the grammar in
 * proto/plimsoll.proto), on the loop's thread.
 *
 *   apart    -welcome-> together: beats, and results from the spool, oldest first, a few at a time
 *   together -lost->    apart: trials go on, results gather in the spool
 *   any      -quit->    leaving: the trial is cancelled, its result offered for a moment; ended
 */
#ifndef AGENT_SESSION_H
#define AGENT_SESSION_H

#include "agent/spool.h"
#include "agent/trial.h"
#include "common/err.h"
#include "proto/keys.h"

#include <uv.h>

struct agent_session;

/* Borrowed for the session's life. */
struct agent_setup {
    const char *name;
    const char *endpoint;   /* the coordinator's, "tcp://..." */
    const char *server_z85; /* its public key */
    struct key_pair key;
    const char *key_path; /* its file, beside which a next one may appear; NULL: none will */
    struct bench *bench;
    struct spool *spool;
    /* After agent_session_quit: nothing runs any more and the session may be freed. */
    void (*ended)(void *arg);
    void *arg;
};

int agent_session_start(uv_loop_t *loop, void *zmq_context, const struct agent_setup *setup,
                        struct agent_session **ret, struct err *e);
/* Any number of times. */
void agent_session_quit(struct agent_session *s);
/* NULL is fine. Memory goes once libuv closed the handles. */
void agent_session_free(struct agent_session **s);

#endif
