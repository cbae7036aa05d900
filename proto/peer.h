/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * An agent's or a client's end of a connection: a DEALER under CURVE that connects, says hello, and
 * comes back by itself. A refused DEALER never tries again on its own, so the socket is made anew
 * after a delay drawn from 0.1 to 1 s, and from twice that after each failure, up to 3 to 30 s.
 */
#ifndef PROTO_PEER_H
#define PROTO_PEER_H

#include "common/err.h"
#include "proto/keys.h"
#include "proto/plimsoll.pb-c.h"

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

struct peer;

struct peer_events {
    /* Fills the hello for a new connection; what it points to must live until the call returns to
     * the loop. */
    void (*hello)(void *arg, Plimsoll__Hello *hello);
    void (*welcomed)(void *arg, const Plimsoll__Welcome *welcome);
    void (*message)(void *arg, const Plimsoll__Envelope *m);
    /* The connection is lost, was refused, or was never made; it is tried again unless peer_stop is
     * called. `refused`: the coordinator or its ZAP handler said no. */
    void (*lost)(void *arg, bool refused, const char *why);
};

int peer_start(uv_loop_t *loop, void *zmq_context, const char *endpoint, const char *server_z85,
               const struct key_pair *own, const struct peer_events *events, void *arg,
               struct peer **ret, struct err *e);
/* Queued only while welcomed; -1 otherwise. */
int peer_send(struct peer *p, const Plimsoll__Envelope *m, struct err *e);
/* The coordinator's clock less ours, by its last welcome or refusal that told it; else false. */
bool peer_clock_ahead_ns(const struct peer *p, int64_t *ret_ns);
void peer_stop(struct peer **p);

#endif
