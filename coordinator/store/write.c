/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "coordinator/store/write.h"

#include "common/cleanup.h"
#include "common/fs.h"
#include "coordinator/store/migrate.h"
#include "coordinator/store/sql.h"
#include "coordinator/store/writer.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>

enum { STATEMENTS = 32 };

struct writer {
    sqlite3 *db;
    int lock_fd; /* flock on PATH.lock: one writing process a store */
    struct {
        const char *sql; /* the literal itself is the key */
        sqlite3_stmt *statement;
    } cache[STATEMENTS];
    size_t n_cached;
};

sqlite3_stmt *writer_statement(struct writer *w, const char *sql, struct err *e)
{
    for (size_t i = 0; i < w->n_cached; i++)
        if (w->cache[i].sql == sql)
            return w->cache[i].statement;
    sqlite3_stmt *s = NULL;
    if (w->n_cached == STATEMENTS ||
        sqlite3_prepare_v3(w->db, sql, -1, SQLITE_PREPARE_PERSISTENT, &s, NULL) != SQLITE_OK) {
        sql_error(w->db, e, "cannot prepare a write to the store");
        return NULL;
    }
    w->cache[w->n_cached].sql = sql;
    w->cache[w->n_cached++].statement = s;
    return s;
}

int64_t writer_changes(const struct writer *w)
{
    return sqlite3_changes64(w->db);
}

int64_t writer_last_row(const struct writer *w)
{
    return sqlite3_last_insert_rowid(w->db);
}

/* Not the database file itself: closing any descriptor of it would drop SQLite's own POSIX locks.
 */
static int take_lock(const char *path, int *ret_fd, struct err *e)
{
    cleanup_free char *lock = fs_path("%s.lock", path);
    cleanup_close int fd = open(lock, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_system(e, errno, "cannot open %s", lock);
    if (flock(fd, LOCK_EX | LOCK_NB) < 0)
        return errno == EWOULDBLOCK
                   ? err_set(e, ERR_UNAVAILABLE, "another coordinator uses the store %s", path)
                   : err_system(e, errno, "cannot lock %s", lock);
    *ret_fd = steal_fd(&fd);
    return 0;
}

static int open_database(struct writer *w, const char *path, struct err *e)
{
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
    mode_t before = umask(0077);
    int code = sqlite3_open_v2(path, &w->db, flags, NULL);
    int failed = 0;
    if (code != SQLITE_OK)
        failed =
            w->db ? sql_error(w->db, e, "cannot open it") : err_system(e, ENOMEM, "cannot open it");
    else {
        sqlite3_busy_timeout(w->db, 10000);
        /* FULL: a commit returns after the fsync of the log, so an answer means that it is there
         * for good. */
        failed = sql_run(w->db,
                         "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
                         "PRAGMA temp_store = MEMORY; PRAGMA foreign_keys = OFF;",
                         e);
    }
    if (failed == 0)
        failed = migrate(w->db, &store_schema, e);
    umask(before);
    return failed;
}

int writer_open(const char *path, struct writer **ret, struct err *e)
{
    struct writer *w = calloc(1, sizeof *w);
    if (!w)
        return err_system(e, ENOMEM, "cannot open the store");
    w->lock_fd = -1;
    if (take_lock(path, &w->lock_fd, e) < 0 || open_database(w, path, e) < 0) {
        err_prefix(e, "store %s", path);
        writer_close(&w);
        return -1;
    }
    *ret = w;
    return 0;
}

void writer_close(struct writer **pw)
{
    struct writer *w = steal(*pw);
    if (!w)
        return;
    for (size_t i = 0; i < w->n_cached; i++)
        sqlite3_finalize(w->cache[i].statement);
    sqlite3_close(w->db);
    if (w->lock_fd >= 0)
        close(w->lock_fd);
    free(w);
}

static int run_cached(struct writer *w, const char *sql, struct err *e)
{
    sqlite3_stmt *s = writer_statement(w, sql, e);
    return s ? sql_finish(s, e) : -1;
}

/* One write of a group: what fails alone is undone alone. -1 only when the transaction cannot go
 * on. */
static int run_one(struct writer *w, struct write *op, struct err *e)
{
    if (run_cached(w, "SAVEPOINT one", e) < 0)
        return -1;
    if (op->run(w, op, &op->error) == 0)
        return run_cached(w, "RELEASE one", e);
    if (sqlite3_get_autocommit(w->db))
        return err_set(e, ERR_SYSTEM, "%s", err_text(&op->error));
    return run_cached(w, "ROLLBACK TO one", e) < 0 ? -1 : run_cached(w, "RELEASE one", e);
}

static int run_all(struct writer *w, struct write *first, struct err *e)
{
    if (run_cached(w, "BEGIN IMMEDIATE", e) < 0)
        return -1;
    for (struct write *op = first; op; op = op->next)
        if (run_one(w, op, e) < 0)
            return -1;
    return run_cached(w, "COMMIT", e);
}

static void fail_all(struct writer *w, struct write *first, const struct err *e)
{
    if (!sqlite3_get_autocommit(w->db))
        sqlite3_exec(w->db, "ROLLBACK", NULL, NULL, NULL);
    for (struct write *op = first; op; op = op->next)
        err_set(&op->error, e->code, "%s", err_text(e));
}

void writer_run_group(struct writer *w, struct write *first)
{
    cleanup_err struct err e = ERR_INIT;
    if (run_all(w, first, &e) < 0)
        fail_all(w, first, &e);
    for (struct write *op = first; op; op = op->next)
        err_prefix(&op->error, "store %s", sqlite3_db_filename(w->db, "main"));
}
