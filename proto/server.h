/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The coordinator's end of a connection: one ROUTER, CURVE, and sessions.
 *
 * Peers set no routing ids, so a session is (connection, User-Id): the ROUTER's own 5-byte identity of
 * the connection, and the public key our ZAP handler vouched for, looked up in the live table again at
 * each message. The first message of a session must be a hello whose name is the key's.
 */
#ifndef PROTO_SERVER_H
#define PROTO_SERVER_H

#include "common/err.h"
#include "proto/keys.h"
#include "proto/plimsoll.pb-c.h"

#include <uv.h>

struct zap;
/* Our ZAP handler on this loop: REP on inproc://zeromq.zap.01. Must stand before any tcp port is bound.
 * One a ZeroMQ context. `table` is the live one and may be replaced by zap_set_table. */
int zap_start(uv_loop_t *loop, void *zmq_context, const char *keys_folder, struct zap **ret,
              struct err *e);
void zap_stop(struct zap **z);
/* The name and role a public key has now, KEY_ROLE_NONE once it was taken away. */
enum key_role zap_lookup(const struct zap *z, const char *public_z85, const char **ret_name);

struct server;
struct session;

struct server_events {
    /* A hello that fits its key. Return 0 to welcome it, -1 with an error to refuse with its text. */
    int (*joined)(void *arg, struct session *s, const Plimsoll__Hello *hello, struct err *e);
    /* Any later message, checked against the role's part of the grammar. It is freed after the call. */
    void (*message)(void *arg, struct session *s, const Plimsoll__Envelope *m);
    /* The session is over (connection gone, key taken away, grammar broken); not called after a refusal. */
    void (*left)(void *arg, struct session *s, const char *why);
};

/* Binds `endpoint` ("tcp://127.0.0.1:*" takes a free port); server_endpoint tells the one bound. */
int server_start(uv_loop_t *loop, void *zmq_context, struct zap *zap, enum key_role role,
                 const struct key_pair *own, const char *endpoint,
                 const struct server_events *events, void *arg, struct server **ret, struct err *e);
const char *server_endpoint(const struct server *s);
void server_stop(struct server **s);

/* Encodes and queues; never blocks. -1 when the peer is gone or its queue is full. */
int session_send(struct session *s, const Plimsoll__Envelope *m, struct err *e);
void session_end(struct session *s, const char *why);
const char *session_name(const struct session *s);
const char *session_public_key(const struct session *s);
void session_set_data(struct session *s, void *data);
void *session_data(const struct session *s);

#endif
