/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Who may connect: our ZAP handler (REP on inproc://zeromq.zap.01) and the live table of keys. A
 * socket's ZAP domain is the role it serves ("agent", "client"). The User-Id it vouches for is the
 * public key in Z85.
 *
 * An unknown key is refused at the handshake. One that is known and not allowed here (revoked,
 * expired, of the other role) gets through it, a few times a second in all, so that the server can
 * answer its first message with the reason; nothing it says is looked at.
 */
#ifndef PROTO_ZAP_H
#define PROTO_ZAP_H

#include "common/err.h"
#include "proto/key_table.h"

#include <uv.h>

struct zap;

/* On this loop; must stand before any tcp port is bound, once a ZeroMQ context. The folder is
 * watched and read again when it changes. */
int zap_start(uv_loop_t *loop, void *zmq_context, const char *keys_folder, struct zap **ret,
              struct err *e);
/* After the servers that use it. */
void zap_stop(struct zap **z);

/* What the table says now of a public key; false: nothing. It may be revoked or expired. */
bool zap_lookup(struct zap *z, const char *public_z85, struct allowed_key *ret);
/* NULL where the key is allowed as `role` now; else why not, for its owner, in `buffer`. */
enum { ZAP_REASON_BYTES = 256 };
const char *zap_objection(const struct allowed_key *k, enum key_role role,
                          char buffer[ZAP_REASON_BYTES]);

/* Takes another table instead of the folder's, until the folder changes. */
void zap_set_table(struct zap *z, struct key_table *table);

/* Told after each change of the table, and when a key has expired. The listener is the caller's and
 * must be taken off before it goes. */
struct zap_listener {
    void (*changed)(void *arg);
    void *arg;
    struct zap_listener *next;
};
void zap_listen(struct zap *z, struct zap_listener *l);
void zap_unlisten(struct zap *z, struct zap_listener *l);

#endif
