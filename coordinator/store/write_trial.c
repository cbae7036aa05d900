/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Writes about one trial: attempts, what became of them, results. */
#include "common/cleanup.h"
#include "coordinator/store/sql.h"
#include "coordinator/store/sum.h"
#include "coordinator/store/writer.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

int write_attempt(struct writer *w, const struct write *op, struct err *e)
{
    const Plimsoll__Lease *l = (const Plimsoll__Lease *)op->message;
    if (writer_do(w, e,
                  "UPDATE trial SET lease = ?3, host = ?4 WHERE campaign = ?1 AND trial = ?2"
                  " AND accepted = 0",
                  "tuut", l->campaign, l->trial, l->lease, op->host) < 0)
        return -1;
    if (writer_changes(w) != 1)
        return err_set(e, ERR_INPUT, "trial %" PRIu64 " of %s is unknown or has its result",
                       l->trial, l->campaign);
    return writer_do(w, e,
                     "INSERT INTO attempt (campaign, trial, attempt, lease, host, started_ns)"
                     " VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                     "tuiuti", l->campaign, l->trial, (int64_t)l->attempt, l->lease, op->host,
                     op->time_ns);
}

/* A trial that has used up its attempts is given up in the same breath. */
#define GIVE_UP_IF_USED_UP                                                                         \
    "UPDATE trial SET given_up = 1 WHERE campaign = ?1 AND trial = ?2 AND accepted = 0"            \
    " AND (answered >= ?3 OR lost >= ?4)"

static int give_up_if_used_up(struct writer *w, const Plimsoll__Lease *l, struct err *e)
{
    return writer_do(w, e, GIVE_UP_IF_USED_UP, "tuii", l->campaign, l->trial,
                     (int64_t)STORE_MOST_ANSWERED, (int64_t)STORE_MOST_LOST);
}

int write_attempt_end(struct writer *w, const struct write *op, struct err *e)
{
    const Plimsoll__Lease *l = (const Plimsoll__Lease *)op->message;
    if (writer_do(w, e,
                  "UPDATE trial SET lease = NULL, lost = lost + 1, last_reason = ?4"
                  " WHERE campaign = ?1 AND trial = ?2 AND lease = ?3",
                  "tuut", l->campaign, l->trial, l->lease, op->text) < 0)
        return -1;
    if (writer_changes(w) == 0)
        return 0;
    if (writer_do(w, e,
                  "UPDATE attempt SET ended_ns = ?4, lost = ?5"
                  " WHERE campaign = ?1 AND trial = ?2 AND attempt = ?3",
                  "tuiit", l->campaign, l->trial, (int64_t)l->attempt, op->time_ns, op->text) < 0)
        return -1;
    return give_up_if_used_up(w, l, e);
}

/* How a result stands to its trial. */
struct standing {
    bool current; /* its lease is the trial's */
    bool accepted;
    bool warmup;
    uint32_t cell, repetition; /* of the trial; as read_result has them where it is not known */
};

static int find_standing(struct writer *w, const Plimsoll__Result *r, struct standing *ret,
                         struct err *e)
{
    sqlite3_stmt *s =
        writer_statement(w,
                         "SELECT lease IS ?3 AND accepted = 0, warmup, cell, repetition FROM trial"
                         " WHERE campaign = ?1 AND trial = ?2",
                         e);
    if (!s || sql_bind(s, e, "tuu", r->lease->campaign, r->lease->trial, r->lease->lease) < 0)
        return -1;
    struct standing found = {.warmup = r->warmup, .cell = UINT32_MAX};
    int step = sqlite3_step(s);
    if (step == SQLITE_ROW) {
        found.current = sqlite3_column_int(s, 0) != 0;
        found.warmup = sqlite3_column_int(s, 1) != 0;
        found.cell = (uint32_t)sqlite3_column_int64(s, 2);
        found.repetition = (uint32_t)sqlite3_column_int64(s, 3);
    }
    found.accepted = found.current && store_accepts(r->outcome, found.warmup);
    sqlite3_reset(s);
    *ret = found;
    return 0;
}

static int find_sum(const struct write *op, const struct standing *standing,
                    const Plimsoll__Result *conditions, uint8_t ret[SUM_BYTES], struct err *e)
{
    const Plimsoll__Result *r = (const Plimsoll__Result *)op->message;
    struct read_result row = {.trial = r->lease->trial,
                              .cell = standing->cell,
                              .repetition = standing->repetition,
                              .attempt = r->lease->attempt,
                              .host = op->host,
                              .warmup = standing->warmup,
                              .accepted = standing->accepted,
                              .superseded = !standing->current,
                              .outcome = r->outcome,
                              .reason = r->reason,
                              .stored_ns = op->time_ns};
    size_t length = plimsoll__result__get_packed_size(conditions);
    cleanup_free uint8_t *packed = malloc(length + 1);
    if (!packed)
        return err_system(e, ENOMEM, "cannot store a result");
    plimsoll__result__pack(conditions, packed);
    struct sum sum;
    sum_begin(&sum, &row, packed, length);
    for (size_t i = 0; i < r->n_samples; i++) {
        const Plimsoll__Sample *s = r->samples[i];
        sum_sample(&sum,
                   &(struct read_sample){s->metric, s->unit, s->value, s->time_ns, s->clock_ns});
    }
    sum_end(&sum, ret);
    return 0;
}

/* 1 when it is new, 0 when it was stored before. */
static int insert_result(struct writer *w, const struct write *op, const struct standing *standing,
                         struct err *e)
{
    const Plimsoll__Result *r = (const Plimsoll__Result *)op->message;
    Plimsoll__Result conditions = PLIMSOLL__RESULT__INIT;
    conditions.n_conditions = r->n_conditions;
    conditions.conditions = r->conditions;
    uint8_t sum[SUM_BYTES];
    if (find_sum(op, standing, &conditions, sum, e) < 0)
        return -1;
    int done = writer_do(
        w, e,
        "INSERT INTO result (agent, spool, sequence, campaign, trial, attempt, lease, host, "
        "outcome,"
        " reason, warmup, accepted, superseded, stored_ns, conditions, sum)"
        " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)"
        " ON CONFLICT (agent, spool, sequence) DO NOTHING",
        "ttutuiutitiiiimb", op->text, r->spool, r->sequence, r->lease->campaign, r->lease->trial,
        (int64_t)r->lease->attempt, r->lease->lease, op->host, (int64_t)r->outcome, r->reason,
        (int64_t)standing->warmup, (int64_t)standing->accepted, (int64_t)!standing->current,
        op->time_ns, &conditions.base, sum, sizeof sum);
    return done < 0 ? -1 : writer_changes(w) == 1;
}

static int insert_samples(struct writer *w, int64_t result, const Plimsoll__Result *r,
                          struct err *e)
{
    for (size_t i = 0; i < r->n_samples; i++) {
        const Plimsoll__Sample *s = r->samples[i];
        if (writer_do(w, e, "INSERT INTO sample VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)", "iittdii",
                      result, (int64_t)i, s->metric, s->unit, s->value, s->time_ns,
                      s->clock_ns) < 0)
            return -1;
    }
    return 0;
}

static int insert_texts(struct writer *w, int64_t result, const Plimsoll__Result *r, struct err *e)
{
    for (size_t i = 0; i < r->n_texts; i++)
        if (writer_do(w, e, "INSERT INTO text VALUES (?1, ?2, ?3, ?4)", "iitt", result, (int64_t)i,
                      r->texts[i]->name, r->texts[i]->text) < 0)
            return -1;
    return 0;
}

/* A spool is sent oldest first, so the next number only grows. */
static int move_source(struct writer *w, const struct write *op, struct err *e)
{
    const Plimsoll__Result *r = (const Plimsoll__Result *)op->message;
    return writer_do(w, e,
                     "INSERT INTO source VALUES (?1, ?2, ?3) ON CONFLICT (agent, spool) DO UPDATE"
                     " SET next_sequence = max(next_sequence, excluded.next_sequence)",
                     "ttu", op->text, r->spool, r->sequence + 1);
}

static int end_lease(struct writer *w, const struct write *op, const struct standing *standing,
                     struct err *e)
{
    const Plimsoll__Result *r = (const Plimsoll__Result *)op->message;
    const Plimsoll__Lease *l = r->lease;
    bool counts = !standing->accepted && r->outcome != PLIMSOLL__OUTCOME__OUTCOME_CANCELLED;
    if (writer_do(w, e,
                  "UPDATE trial SET lease = NULL, accepted = ?3, answered = answered + ?4,"
                  " last_reason = ?5 WHERE campaign = ?1 AND trial = ?2",
                  "tuiit", l->campaign, l->trial, (int64_t)standing->accepted, (int64_t)counts,
                  r->reason) < 0 ||
        writer_do(
            w, e,
            "UPDATE attempt SET ended_ns = ?4 WHERE campaign = ?1 AND trial = ?2 AND attempt = ?3",
            "tuii", l->campaign, l->trial, (int64_t)l->attempt, op->time_ns) < 0)
        return -1;
    return give_up_if_used_up(w, l, e);
}

int write_result(struct writer *w, const struct write *op, struct err *e)
{
    const Plimsoll__Result *r = (const Plimsoll__Result *)op->message;
    struct standing standing;
    if (find_standing(w, r, &standing, e) < 0)
        return -1;
    int fresh = insert_result(w, op, &standing, e);
    if (fresh <= 0)
        return fresh;
    int64_t result = writer_last_row(w);
    if (insert_samples(w, result, r, e) < 0 || insert_texts(w, result, r, e) < 0 ||
        move_source(w, op, e) < 0)
        return -1;
    return standing.current ? end_lease(w, op, &standing, e) : 0;
}
