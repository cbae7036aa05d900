/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Who may connect, as files of the coordinator's folder of keys:
 *
 *   keys/agents/NAME.key      the public keys of the agent NAME
 *   keys/clients/NAME.key     those of a client
 *
 * A file has "# comments" and, for each key, a line `public = "Z85"`, followed by those of
 *
 *   expires = "2026-12-24T10:00:00Z"   not allowed from then on
 *   revoked = "2026-11-23T18:30:00Z"   not allowed any more; kept so that its owner can be told
 *   source  = "Z85"                    the key whose results it continues (key_table_rotate)
 *
 * that apply to it. A name has several keys while it changes from one to the next. What a file says
 * wrongly takes all its keys away. The table is read again when its folders change.
 */
#ifndef PROTO_KEY_TABLE_H
#define PROTO_KEY_TABLE_H

#include "proto/keys.h"

#define KEY_NEVER_NS INT64_MAX

enum { KEY_NAME_BYTES = 64, KEY_TIME_BYTES = 24 };

struct allowed_key {
    char public_z85[KEY_Z85_BYTES];
    char source_z85[KEY_Z85_BYTES]; /* itself, unless it was rotated in */
    enum key_role role;
    char name[KEY_NAME_BYTES];
    int64_t expires_ns; /* CLOCK_REALTIME; KEY_NEVER_NS */
    int64_t revoked_ns; /* CLOCK_REALTIME; 0: it was not */
};

enum key_state { KEY_ALLOWED, KEY_EXPIRED, KEY_REVOKED };
enum key_state key_state(const struct allowed_key *k, int64_t now_ns);

/* "2026-12-24T10:00:00Z" and ns of CLOCK_REALTIME; ERR_INPUT tells what was expected. */
int key_time_parse(const char *text, int64_t *ret_ns, struct err *e);
const char *key_time_format(int64_t time_ns, char buffer[KEY_TIME_BYTES]);

struct key_table;
/* Reads the folder. A file in it that is none of keys is logged and left out; a missing agents/ or
 * clients/ is empty. */
int key_table_load(const char *folder, struct key_table **ret, struct err *e);
void key_table_free(struct key_table *t);
/* NULL: unknown. What is found may have expired or be revoked; it lives as long as the table. */
const struct allowed_key *key_table_find(const struct key_table *t, const char *public_z85);
/* All keys, ordered by key. */
size_t key_table_count(const struct key_table *t);
const struct allowed_key *key_table_at(const struct key_table *t, size_t i);
/* When the next of the allowed ones expires; KEY_NEVER_NS. */
int64_t key_table_next_expiry_ns(const struct key_table *t, int64_t now_ns);

/* The changes below write agents/NAME.key or clients/NAME.key whole, under a lock, and make the
 * folders. What cannot be is ERR_INPUT. */

/* One key, until `expires_ns`; 0: as it is, which for a new one is never. Allowing the same again
 * is fine; a key that another peer has, one that was revoked, or a name that has another key in
 * force, is not. */
int key_table_allow(const char *folder, enum key_role role, const char *name,
                    const char *public_z85, int64_t expires_ns, struct err *e);
/* A further key for a name that has one, whose results it continues; the others expire at
 * `until_ns` at the latest. */
int key_table_rotate(const char *folder, enum key_role role, const char *name,
                     const char *public_z85, int64_t expires_ns, int64_t until_ns, struct err *e);
/* That key of the name's, or all where it is NULL. Again is fine. ERR_NOT_FOUND where there is
 * none. */
int key_table_revoke(const char *folder, enum key_role role, const char *name,
                     const char *public_z85, struct err *e);

#endif
