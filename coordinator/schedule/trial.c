/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What becomes of a trial. */
#include "coordinator/schedule/internal.h"
#include "coordinator/store/store.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static struct trial *find(struct schedule *s, uint64_t number)
{
    return number > 0 && number <= s->n_trials ? &s->trials[number - 1] : NULL;
}

/* Whether `a` comes before `b` on a host: warm-ups, then what was tried least, then as drawn. */
static bool before(const struct trial *a, const struct trial *b)
{
    if (a->warmup != b->warmup)
        return a->warmup;
    uint32_t tries_a = a->answered + a->lost;
    uint32_t tries_b = b->answered + b->lost;
    return tries_a != tries_b ? tries_a < tries_b : a->position < b->position;
}

const struct trial *schedule_next(const struct schedule *s, uint32_t host)
{
    const struct trial *best = NULL;
    const struct numbers *own = &s->hosts[host].trials;
    for (size_t i = 0; i < own->n; i++) {
        const struct trial *t = &s->trials[own->item[i]];
        if (t->host == host && t->state == TRIAL_PENDING && (!best || before(t, best)))
            best = t;
    }
    return best;
}

const struct trial *schedule_held(const struct schedule *s, uint32_t host)
{
    const struct numbers *own = &s->hosts[host].trials;
    for (size_t i = 0; i < own->n; i++) {
        const struct trial *t = &s->trials[own->item[i]];
        if (t->host == host && t->state == TRIAL_LEASED)
            return t;
    }
    return NULL;
}

uint32_t schedule_lease(struct schedule *s, uint64_t number, uint64_t lease, int64_t now_ns)
{
    struct trial *t = find(s, number);
    assert(t && t->state == TRIAL_PENDING);
    t->state = TRIAL_LEASED;
    t->lease = lease;
    t->leased_ns = now_ns;
    return ++t->attempts;
}

static void keep_reason(struct trial *t, const char *reason)
{
    free(t->reason);
    t->reason = strdup(reason ? reason : "");
}

/* The lease has ended and the trial is not accepted. */
static void put_back(struct trial *t, const char *reason)
{
    keep_reason(t, reason);
    t->lease = 0;
    bool used_up = t->answered >= STORE_MOST_ANSWERED || t->lost >= STORE_MOST_LOST;
    t->state = used_up ? TRIAL_GIVEN_UP : TRIAL_PENDING;
}

bool schedule_answer(struct schedule *s, uint64_t number, uint64_t lease, Plimsoll__Outcome outcome,
                     const char *reason, int64_t now_ns)
{
    struct trial *t = find(s, number);
    if (!t || t->state != TRIAL_LEASED || t->lease != lease)
        return false;
    s->failed += outcome == PLIMSOLL__OUTCOME__OUTCOME_FAILED;
    s->rejected += outcome == PLIMSOLL__OUTCOME__OUTCOME_REJECTED;
    bool cancelled = outcome == PLIMSOLL__OUTCOME__OUTCOME_CANCELLED;
    if (!cancelled)
        schedule_saw(s, t->cell, now_ns - t->leased_ns);
    if (store_accepts(outcome, t->warmup)) {
        t->state = TRIAL_ACCEPTED;
        t->lease = 0;
        return true;
    }
    t->answered += !cancelled;
    put_back(t, reason);
    return true;
}

bool schedule_lose(struct schedule *s, uint64_t number, uint64_t lease, const char *why)
{
    struct trial *t = find(s, number);
    if (!t || t->state != TRIAL_LEASED || t->lease != lease)
        return false;
    s->failed++;
    t->lost++;
    put_back(t, why);
    return true;
}

size_t schedule_give_up(struct schedule *s, uint32_t host, const char *why)
{
    size_t n = 0;
    for (size_t i = 0; i < s->n_trials; i++) {
        struct trial *t = &s->trials[i];
        if (t->host != host || t->state != TRIAL_PENDING)
            continue;
        t->state = TRIAL_GIVEN_UP;
        keep_reason(t, why);
        n++;
    }
    return n;
}

void schedule_forgive(struct schedule *s)
{
    for (size_t i = 0; i < s->n_trials; i++) {
        struct trial *t = &s->trials[i];
        if (t->state == TRIAL_ACCEPTED)
            continue;
        t->answered = t->lost = 0;
        if (t->state == TRIAL_GIVEN_UP)
            t->state = TRIAL_PENDING;
    }
}

bool schedule_has_work(const struct schedule *s, uint32_t host)
{
    return schedule_next(s, host) != NULL;
}

bool schedule_is_over(const struct schedule *s)
{
    for (size_t i = 0; i < s->n_trials; i++)
        if (s->trials[i].state == TRIAL_PENDING || s->trials[i].state == TRIAL_LEASED)
            return false;
    return true;
}

static uint64_t count_unavailable(const struct schedule *s)
{
    uint64_t n = 0;
    for (uint32_t c = 0; c < s->plan->n_cells; c++) {
        uint64_t lacking = 0;
        uint64_t working = 0;
        for (uint32_t h = 0; h < s->n_hosts; h++) {
            working += s->hosts[h].works;
            lacking += s->hosts[h].works && !schedule_offers(s, h, c);
        }
        n += !s->plan->any_host ? lacking : lacking == working;
    }
    return n;
}

struct schedule_counts schedule_counts(const struct schedule *s)
{
    struct schedule_counts c = {.trials = s->n_trials,
                                .failed = s->failed,
                                .rejected = s->rejected,
                                .unavailable = count_unavailable(s)};
    for (size_t i = 0; i < s->n_trials; i++) {
        c.accepted += s->trials[i].state == TRIAL_ACCEPTED;
        c.given_up += s->trials[i].state == TRIAL_GIVEN_UP;
        c.leased += s->trials[i].state == TRIAL_LEASED;
    }
    return c;
}
