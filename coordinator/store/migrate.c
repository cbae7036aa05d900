/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "coordinator/store/migrate.h"

#include "coordinator/store/sql.h"

#include <stdbool.h>
#include <stdio.h>

static int read_number(sqlite3 *db, const char *sql, int *ret, struct err *e)
{
    sqlite3_stmt *statement = NULL;
    if (sqlite3_prepare_v2(db, sql, -1, &statement, NULL) != SQLITE_OK)
        return sql_error(db, e, "cannot read the store");
    int step = sqlite3_step(statement);
    int number = sqlite3_column_int(statement, 0);
    sqlite3_finalize(statement);
    if (step != SQLITE_ROW)
        return sql_error(db, e, "cannot read the store");
    *ret = number;
    return 0;
}

int migrate_version(sqlite3 *db, int *ret, struct err *e)
{
    return read_number(db, "PRAGMA user_version", ret, e);
}

static int set_version(sqlite3 *db, int version, struct err *e)
{
    char sql[64];
    snprintf(sql, sizeof sql, "PRAGMA user_version = %d", version);
    return sql_run(db, sql, e);
}

static int climb(sqlite3 *db, const struct schema *to, int from, struct err *e)
{
    int at = from;
    for (size_t i = 0; i < to->n_migrations; i++) {
        if (to->migrations[i].to != at + 1)
            continue;
        if (sql_run(db, to->migrations[i].sql, e) < 0)
            return err_prefix(e, "from version %d to %d", at, at + 1);
        at++;
    }
    if (at != to->version)
        return err_set(e, ERR_INPUT, "there is no way from version %d of the store to %d", at,
                       to->version);
    return 0;
}

static int change(sqlite3 *db, const struct schema *to, int from, struct err *e)
{
    int tables = 0;
    if (from == 0 && read_number(db, "SELECT count(*) FROM sqlite_schema", &tables, e) < 0)
        return -1;
    if (tables > 0)
        return err_set(e, ERR_INPUT, "the file is a database, but no store of ours");
    int done = from == 0 ? sql_run(db, to->sql, e) : climb(db, to, from, e);
    return done < 0 ? -1 : set_version(db, to->version, e);
}

int migrate(sqlite3 *db, const struct schema *to, struct err *e)
{
    /* The lock comes first, so that two starts at once do not both find an empty file. */
    if (sql_run(db, "BEGIN IMMEDIATE", e) < 0)
        return -1;
    int from = 0;
    int done = migrate_version(db, &from, e);
    if (done == 0 && from > to->version)
        done =
            err_set(e, ERR_INPUT, "the store has version %d, and this program knows none after %d",
                    from, to->version);
    if (done == 0 && from < to->version)
        done = change(db, to, from, e);
    if (done == 0)
        return sql_run(db, "COMMIT", e);
    sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
    return -1;
}
