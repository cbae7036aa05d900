/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Who may connect: our ZAP handler (REP on inproc://zeromq.zap.01) and the live table of keys. A
 * socket's ZAP domain is the role it serves ("agent", "client"); a key of another role is refused
 * as an unknown one is. The User-Id it vouches for is the public key in Z85.
 */
#ifndef PROTO_ZAP_H
#define PROTO_ZAP_H

#include "common/err.h"
#include "proto/keys.h"

#include <uv.h>

struct zap;

/* On this loop; must stand before any tcp port is bound, once a ZeroMQ context. The folder is
 * watched and read again when it changes. */
int zap_start(uv_loop_t *loop, void *zmq_context, const char *keys_folder, struct zap **ret,
              struct err *e);
/* After the servers that use it. */
void zap_stop(struct zap **z);

/* The name and role a public key has now, KEY_ROLE_NONE once it was taken away. The name lives
 * until the loop's next turn. */
enum key_role zap_lookup(const struct zap *z, const char *public_z85, const char **ret_name);

/* Takes another table instead of the folder's, until the folder changes. */
void zap_set_table(struct zap *z, struct key_table *table);

/* Told after each change of the table. The listener is the caller's and must be taken off before it
 * goes. */
struct zap_listener {
    void (*changed)(void *arg);
    void *arg;
    struct zap_listener *next;
};
void zap_listen(struct zap *z, struct zap_listener *l);
void zap_unlisten(struct zap *z, struct zap_listener *l);

#endif
