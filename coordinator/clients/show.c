/* SPDX-License-Identifier: GPL-3.0-or-later */
/* show: one trial with all its attempts and what was kept of them. */
#include "common/cleanup.h"
#include "coordinator/clients/internal.h"
#include "coordinator/fleet/memory.h"

#include <string.h>

enum {
    MOST_ATTEMPTS = 32,
    /* Of samples and texts, so that the whole fits into one frame. */
    TEXT_BUDGET_BYTES = 640 << 10,
    MOST_SAMPLES = 4096,
};

struct showing {
    Plimsoll__Shown *to;
    Plimsoll__Plan *plan;
    size_t text_bytes;
    size_t samples;
};

/* ---- Copies of what the reader lends ---- */

static Plimsoll__Sample *copy_sample(const struct read_sample *s)
{
    Plimsoll__Sample *to = memory_need(malloc(sizeof *to));
    plimsoll__sample__init(to);
    to->metric = memory_text(s->metric);
    to->unit = memory_text(s->unit);
    to->value = s->value;
    to->time_ns = s->time_ns;
    to->clock_ns = s->clock_ns;
    return to;
}

static void copy_samples(struct showing *s, Plimsoll__Attempt *to, const struct read_result *r)
{
    to->samples = memory_need(calloc(r->n_samples + 1, sizeof(void *)));
    for (size_t i = 0; i < r->n_samples && s->samples < MOST_SAMPLES; i++, s->samples++)
        to->samples[to->n_samples++] = copy_sample(&r->samples[i]);
}

static void copy_conditions(Plimsoll__Attempt *to, const struct read_result *r)
{
    to->conditions = memory_need(calloc(r->n_conditions + 1, sizeof(void *)));
    for (size_t i = 0; i < r->n_conditions; i++)
        to->conditions[to->n_conditions++] =
            (Plimsoll__Factor *)memory_copy(&r->conditions[i]->base);
}

/* The end of a log says most: what does not fit is cut at its beginning. */
static Plimsoll__Text *copy_text(const Plimsoll__Text *t, size_t room)
{
    Plimsoll__Text *to = memory_need(malloc(sizeof *to));
    plimsoll__text__init(to);
    size_t length = strlen(t->text);
    const char *from = length > room ? t->text + (length - room) : t->text;
    /* Not in the middle of a character. */
    while (length > room && ((unsigned char)*from & 0xc0) == 0x80)
        from++;
    to->name = memory_text(t->name);
    to->text = memory_text(from);
    return to;
}

static void copy_texts(struct showing *s, Plimsoll__Attempt *to, const struct read_result *r)
{
    to->texts = memory_need(calloc(r->n_texts + 1, sizeof(void *)));
    for (size_t i = 0; i < r->n_texts; i++) {
        size_t room = TEXT_BUDGET_BYTES - s->text_bytes;
        Plimsoll__Text *text = copy_text(r->texts[i], room);
        s->text_bytes += strlen(text->text);
        to->texts[to->n_texts++] = text;
    }
}

/* ---- Attempts ---- */

static int see_attempt(void *arg, const struct read_attempt *a, struct err *e)
{
    (void)e;
    struct showing *s = arg;
    if (a->trial != s->to->trial || s->to->n_attempts == MOST_ATTEMPTS)
        return 0;
    Plimsoll__Attempt *to = memory_need(malloc(sizeof *to));
    plimsoll__attempt__init(to);
    to->attempt = a->attempt;
    to->host = memory_text(a->host);
    to->reason = memory_text(a->lost[0] ? a->lost : a->ended_ns == 0 ? "is running" : "");
    s->to->attempts[s->to->n_attempts++] = to;
    return 0;
}

static Plimsoll__Attempt *find_attempt(const struct showing *s, uint32_t number)
{
    for (size_t i = 0; i < s->to->n_attempts; i++)
        if (s->to->attempts[i]->attempt == number && s->to->attempts[i]->n_samples == 0 &&
            s->to->attempts[i]->outcome == PLIMSOLL__OUTCOME__OUTCOME_UNKNOWN)
            return s->to->attempts[i];
    return NULL;
}

static int see_result(void *arg, const struct read_result *r, struct err *e)
{
    (void)e;
    struct showing *s = arg;
    Plimsoll__Attempt *to = find_attempt(s, r->attempt);
    if (!to)
        return 0;
    to->outcome = r->outcome;
    to->accepted = r->accepted;
    to->superseded = r->superseded;
    if (r->reason[0])
        memory_give(&to->reason, memory_text(r->reason));
    copy_samples(s, to, r);
    copy_conditions(to, r);
    copy_texts(s, to, r);
    return 0;
}

static int see_trial(void *arg, const struct read_trial *t, struct err *e)
{
    (void)e;
    struct showing *s = arg;
    if (t->trial != s->to->trial)
        return 0;
    s->to->warmup = t->warmup;
    if (t->cell < s->plan->n_cells)
        s->to->cell = (Plimsoll__Cell *)memory_copy(&s->plan->cells[t->cell]->base);
    return 0;
}

static int read_shown(struct reader *r, const char *id, struct showing *s, struct err *e)
{
    if (read_begin(r, e) < 0 || read_plan(r, id, &s->plan, e) < 0 ||
        read_trials(r, id, see_trial, s, e) < 0)
        return -1;
    if (!s->to->cell)
        return err_set(e, ERR_NOT_FOUND, "campaign %s has no trial %llu", id,
                       (unsigned long long)s->to->trial);
    if (read_attempts(r, id, see_attempt, s, e) < 0)
        return -1;
    return read_results(r, id, s->to->trial, READ_WITH_TEXTS, see_result, s, e);
}

static void run_show(struct job *job)
{
    struct reader *r = NULL;
    struct showing s = {.to = memory_need(malloc(sizeof *s.to))};
    plimsoll__shown__init(s.to);
    s.to->campaign = memory_text(job->campaign);
    s.to->trial = job->trial;
    s.to->attempts = memory_need(calloc(MOST_ATTEMPTS, sizeof(void *)));
    job->answer = &s.to->base;
    if (read_open(job->client->all->store_path, &r, &job->error) == 0)
        read_shown(r, job->campaign, &s, &job->error);
    read_close(&r);
    if (s.plan)
        plimsoll__plan__free_unpacked(s.plan, NULL);
}

static void finish_show(struct job *job)
{
    Plimsoll__Envelope m = PLIMSOLL__ENVELOPE__INIT;
    m.kind_case = PLIMSOLL__ENVELOPE__KIND_SHOWN;
    m.shown = (Plimsoll__Shown *)job->answer;
    if (job->error.code != ERR_NONE)
        client_fail_with(job->client, job->request, &job->error);
    else
        client_answer(job->client, &m, job->request);
    job_free(job);
}

void request_show(struct client *c, uint32_t request, const Plimsoll__Show *ask)
{
    struct job *job = job_new(c, request);
    if (!job)
        return;
    job->campaign = memory_text(ask->campaign);
    job->trial = ask->trial;
    job_start(job, run_show, finish_show);
}
