/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Campaigns and hosts as clients see them. */
#include "common/cleanup.h"
#include "common/lexer.h"
#include "coordinator/fleet/internal.h"
#include "coordinator/fleet/memory.h"
#include "coordinator/plan/plan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* So that the whole fits into one frame. */
enum { MOST_ACTIVITIES = 256, MOST_MISSING = 256, CELL_WORDS_BYTES = 128, REASON_BYTES = 1024 };

static char *cell_words(const Plimsoll__Plan *plan, uint32_t cell)
{
    char words[CELL_WORDS_BYTES] = "";
    if (cell < plan->n_cells)
        plan_cell_words(plan->cells[cell], words);
    return memory_text(words);
}

/* ---- What is missing ---- */

static bool same_missing(const Plimsoll__Missing *m, const char *host, const char *cell,
                         const char *reason)
{
    return strcmp(m->host, host) == 0 && strcmp(m->cell, cell) == 0 &&
           strcmp(m->reason, reason) == 0;
}

void fleet_add_missing(Plimsoll__Campaign *to, const Plimsoll__Plan *plan,
                       const struct lacking *what)
{
    cleanup_free char *cell = cell_words(plan, what->cell);
    char reason[REASON_BYTES];
    snprintf(reason, sizeof reason, "%s", what->reason);
    utf8_trim(reason);
    for (size_t i = 0; i < to->n_missing; i++)
        if (same_missing(to->missing[i], what->host, cell, reason)) {
            to->missing[i]->trials++;
            return;
        }
    if (to->n_missing == MOST_MISSING)
        return;
    to->missing = memory_need(realloc(to->missing, (to->n_missing + 1) * sizeof(void *)));
    Plimsoll__Missing *m = memory_need(malloc(sizeof *m));
    plimsoll__missing__init(m);
    m->host = memory_text(what->host);
    m->cell = steal(cell);
    m->reason = memory_text(reason);
    m->trials = 1;
    to->missing[to->n_missing++] = m;
}

static void add_all_missing(Plimsoll__Campaign *to, const struct campaign *c)
{
    size_t n = 0;
    const struct trial *trials = schedule_trials(c->schedule, &n);
    for (size_t i = 0; i < n; i++) {
        if (trials[i].state != TRIAL_GIVEN_UP)
            continue;
        struct lacking what = {schedule_host_name(c->schedule, trials[i].host),
                               trials[i].reason ? trials[i].reason : "", trials[i].cell};
        fleet_add_missing(to, c->plan, &what);
    }
}

/* ---- What runs where ---- */

static Plimsoll__Activity *activity_of(const struct campaign *c, const struct fleet_host *h)
{
    const struct trial *t = work_held(c, h);
    if (!t)
        return NULL;
    Plimsoll__Activity *a = memory_need(malloc(sizeof *a));
    plimsoll__activity__init(a);
    a->host = memory_text(h->name);
    a->cell = cell_words(c->plan, t->cell);
    a->trial = t->number;
    a->stage = memory_text(h->stage);
    return a;
}

static void add_activities(Plimsoll__Campaign *to, const struct campaign *c)
{
    const struct roster *r = &c->fleet->roster;
    to->activity = memory_need(calloc(MOST_ACTIVITIES, sizeof(void *)));
    for (size_t i = 0; i < r->n && to->n_activity < MOST_ACTIVITIES; i++) {
        Plimsoll__Activity *a = activity_of(c, r->hosts[i]);
        if (a)
            to->activity[to->n_activity++] = a;
    }
}

/* ---- A campaign ---- */

/* Nobody was asked, or all of them went away. */
static bool waits_for_hosts(const struct campaign *c)
{
    for (size_t i = 0; i < c->n_preparing; i++)
        if (!c->preparing[i].dropped)
            return false;
    return c->phase == CAMPAIGN_PREPARING;
}

static char *note_of(const struct campaign *c)
{
    const struct campaign *first = fleet_current(c->fleet);
    char *note = NULL;
    int made = 0;
    if (first != c)
        made = asprintf(&note, "waits for campaign %s", first->id);
    else if (waits_for_hosts(c))
        made = asprintf(&note, "no agent is connected");
    else if (c->phase == CAMPAIGN_CANCELLING)
        made = asprintf(&note, "cancelling%s%s", c->note[0] ? "; " : "", c->note);
    else
        note = memory_text(c->note);
    return made < 0 ? memory_text("") : note;
}

/* Until its end is committed it is not told: what a client knows must survive a kill. */
static const char *state_of(const struct campaign *c)
{
    if (c->schedule && c->phase != CAMPAIGN_DRAWN)
        return "running";
    return c->phase == CAMPAIGN_CANCELLING ? "running" : "preparing";
}

Plimsoll__Campaign *fleet_describe(const struct fleet *f, const char *id)
{
    const struct campaign *c = fleet_find(f, id);
    if (!c)
        return NULL;
    Plimsoll__Campaign *to = memory_need(malloc(sizeof *to));
    plimsoll__campaign__init(to);
    to->id = memory_text(c->id);
    to->name = memory_text(c->plan->name);
    to->state = memory_text(state_of(c));
    to->note = note_of(c);
    to->submitted_ns = c->submitted_ns;
    if (!c->schedule)
        return to;
    struct schedule_counts counts = schedule_counts(c->schedule);
    to->trials = counts.trials;
    to->accepted = counts.accepted;
    to->failed = counts.failed + c->earlier_failed;
    to->rejected = counts.rejected + c->earlier_rejected;
    to->unavailable = counts.unavailable;
    to->left_ns = (uint64_t)schedule_left_ns(c->schedule, clock_monotonic_ns());
    add_activities(to, c);
    add_all_missing(to, c);
    return to;
}

/* ---- Hosts ---- */

static Plimsoll__Host *describe_host(const struct fleet *f, const struct fleet_host *h,
                                     int64_t now_ns)
{
    Plimsoll__Host *to = memory_need(malloc(sizeof *to));
    plimsoll__host__init(to);
    to->name = memory_text(h->name);
    to->state = memory_text(roster_state(h, now_ns, f->settings.gone_ns));
    to->group = memory_text(h->identity);
    to->software = memory_text(h->software);
    to->last_seen_ns = now_ns - h->heard_ns;
    to->activity = activity_of(fleet_current(f), h);
    if (h->fingerprint)
        to->fingerprint = (Plimsoll__Fingerprint *)memory_copy(&h->fingerprint->base);
    return to;
}

Plimsoll__Hosts *fleet_describe_hosts(const struct fleet *f)
{
    int64_t now_ns = clock_monotonic_ns();
    Plimsoll__Hosts *to = memory_need(malloc(sizeof *to));
    plimsoll__hosts__init(to);
    to->hosts = memory_need(calloc(f->roster.n + 1, sizeof(void *)));
    for (size_t i = 0; i < f->roster.n; i++)
        to->hosts[to->n_hosts++] = describe_host(f, f->roster.hosts[i], now_ns);
    return to;
}
