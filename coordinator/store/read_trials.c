/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "coordinator/store/read.h"
#include "coordinator/store/reader.h"
#include "coordinator/store/sql.h"

static enum read_trial_state trial_state(sqlite3_stmt *s)
{
    if (sqlite3_column_int(s, 7))
        return READ_TRIAL_ACCEPTED;
    if (sqlite3_column_int(s, 6))
        return READ_TRIAL_LEASED;
    return sqlite3_column_int(s, 8) ? READ_TRIAL_GIVEN_UP : READ_TRIAL_PENDING;
}

int read_trials(struct reader *r, const char *id, read_trial_call *call, void *arg, struct err *e)
{
    cleanup_statement sqlite3_stmt *s = reader_prepare(
        r,
        "SELECT trial, cell, repetition, warmup, host, position, lease IS NOT NULL, accepted,"
        " given_up, last_reason, (SELECT count(*) FROM attempt AS a"
        " WHERE a.campaign = t.campaign AND a.trial = t.trial), answered, lost"
        " FROM trial AS t WHERE campaign = ?1 ORDER BY trial",
        e);
    if (!s || sql_bind(s, e, "t", id) < 0)
        return -1;
    int row;
    while ((row = reader_step(r, s, e)) > 0) {
        struct read_trial t = {
            .trial = sql_unsigned(s, 0),
            .cell = (uint32_t)sqlite3_column_int64(s, 1),
            .repetition = (uint32_t)sqlite3_column_int64(s, 2),
            .warmup = sqlite3_column_int(s, 3) != 0,
            .host = sql_text(s, 4),
            .position = (uint32_t)sqlite3_column_int64(s, 5),
            .state = trial_state(s),
            .last_reason = sql_text(s, 9),
            .attempts = (uint32_t)sqlite3_column_int64(s, 10),
            .answered = (uint32_t)sqlite3_column_int64(s, 11),
            .lost = (uint32_t)sqlite3_column_int64(s, 12),
        };
        if (call(arg, &t, e) < 0)
            return -1;
    }
    return row;
}

int read_attempts(struct reader *r, const char *id, read_attempt_call *call, void *arg,
                  struct err *e)
{
    cleanup_statement sqlite3_stmt *s =
        reader_prepare(r,
                       "SELECT trial, attempt, lease, host, started_ns, ended_ns, lost FROM attempt"
                       " WHERE campaign = ?1 ORDER BY trial, attempt",
                       e);
    if (!s || sql_bind(s, e, "t", id) < 0)
        return -1;
    int row;
    while ((row = reader_step(r, s, e)) > 0) {
        struct read_attempt a = {
            .trial = sql_unsigned(s, 0),
            .attempt = (uint32_t)sqlite3_column_int64(s, 1),
            .lease = sql_unsigned(s, 2),
            .host = sql_text(s, 3),
            .started_ns = sqlite3_column_int64(s, 4),
            .ended_ns = sqlite3_column_int64(s, 5),
            .lost = sql_text(s, 6),
        };
        if (call(arg, &a, e) < 0)
            return -1;
    }
    return row;
}

int read_sources(struct reader *r, read_source_call *call, void *arg, struct err *e)
{
    cleanup_statement sqlite3_stmt *s =
        reader_prepare(r, "SELECT agent, spool, next_sequence FROM source", e);
    if (!s)
        return -1;
    int row;
    while ((row = reader_step(r, s, e)) > 0)
        if (call(arg, sql_text(s, 0), sql_text(s, 1), sql_unsigned(s, 2), e) < 0)
            return -1;
    return row;
}
