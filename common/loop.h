/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A ZeroMQ socket in a libuv loop. ZMQ_FD is edge-triggered and says only "look again": the socket
 * is drained from a prepare handle with a budget, and what is left over keeps the loop from
 * blocking.
 */
#ifndef COMMON_LOOP_H
#define COMMON_LOOP_H

#include "common/err.h"

#include <uv.h>

struct loop_socket;

/* Called on the loop's thread while the socket is readable: reads one whole message. Returns 0 to
 * be called again, -1 when there was nothing more to read (EAGAIN). */
typedef int loop_readable(void *socket, void *arg);

/* The socket stays the caller's and must outlive the watch. */
int loop_socket_watch(uv_loop_t *loop, void *socket, loop_readable *readable, void *arg,
                      struct loop_socket **ret, struct err *e);

/* Call after each send as well: a send may consume the edge. Any number of times. */
void loop_socket_kick(struct loop_socket *s);

/* Stops and frees once libuv has closed its handles; no callback runs any more. NULL is fine. */
void loop_socket_close(struct loop_socket **s);

#endif
