/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * CURVE keys on disk and the table of who may connect.
 *
 *   keys/coordinator.key            this program's own pair (coordinator)
 *   keys/agents/NAME.key            public keys allowed to connect, and as what
 *   keys/clients/NAME.key
 *
 * A key file is 0600, "# comments" and lines `public = "Z85"`, `secret = "Z85"` (own pairs only).
 * The table is read again when its folders change.
 */
#ifndef PROTO_KEYS_H
#define PROTO_KEYS_H

#include "common/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { KEY_Z85_BYTES = 41 };

enum key_role { KEY_ROLE_NONE = 0, KEY_ROLE_AGENT, KEY_ROLE_CLIENT };

struct key_pair {
    char public_z85[KEY_Z85_BYTES];
    char secret_z85[KEY_Z85_BYTES];
};

int key_pair_make(struct key_pair *ret, struct err *e);
/* Refuses a file that others may read. */
int key_pair_load(const char *path, struct key_pair *ret, struct err *e);
/* Never overwrites. */
int key_pair_save(const char *path, const struct key_pair *pair, struct err *e);
int key_public_load(const char *path, char ret_z85[KEY_Z85_BYTES], struct err *e);

struct key_table;
int key_table_load(const char *folder, struct key_table **ret, struct err *e);
/* Looks a public key up: role and the name it was allowed under. KEY_ROLE_NONE: unknown. */
enum key_role key_table_find(const struct key_table *t, const char *public_z85,
                             const char **ret_name);
/* Writes agents/NAME.key or clients/NAME.key. */
int key_table_allow(const char *folder, enum key_role role, const char *name,
                    const char *public_z85, struct err *e);
void key_table_free(struct key_table *t);

#endif
