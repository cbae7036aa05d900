/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The TCP connections below a server's socket, by libzmq's own descriptors, as its monitor tells
 * them.
 *
 * libzmq has no call to drop one connection, so ours are shut down by descriptor, after a look that
 * it still leads to the same peer. The kernel's count of bytes received shows a peer that sends one
 * endless message of many parts: libzmq buffers it beyond all its limits without telling anybody.
 */
#ifndef PROTO_CONNECTIONS_H
#define PROTO_CONNECTIONS_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    /* More than every whole message that may wait in libzmq's queue and in the kernel's buffers. */
    CONNECTION_MOST_UNHEARD_BYTES = 64 << 20,
};

struct connection {
    bool open;
    struct sockaddr_in6 peer; /* holds an IPv4 address too */
    void *data;               /* the session, once there is one */
    uint64_t heard_bytes;     /* received when its last whole message was seen */
    bool heard;               /* since the last tick */
    int64_t cut_at_ns;        /* monotonic; 0: not to be cut */
    bool over;                /* nothing that still comes is looked at */
};

struct connections {
    struct connection *by_fd;
    size_t n;
    size_t open;
};

void connections_open(struct connections *c, int fd);
/* Returns what was set as data. */
void *connections_close(struct connections *c, int fd);
void connections_free(struct connections *c);

void connections_set_data(struct connections *c, int fd, void *data);
/* A hello came: true, and no longer cut for silence, where the connection stands and has no
 * session. */
bool connections_adopt(struct connections *c, int fd);
void connections_heard(struct connections *c, int fd);

/* At once, or after the second that a last word takes to travel; either way it is over. */
void connections_shutdown(struct connections *c, int fd);
void connections_cut_soon(struct connections *c, int fd);
bool connections_is_over(const struct connections *c, int fd);

/* Cuts what is due, silent, or flooding; returns how many stand open. */
size_t connections_tick(struct connections *c);

#endif
