/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The reader's connection; private to the store. */
#ifndef COORDINATOR_STORE_READER_H
#define COORDINATOR_STORE_READER_H

#include "coordinator/store/read.h"

#include <sqlite3.h>

struct reader {
    sqlite3 *db;
};

/* NULL with an error. */
sqlite3_stmt *reader_prepare(struct reader *r, const char *sql, struct err *e);
/* 1: a row, 0: no more, -1: failed. */
int reader_step(struct reader *r, sqlite3_stmt *s, struct err *e);

#endif
