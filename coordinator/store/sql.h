/* SPDX-License-Identifier: GPL-3.0-or-later */
/* SQLite in this project's manner; private to the store. */
#ifndef COORDINATOR_STORE_SQL_H
#define COORDINATOR_STORE_SQL_H

#include "common/err.h"

#include <protobuf-c/protobuf-c.h>
#include <sqlite3.h>
#include <stdint.h>

/* Sets the error from what the connection said last. Returns -1. */
int sql_error(sqlite3 *db, struct err *e, const char *what);

/* Runs statements that give no rows. */
int sql_run(sqlite3 *db, const char *sql, struct err *e);

/* Binds ?1, ?2, ... by a letter each: i int64_t, u uint64_t (kept by its bits), d double, t text
 * (NULL is NULL), m a ProtobufCMessage * (packed), b bytes and their length (size_t). Text and
 * bytes must live until the statement is reset. */
int sql_bind(sqlite3_stmt *s, struct err *e, const char *letters, ...);

/* Steps a statement that gives no rows and resets it. */
int sql_finish(sqlite3_stmt *s, struct err *e);

/* A column's text, never NULL; valid until the next step. */
const char *sql_text(sqlite3_stmt *s, int column);
uint64_t sql_unsigned(sqlite3_stmt *s, int column);
/* A column's message; NULL when it cannot be read or memory is out. */
ProtobufCMessage *sql_message(sqlite3_stmt *s, int column, const ProtobufCMessageDescriptor *type);

static inline void sql_finalize_at(sqlite3_stmt **s)
{
    sqlite3_finalize(*s);
}
#define cleanup_statement __attribute__((cleanup(sql_finalize_at)))

#endif
