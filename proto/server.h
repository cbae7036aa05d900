/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The coordinator's end of a connection: one ROUTER, CURVE, and sessions.
 *
 * Peers set no routing ids, so a session is (connection, User-Id): the ROUTER's own 5-byte identity
 * of the connection, and the public key our ZAP handler vouched for, looked up in the live table
 * again at each message. The first message of a session must be a hello whose name is the key's. An
 * agent has one live session, whichever of its keys it uses; a client may have several.
 */
#ifndef PROTO_SERVER_H
#define PROTO_SERVER_H

#include "common/err.h"
#include "proto/key_table.h"
#include "proto/plimsoll.pb-c.h"
#include "proto/zap.h"

#include <uv.h>

struct server;
struct session;

struct server_events {
    /* A hello that fits its key. Return 0 to welcome it, -1 with an error to refuse with its text.
     */
    int (*joined)(void *arg, struct session *s, const Plimsoll__Hello *hello, struct err *e);
    /* Any later message, checked against the role's part of the grammar. It is freed after the
     * call. */
    void (*message)(void *arg, struct session *s, const Plimsoll__Envelope *m);
    /* The session is over (connection gone, key taken away, grammar broken, session_end); not
     * called after a refusal, nor by server_stop. The session must not be used after it returns. */
    void (*left)(void *arg, struct session *s, const char *why);
    /* May be NULL. A hello was refused without asking joined: not the key's name, or a second live
     * session of an agent. `name` is the key's. */
    void (*refused)(void *arg, const char *name, const char *why);
};

/* Binds `endpoint` ("tcp://127.0.0.1:*" takes a free port); server_endpoint tells the one bound. */
int server_start(uv_loop_t *loop, void *zmq_context, struct zap *zap, enum key_role role,
                 const struct key_pair *own, const char *endpoint,
                 const struct server_events *events, void *arg, struct server **ret, struct err *e);
const char *server_endpoint(const struct server *s);
/* How often those that are welcomed from now on are asked to beat; 5 s where it is not said. */
void server_set_beat(struct server *s, int64_t beat_ns);
/* Cuts all connections. */
void server_stop(struct server **s);

/* Encodes and queues; never blocks. -1 when the peer is gone or its queue is full (errnum
 * EHOSTUNREACH or EAGAIN). Within joined it says welcome first. */
int session_send(struct session *s, const Plimsoll__Envelope *m, struct err *e);
/* Tells the peer why, calls left, and cuts the connection soon. */
void session_end(struct session *s, const char *why);
const char *session_name(const struct session *s);
const char *session_public_key(const struct session *s);
/* The key under which its results are stored: that one, or the first it was rotated from. */
const char *session_source_key(const struct session *s);
void session_set_data(struct session *s, void *data);
void *session_data(const struct session *s);

#endif
