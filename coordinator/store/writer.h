/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The connection as the single kinds of writes see it; private to the store. */
#ifndef COORDINATOR_STORE_WRITER_H
#define COORDINATOR_STORE_WRITER_H

#include "coordinator/store/write.h"

/* A prepared statement, kept for the next time; `sql` must be a literal. NULL with an error. */
sqlite3_stmt *writer_statement(struct writer *w, const char *sql, struct err *e);
/* Rows the last statement changed, and the last row it made. */
int64_t writer_changes(const struct writer *w);
int64_t writer_last_row(const struct writer *w);

/* Binds and runs a statement that gives no rows. */
#define writer_do(w, e, sql, ...)                                                                  \
    ({                                                                                             \
        sqlite3_stmt *do_ = writer_statement((w), (sql), (e));                                     \
        !do_ || sql_bind(do_, (e), __VA_ARGS__) < 0 ? -1 : sql_finish(do_, (e));                   \
    })

#endif
