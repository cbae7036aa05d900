/* SPDX-License-Identifier: GPL-3.0-or-later */
/* One peer's file of the table of keys (key_table.h). */
#ifndef PROTO_KEY_FILE_H
#define PROTO_KEY_FILE_H

#include "proto/key_table.h"

enum { KEY_FILE_MOST = 32 };

struct key_file {
    struct allowed_key keys[KEY_FILE_MOST]; /* role and name are the caller's to fill */
    size_t n;
};

/* errnum ENOENT where there is none. */
int key_file_load(const char *path, struct key_file *ret, struct err *e);
int key_file_save(const char *path, const struct key_file *f, struct err *e);

/* "agents", "clients". */
const char *key_role_folder(enum key_role role);

#endif
