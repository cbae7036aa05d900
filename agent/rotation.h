/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The agent's change from one key to the next without an interruption.
 *
 * `coordctl keys rotate FILE` writes the next pair beside the agent's own, as FILE.next. It is
 * tried beside the session, as far as the end of the handshake, until the coordinator allows it;
 * then the session goes on with it, and once that is welcomed it takes the place of FILE.
 *
 *   idle    -FILE.next appears-> trying -handshake-> changing -welcome-> idle, FILE is the next one
 *   changing -refused three times-> idle: the session goes on with the pair that it had
 */
#ifndef AGENT_ROTATION_H
#define AGENT_ROTATION_H

#include "common/err.h"
#include "proto/keys.h"

#include <uv.h>

struct rotation;

/* Texts are copied. */
struct rotation_setup {
    uv_loop_t *loop;
    void *zmq_context;
    const char *endpoint, *server_z85;
    const char *key_path;
    struct key_pair key; /* what the session uses */
    /* It is to go on with this pair; called from the loop. -1: it goes on as before. */
    int (*change)(void *arg, const struct key_pair *pair);
    void *arg;
};

/* A folder that cannot be watched is logged: a next pair is then seen at the next start. */
void rotation_start(const struct rotation_setup *setup, struct rotation **ret);
/* What came of the session's connection. */
void rotation_welcomed(struct rotation *r);
void rotation_refused(struct rotation *r);
/* NULL is fine. Memory goes once libuv closed the handle. */
void rotation_stop(struct rotation **r);

#endif
