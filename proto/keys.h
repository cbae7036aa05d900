/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * CURVE keys on disk: a file of mode 0600 (in a folder that hands its group down, with the
 * set-group-ID bit, it is 0640 and its group may read it) with "# comments" and the lines `public =
 * "Z85"` and, in a pair, `secret = "Z85"`. Who may connect is in key_table.h.
 */
#ifndef PROTO_KEYS_H
#define PROTO_KEYS_H

#include "common/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

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
/* What is made beside `path` is the owner's alone, but where the folder hands its group down, as
 * the package makes /etc/plimsoll/keys for the coordinator's user, the group may read. `alone` is
 * 0600 or 0700. */
mode_t key_mode_beside(const char *path, mode_t alone);
/* Never overwrites. */
int key_pair_save(const char *path, const struct key_pair *pair, struct err *e);
int key_public_load(const char *path, char ret_z85[KEY_Z85_BYTES], struct err *e);

/* A public key as a person would paste it: 40 characters of Z85. */
bool key_is_z85(const char *text);
/* The value of a line `name = "value"`, copied without its quotes: its length; 0 when the line is
 * not `name`'s; -1 when it is and is wrong or longer than `size` - 1. */
int key_line_value(const char *line, const char *name, char *ret, size_t size);
/* What a peer may be called: letters, digits, `.`, `_`, `-`; at most 63; the first a letter or
 * digit. */
bool key_is_name(const char *text);
/* "agent", "client". */
const char *key_role_name(enum key_role role);

#endif
