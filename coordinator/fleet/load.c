/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A campaign taken up again from the store: its plan, hosts, trials, and who holds which. Any
 * thread. */
#include "common/cleanup.h"
#include "coordinator/fleet/internal.h"
#include "coordinator/fleet/memory.h"
#include "coordinator/store/read.h"

#include <stdlib.h>
#include <string.h>

struct loading {
    struct campaign *campaign;
    struct reader *reader;
    struct schedule_host *hosts; /* texts and offers are owned copies */
    size_t n_hosts;
    struct trial *trials;
    size_t n_trials;
};

static int see_campaign(void *arg, const struct read_campaign *found, struct err *e)
{
    (void)e;
    struct campaign *c = arg;
    c->submitted_ns = found->submitted_ns;
    c->keep_failed = found->keep_failed;
    c->was_cancelling = strcmp(found->state, "cancelling") == 0;
    memory_set(&c->note, found->note);
    return 0;
}

static int see_host(void *arg, const struct read_host *h, struct err *e)
{
    (void)e;
    struct loading *l = arg;
    l->hosts = memory_need(realloc(l->hosts, (l->n_hosts + 1) * sizeof *l->hosts));
    l->hosts[l->n_hosts++] = (struct schedule_host){
        .name = memory_text(h->name),
        .identity = memory_text(h->group),
        .prepared = (Plimsoll__Prepared *)memory_copy(&h->prepared->base),
    };
    return 0;
}

static enum trial_state state_of(const struct read_trial *t)
{
    switch (t->state) {
    case READ_TRIAL_LEASED:
        return TRIAL_LEASED;
    case READ_TRIAL_ACCEPTED:
        return TRIAL_ACCEPTED;
    case READ_TRIAL_GIVEN_UP:
        return TRIAL_GIVEN_UP;
    case READ_TRIAL_PENDING:
        break;
    }
    return TRIAL_PENDING;
}

static int see_trial(void *arg, const struct read_trial *t, struct err *e)
{
    struct loading *l = arg;
    int host = schedule_host_index(l->campaign->schedule, t->host);
    if (host < 0)
        return err_set(e, ERR_INPUT, "trial %llu is on a host that takes no part: %s",
                       (unsigned long long)t->trial, t->host);
    if (l->n_trials % 64 == 0)
        l->trials = memory_need(realloc(l->trials, (l->n_trials + 64) * sizeof *l->trials));
    l->trials[l->n_trials++] = (struct trial){
        .number = t->trial,
        .cell = t->cell,
        .repetition = t->repetition,
        .warmup = t->warmup,
        .host = (uint32_t)host,
        .position = t->position,
        .state = state_of(t),
        .attempts = t->attempts,
        .answered = t->answered,
        .lost = t->lost,
        .leased_ns = clock_monotonic_ns(),
        .reason = t->last_reason[0] ? memory_text(t->last_reason) : NULL,
    };
    return 0;
}

static int see_attempt(void *arg, const struct read_attempt *a, struct err *e)
{
    struct loading *l = arg;
    if (a->trial == 0 || a->trial > l->n_trials)
        return err_set(e, ERR_INPUT, "an attempt of trial %llu, which there is not",
                       (unsigned long long)a->trial);
    struct trial *t = &l->trials[a->trial - 1];
    if (a->ended_ns == 0 && t->state == TRIAL_LEASED && a->attempt == t->attempts)
        t->lease = a->lease;
    else if (a->ended_ns != 0 && !a->lost[0])
        schedule_saw(l->campaign->schedule, t->cell, a->ended_ns - a->started_ns);
    return 0;
}

static int load_schedule(struct loading *l, struct err *e)
{
    struct campaign *c = l->campaign;
    struct read_counts counts;
    if (read_hosts(l->reader, c->id, see_host, l, e) < 0 ||
        schedule_new(c->plan, l->hosts, l->n_hosts, &c->schedule, e) < 0 ||
        read_trials(l->reader, c->id, see_trial, l, e) < 0 ||
        read_attempts(l->reader, c->id, see_attempt, l, e) < 0 ||
        read_counts(l->reader, c->id, &counts, e) < 0)
        return -1;
    for (size_t i = 0; i < l->n_trials; i++)
        if (schedule_restore(c->schedule, &l->trials[i], e) < 0)
            return -1;
    c->earlier_failed = counts.failed;
    c->earlier_rejected = counts.rejected;
    return 0;
}

static int see_scheduled(void *arg, const struct read_campaign *found, struct err *e)
{
    (void)e;
    *(bool *)arg = found->scheduled;
    return 0;
}

static int load(struct loading *l, struct err *e)
{
    struct campaign *c = l->campaign;
    bool scheduled = false;
    if (read_begin(l->reader, e) < 0 || read_campaign(l->reader, c->id, see_campaign, c, e) < 0 ||
        read_campaign(l->reader, c->id, see_scheduled, &scheduled, e) < 0 ||
        read_plan(l->reader, c->id, &c->plan, e) < 0)
        return -1;
    return scheduled ? load_schedule(l, e) : 0;
}

static void loading_clear(struct loading *l)
{
    read_close(&l->reader);
    campaign_free(&l->campaign);
    for (size_t i = 0; i < l->n_hosts; i++) {
        free((char *)l->hosts[i].name);
        free((char *)l->hosts[i].identity);
        plimsoll__prepared__free_unpacked((Plimsoll__Prepared *)l->hosts[i].prepared, NULL);
    }
    for (size_t i = 0; i < l->n_trials; i++)
        free(l->trials[i].reason);
    free(l->hosts);
    free(l->trials);
}

int fleet_load(const char *store_path, const char *id, struct campaign **ret, struct err *e)
{
    struct loading l = {.campaign = campaign_new(id)};
    int failed = read_open(store_path, &l.reader, e);
    if (failed == 0)
        failed = load(&l, e);
    if (failed == 0)
        *ret = steal(l.campaign);
    loading_clear(&l);
    return failed;
}
