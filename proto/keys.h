/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * CURVE keys on disk and the table of who may connect.
 *
 *   keys/coordinator.key            this program's own pair (coordinator)
 *   keys/agents/NAME.key            public keys allowed to connect, and as what
 *   keys/clients/NAME.key
 *
 * A key file is 0600 (in a folder that hands its group down, with the set-group-ID bit, it is 0640
 * and its group may read it), "# comments" and lines `public = "Z85"`, `secret = "Z85"` (own pairs
 * only). The table is read again when its folders change.
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
/* Refuses a file that others may read, or its group unless it is root's. ERR_NOT_FOUND where there
 * is none. */
int key_pair_load(const char *path, struct key_pair *ret, struct err *e);
/* Never overwrites. */
int key_pair_save(const char *path, const struct key_pair *pair, struct err *e);
int key_public_load(const char *path, char ret_z85[KEY_Z85_BYTES], struct err *e);

/* A public key as a person would paste it: 40 characters of Z85. */
bool key_is_z85(const char *text);
/* What a peer may be called: letters, digits, `.`, `_`, `-`; at most 63; the first a letter or
 * digit. */
bool key_is_name(const char *text);
/* "agent", "client". */
const char *key_role_name(enum key_role role);

struct key_table;
/* Reads the folder. A file in it that is no key is logged and left out; a missing agents/ or
 * clients/ is empty. */
int key_table_load(const char *folder, struct key_table **ret, struct err *e);
/* Looks a public key up: role and the name it was allowed under. KEY_ROLE_NONE: unknown. */
enum key_role key_table_find(const struct key_table *t, const char *public_z85,
                             const char **ret_name);
/* All keys, ordered by key; the texts live as long as the table. */
size_t key_table_count(const struct key_table *t);
enum key_role key_table_at(const struct key_table *t, size_t i, const char **ret_name,
                           const char **ret_z85);
/* Writes agents/NAME.key or clients/NAME.key, making the folders. Allowing the same again is fine;
 * a key that another peer has, or a name that has another key, is ERR_INPUT. */
int key_table_allow(const char *folder, enum key_role role, const char *name,
                    const char *public_z85, struct err *e);
void key_table_free(struct key_table *t);

#endif
