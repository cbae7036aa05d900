/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "coordinator/store/read.h"

#include "common/cleanup.h"
#include "coordinator/store/migrate.h"
#include "coordinator/store/reader.h"
#include "coordinator/store/sql.h"

#include <errno.h>
#include <stdlib.h>

sqlite3_stmt *reader_prepare(struct reader *r, const char *sql, struct err *e)
{
    sqlite3_stmt *s = NULL;
    if (sqlite3_prepare_v2(r->db, sql, -1, &s, NULL) == SQLITE_OK)
        return s;
    sql_error(r->db, e, "cannot read the store");
    return NULL;
}

int reader_step(struct reader *r, sqlite3_stmt *s, struct err *e)
{
    int code = sqlite3_step(s);
    if (code == SQLITE_ROW)
        return 1;
    return code == SQLITE_DONE ? 0 : sql_error(r->db, e, "cannot read the store");
}

static int check_version(struct reader *r, struct err *e)
{
    int version = 0;
    if (migrate_version(r->db, &version, e) < 0)
        return -1;
    if (version != store_schema.version)
        return err_set(e, ERR_INPUT, "it has version %d, and this program reads version %d",
                       version, store_schema.version);
    return 0;
}

int read_open(const char *path, struct reader **ret, struct err *e)
{
    struct reader *r = calloc(1, sizeof *r);
    if (!r)
        return err_system(e, ENOMEM, "cannot open the store");
    /* Not read-only: a reader of a log that nobody has open must be able to make its index. */
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX;
    int failed = 0;
    if (sqlite3_open_v2(path, &r->db, flags, NULL) != SQLITE_OK)
        failed =
            r->db ? sql_error(r->db, e, "cannot open it") : err_system(e, ENOMEM, "cannot open it");
    else {
        sqlite3_busy_timeout(r->db, 10000);
        failed = sql_run(r->db, "PRAGMA query_only = ON", e);
    }
    if (failed < 0 || check_version(r, e) < 0) {
        read_close(&r);
        return err_prefix(e, "store %s", path);
    }
    *ret = r;
    return 0;
}

void read_close(struct reader **pr)
{
    struct reader *r = steal(*pr);
    if (!r)
        return;
    sqlite3_close(r->db);
    free(r);
}

int read_begin(struct reader *r, struct err *e)
{
    /* The moment is taken by the first read, so one is made at once. */
    return sql_run(r->db, "BEGIN; SELECT count(*) FROM sqlite_schema", e);
}

void read_end(struct reader *r)
{
    sqlite3_exec(r->db, "ROLLBACK", NULL, NULL, NULL);
}

/* ---- Campaigns ---- */

#define CAMPAIGN_COLUMNS                                                                           \
    "SELECT id, name, title, state, note, submitted_ns, ended_ns, seed, scheduled, keep_failed"    \
    " FROM campaign "

static int call_campaign(sqlite3_stmt *s, read_campaign_call *call, void *arg, struct err *e)
{
    struct read_campaign c = {
        .id = sql_text(s, 0),
        .name = sql_text(s, 1),
        .title = sql_text(s, 2),
        .state = sql_text(s, 3),
        .note = sql_text(s, 4),
        .submitted_ns = sqlite3_column_int64(s, 5),
        .ended_ns = sqlite3_column_int64(s, 6),
        .seed = sql_unsigned(s, 7),
        .scheduled = sqlite3_column_int(s, 8) != 0,
        .keep_failed = sqlite3_column_int(s, 9) != 0,
    };
    return call(arg, &c, e);
}

int read_campaigns(struct reader *r, unsigned most, read_campaign_call *call, void *arg,
                   struct err *e)
{
    cleanup_statement sqlite3_stmt *s =
        reader_prepare(r, CAMPAIGN_COLUMNS "ORDER BY number DESC LIMIT ?1", e);
    if (!s || sql_bind(s, e, "i", most > 0 ? (int64_t)most : INT64_C(-1)) < 0)
        return -1;
    int row;
    while ((row = reader_step(r, s, e)) > 0)
        if (call_campaign(s, call, arg, e) < 0)
            return -1;
    return row;
}

int read_campaign(struct reader *r, const char *id, read_campaign_call *call, void *arg,
                  struct err *e)
{
    cleanup_statement sqlite3_stmt *s = reader_prepare(r, CAMPAIGN_COLUMNS "WHERE id = ?1", e);
    if (!s || sql_bind(s, e, "t", id) < 0)
        return -1;
    int row = reader_step(r, s, e);
    if (row == 0)
        return err_set(e, ERR_NOT_FOUND, "there is no campaign %s", id);
    return row < 0 ? -1 : call_campaign(s, call, arg, e);
}

int read_plan(struct reader *r, const char *id, Plimsoll__Plan **ret, struct err *e)
{
    cleanup_statement sqlite3_stmt *s =
        reader_prepare(r, "SELECT plan FROM campaign WHERE id = ?1", e);
    if (!s || sql_bind(s, e, "t", id) < 0)
        return -1;
    int row = reader_step(r, s, e);
    if (row == 0)
        return err_set(e, ERR_NOT_FOUND, "there is no campaign %s", id);
    if (row < 0)
        return -1;
    ProtobufCMessage *plan = sql_message(s, 0, &plimsoll__plan__descriptor);
    if (!plan)
        return err_set(e, ERR_INPUT, "the plan of campaign %s cannot be read", id);
    *ret = (Plimsoll__Plan *)plan;
    return 0;
}

/* ---- Hosts ---- */

static int call_host(sqlite3_stmt *s, read_host_call *call, void *arg, struct err *e)
{
    ProtobufCMessage *fingerprint = sql_message(s, 3, &plimsoll__fingerprint__descriptor);
    ProtobufCMessage *prepared = sql_message(s, 4, &plimsoll__prepared__descriptor);
    struct read_host h = {
        .name = sql_text(s, 0),
        .group = sql_text(s, 1),
        .software = sql_text(s, 2),
        .fingerprint = (Plimsoll__Fingerprint *)fingerprint,
        .prepared = (Plimsoll__Prepared *)prepared,
    };
    int called = fingerprint && prepared
                     ? call(arg, &h, e)
                     : err_set(e, ERR_INPUT, "what is stored of host %s cannot be read", h.name);
    protobuf_c_message_free_unpacked(fingerprint, NULL);
    protobuf_c_message_free_unpacked(prepared, NULL);
    return called;
}

int read_hosts(struct reader *r, const char *id, read_host_call *call, void *arg, struct err *e)
{
    cleanup_statement sqlite3_stmt *s =
        reader_prepare(r,
                       "SELECT name, identity, software, fingerprint, prepared FROM host"
                       " WHERE campaign = ?1 ORDER BY name",
                       e);
    if (!s || sql_bind(s, e, "t", id) < 0)
        return -1;
    int row;
    while ((row = reader_step(r, s, e)) > 0)
        if (call_host(s, call, arg, e) < 0)
            return -1;
    return row;
}

/* ---- Counts ---- */

#define COUNTS                                                                                     \
    "SELECT count(*), total(accepted), total(given_up AND NOT accepted),"                          \
    " (SELECT count(*) FROM result WHERE campaign = ?1 AND outcome = 4 AND NOT superseded)"        \
    " + (SELECT count(*) FROM attempt WHERE campaign = ?1 AND lost <> ''),"                        \
    " (SELECT count(*) FROM result WHERE campaign = ?1 AND outcome = 3 AND NOT superseded),"       \
    " (SELECT count(*) FROM result WHERE campaign = ?1 AND superseded),"                           \
    " (SELECT unavailable FROM campaign WHERE id = ?1)"                                            \
    " FROM trial WHERE campaign = ?1"

int read_counts(struct reader *r, const char *id, struct read_counts *ret, struct err *e)
{
    cleanup_statement sqlite3_stmt *s = reader_prepare(r, COUNTS, e);
    if (!s || sql_bind(s, e, "t", id) < 0 || reader_step(r, s, e) < 0)
        return -1;
    *ret = (struct read_counts){
        .trials = sql_unsigned(s, 0),
        .accepted = sql_unsigned(s, 1),
        .given_up = sql_unsigned(s, 2),
        .failed = sql_unsigned(s, 3),
        .rejected = sql_unsigned(s, 4),
        .superseded = sql_unsigned(s, 5),
        .unavailable = sql_unsigned(s, 6),
    };
    return 0;
}
