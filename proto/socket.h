/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What both ends of a connection do alike: socket options, CURVE, the monitor, sending a frame. */
#ifndef PROTO_SOCKET_H
#define PROTO_SOCKET_H

#include "common/err.h"
#include "proto/keys.h"

#include <protobuf-c/protobuf-c.h>
#include <stdint.h>

enum { SOCKET_HANDSHAKE_MS = 5000 };

/* A socket with our limits, heartbeats and own key pair; as a server's (with the ZAP domain of the
 * role) when `server_z85` is NULL, else as a client's of that server. Closed by socket_close. */
int socket_open(void *zmq_context, int type, const struct key_pair *own, const char *server_z85,
                const char *zap_domain, void **ret, struct err *e);
int socket_set(void *socket, int option, int value, const char *what, struct err *e);
/* Drops what is unsent when `linger_ms` is over. NULL is fine. A monitored socket goes before its
 * monitor. */
void socket_close(void **socket, int linger_ms);

/* "[::1]" in an endpoint needs IPv6 switched on. */
int socket_bind(void *socket, const char *endpoint, struct err *e);
int socket_connect(void *socket, const char *endpoint, struct err *e);

/* A PAIR on which the socket's connection events arrive. */
int socket_monitor_open(void *zmq_context, void *socket, void **ret_pair, struct err *e);

struct socket_event {
    int event;      /* ZMQ_EVENT_... */
    uint32_t value; /* a descriptor, errno, or status code */
};
/* 0, or -1 when there is none left. */
int socket_monitor_read(void *pair, struct socket_event *ret);

/* Counts the bytes that wait in libzmq for one peer: its own limit counts messages, and 256 of them
 * may be 256 MiB. */
struct outbox;
enum { OUTBOX_MOST_BYTES = 4 << 20 };
struct outbox *outbox_new(void);
/* What is still on its way keeps it. NULL is fine. */
void outbox_drop(struct outbox **o);

/* Encodes and queues one frame without blocking, behind `route` where that is given; counted in
 * `o`, which may be NULL. errnum is EAGAIN when the queue is full and EHOSTUNREACH when the
 * connection is gone. */
int socket_send(void *socket, const void *route, size_t route_bytes,
                const ProtobufCMessage *message, struct outbox *o, struct err *e);

#endif
