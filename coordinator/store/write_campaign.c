/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Writes about a campaign as a whole, its hosts and its order. */
#include "common/clock.h"
#include "coordinator/store/sql.h"
#include "coordinator/store/writer.h"

int write_campaign(struct writer *w, const struct write *op, struct err *e)
{
    const Plimsoll__Plan *plan = (const Plimsoll__Plan *)op->message;
    return writer_do(
        w, e,
        "INSERT INTO campaign (id, name, title, plan, state, submitted_ns, keep_failed)"
        " VALUES (?1, ?2, ?3, ?4, 'preparing', ?5, ?6)",
        "tttmii", op->campaign, plan->name, plan->title, op->message, op->time_ns,
        (int64_t)op->flag);
}

int write_host(struct writer *w, const struct write *op, struct err *e)
{
    return writer_do(w, e, "INSERT OR REPLACE INTO host VALUES (?1, ?2, ?3, ?4, ?5, ?6)", "ttttmm",
                     op->campaign, op->host, op->text, op->note, op->message, op->second);
}

int write_trials(struct writer *w, const struct write *op, struct err *e)
{
    for (size_t i = 0; i < op->n_trials; i++) {
        const struct store_trial *t = &op->trials[i];
        int done = writer_do(
            w, e,
            "INSERT INTO trial (campaign, trial, cell, repetition, warmup, host, position)"
            " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            "tuiiiti", op->campaign, t->trial, (int64_t)t->cell, (int64_t)t->repetition,
            (int64_t)t->warmup, t->host, (int64_t)t->order);
        if (done < 0)
            return err_prefix(e, "trial %llu", (unsigned long long)t->trial);
    }
    return 0;
}

int write_schedule(struct writer *w, const struct write *op, struct err *e)
{
    if (writer_do(
            w, e,
            "UPDATE campaign SET scheduled = 1, seed = ?2, unavailable = ?3, state = 'running'"
            " WHERE id = ?1 AND scheduled = 0",
            "tuu", op->campaign, op->number, op->count) < 0)
        return -1;
    if (writer_changes(w) != 1)
        return err_set(e, ERR_INPUT, "campaign %s is unknown or has its schedule", op->campaign);
    return write_trials(w, op, e);
}

int write_state(struct writer *w, const struct write *op, struct err *e)
{
    if (writer_do(w, e,
                  "UPDATE campaign SET state = ?2, note = ?3, ended_ns = CASE WHEN ?2 IN"
                  " ('preparing', 'running', 'cancelling') THEN 0 ELSE ?4 END WHERE id = ?1",
                  "ttti", op->campaign, op->text, op->note, op->time_ns) < 0)
        return -1;
    if (writer_changes(w) != 1)
        return err_set(e, ERR_NOT_FOUND, "there is no campaign %s", op->campaign);
    return 0;
}

int write_resume(struct writer *w, const struct write *op, struct err *e)
{
    if (writer_do(
            w, e,
            "UPDATE campaign SET state = CASE scheduled WHEN 1 THEN 'running' ELSE 'preparing' END,"
            " note = '', ended_ns = 0, keep_failed = max(keep_failed, ?2) WHERE id = ?1",
            "ti", op->campaign, (int64_t)op->flag) < 0)
        return -1;
    if (writer_changes(w) != 1)
        return err_set(e, ERR_NOT_FOUND, "there is no campaign %s", op->campaign);
    return writer_do(w, e,
                     "UPDATE trial SET given_up = 0, answered = 0, lost = 0"
                     " WHERE campaign = ?1 AND accepted = 0",
                     "t", op->campaign);
}

int write_give_up(struct writer *w, const struct write *op, struct err *e)
{
    return writer_do(w, e,
                     "UPDATE trial SET given_up = 1, last_reason = ?3"
                     " WHERE campaign = ?1 AND host = ?2 AND accepted = 0 AND given_up = 0"
                     " AND lease IS NULL",
                     "ttt", op->campaign, op->host, op->text);
}
