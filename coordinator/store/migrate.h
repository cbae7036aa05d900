/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The schema's version (PRAGMA user_version) and the way from older ones; private to the store. */
#ifndef COORDINATOR_STORE_MIGRATE_H
#define COORDINATOR_STORE_MIGRATE_H

#include "common/err.h"

#include <sqlite3.h>
#include <stddef.h>

/* One file of migrations/: makes version `to` of version `to` - 1. */
struct migration {
    int to;
    const char *sql;
};

struct schema {
    int version;
    const char *sql;                    /* makes this version in an empty file */
    const struct migration *migrations; /* ascending by `to`, without a hole */
    size_t n_migrations;
};

/* This build's: schema.sql and migrations/, embedded. */
extern const struct schema store_schema;

/* Brings an empty or older file to the schema's version, all in one transaction. A later version or
 * a file that is no store is ERR_INPUT. */
int migrate(sqlite3 *db, const struct schema *to, struct err *e);

/* The file's version. */
int migrate_version(sqlite3 *db, int *ret, struct err *e);

#endif
