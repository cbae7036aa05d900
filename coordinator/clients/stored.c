/* SPDX-License-Identifier: GPL-3.0-or-later */
/* list, status and watch: campaigns that run are described by the fleet, all others by the store.
 */
#include "common/cleanup.h"
#include "coordinator/clients/internal.h"
#include "coordinator/fleet/memory.h"

#include <string.h>

enum { LIST_DEFAULT = 100, LIST_MOST = 1000 };

/* ---- From the store ---- */

static int see_campaign(void *arg, const struct read_campaign *found, struct err *e)
{
    (void)e;
    Plimsoll__Campaign *to = arg;
    bool open = found->ended_ns == 0;
    to->id = memory_text(found->id);
    to->name = memory_text(found->name);
    /* One that has not ended is the fleet's; seen here only in the moment between. */
    to->state = memory_text(open && found->scheduled ? "running"
                            : open                   ? "preparing"
                                                     : found->state);
    to->note = memory_text(found->note);
    to->submitted_ns = found->submitted_ns;
    return 0;
}

struct missing_search {
    Plimsoll__Campaign *to;
    Plimsoll__Plan *plan;
};

static int see_trial(void *arg, const struct read_trial *t, struct err *e)
{
    (void)e;
    struct missing_search *s = arg;
    struct lacking what = {t->host, t->last_reason, t->cell};
    if (t->state == READ_TRIAL_GIVEN_UP)
        fleet_add_missing(s->to, s->plan, &what);
    return 0;
}

static int add_missing(struct reader *r, const char *id, Plimsoll__Campaign *to, struct err *e)
{
    struct missing_search s = {.to = to};
    if (read_plan(r, id, &s.plan, e) < 0)
        return -1;
    int failed = read_trials(r, id, see_trial, &s, e);
    plimsoll__plan__free_unpacked(s.plan, NULL);
    return failed;
}

int stored_campaign(struct reader *r, const char *id, bool with_missing, Plimsoll__Campaign **ret,
                    struct err *e)
{
    struct read_counts counts;
    Plimsoll__Campaign *to = memory_need(malloc(sizeof *to));
    plimsoll__campaign__init(to);
    if (read_campaign(r, id, see_campaign, to, e) < 0 || read_counts(r, id, &counts, e) < 0 ||
        (with_missing && counts.given_up > 0 && add_missing(r, id, to, e) < 0)) {
        plimsoll__campaign__free_unpacked(to, NULL);
        return -1;
    }
    to->trials = counts.trials;
    to->accepted = counts.accepted;
    to->failed = counts.failed;
    to->rejected = counts.rejected;
    to->unavailable = counts.unavailable;
    *ret = to;
    return 0;
}

/* ---- list ---- */

static int see_listed(void *arg, const struct read_campaign *found, struct err *e)
{
    (void)e;
    Plimsoll__Campaigns *list = arg;
    Plimsoll__Campaign *c = memory_need(malloc(sizeof *c));
    plimsoll__campaign__init(c);
    c->id = memory_text(found->id);
    list->campaigns[list->n_campaigns++] = c;
    return 0;
}

static int read_list(struct job *job, Plimsoll__Campaigns *list, struct err *e)
{
    struct reader *r = NULL;
    if (read_open(job->client->all->store_path, &r, e) < 0)
        return -1;
    int failed = read_begin(r, e);
    if (failed == 0)
        failed = read_campaigns(r, job->most, see_listed, list, e);
    for (size_t i = 0; i < list->n_campaigns && failed == 0; i++) {
        Plimsoll__Campaign *full = NULL;
        failed = stored_campaign(r, list->campaigns[i]->id, false, &full, e);
        if (failed == 0) {
            plimsoll__campaign__free_unpacked(list->campaigns[i], NULL);
            list->campaigns[i] = full;
        }
    }
    read_close(&r);
    return failed;
}

static void run_list(struct job *job)
{
    Plimsoll__Campaigns *list = memory_need(malloc(sizeof *list));
    plimsoll__campaigns__init(list);
    list->campaigns = memory_need(calloc(job->most, sizeof(void *)));
    job->answer = &list->base;
    read_list(job, list, &job->error);
}

/* A thousand campaigns fit into one answer without what nobody reads in a list. */
static void shorten(Plimsoll__Campaign *c)
{
    for (size_t i = 0; i < c->n_activity; i++)
        plimsoll__activity__free_unpacked(c->activity[i], NULL);
    for (size_t i = 0; i < c->n_missing; i++)
        plimsoll__missing__free_unpacked(c->missing[i], NULL);
    c->n_activity = c->n_missing = 0;
    memory_give(&c->note, memory_text(""));
}

static void finish_list(struct job *job)
{
    Plimsoll__Campaigns *list = (Plimsoll__Campaigns *)job->answer;
    struct clients *all = job->client->all;
    for (size_t i = 0; i < list->n_campaigns && !all->stopped; i++) {
        Plimsoll__Campaign *now = fleet_describe(all->settings.fleet, list->campaigns[i]->id);
        if (now) {
            plimsoll__campaign__free_unpacked(list->campaigns[i], NULL);
            list->campaigns[i] = now;
        }
        shorten(list->campaigns[i]);
    }
    if (job->error.code != ERR_NONE)
        client_fail_with(job->client, job->request, &job->error);
    else
        client_answer_campaigns(job->client, job->request, list->campaigns, list->n_campaigns);
    job_free(job);
}

void request_list(struct client *c, uint32_t request, const Plimsoll__ListCampaigns *ask)
{
    struct job *job = job_new(c, request);
    if (!job)
        return;
    job->most = ask->most == 0 ? LIST_DEFAULT : ask->most > LIST_MOST ? LIST_MOST : ask->most;
    job_start(job, run_list, finish_list);
}

/* ---- status ---- */

static void run_status(struct job *job)
{
    struct reader *r = NULL;
    Plimsoll__Campaign *found = NULL;
    if (read_open(job->client->all->store_path, &r, &job->error) < 0)
        return;
    if (read_begin(r, &job->error) == 0 &&
        stored_campaign(r, job->campaign, true, &found, &job->error) == 0)
        job->answer = &found->base;
    read_close(&r);
}

static void finish_status(struct job *job)
{
    Plimsoll__Campaign *found = (Plimsoll__Campaign *)job->answer;
    if (found)
        client_answer_campaigns(job->client, job->request, &found, 1);
    else
        client_fail_with(job->client, job->request, &job->error);
    job_free(job);
}

/* True where the fleet could tell. */
static bool tell_live(struct client *c, uint32_t request, const char *id, int *ret_sent)
{
    Plimsoll__Campaign *now = fleet_describe(c->all->settings.fleet, id);
    if (!now)
        return false;
    *ret_sent = client_answer_campaigns(c, request, &now, 1);
    plimsoll__campaign__free_unpacked(now, NULL);
    return true;
}

void request_status(struct client *c, uint32_t request, const Plimsoll__Status *ask)
{
    int sent = 0;
    if (tell_live(c, request, ask->campaign, &sent))
        return;
    struct job *job = job_new(c, request);
    if (!job)
        return;
    job->campaign = memory_text(ask->campaign);
    job_start(job, run_status, finish_status);
}

/* ---- watch ---- */

static void finish_watch(struct job *job)
{
    struct client *c = job->client;
    c->looking = false;
    bool same = c->watched && strcmp(c->watched, job->campaign) == 0;
    /* Taken up again in the meantime: the fleet tells from here on. */
    bool live = same && !c->all->stopped && fleet_has(c->all->settings.fleet, job->campaign);
    if (same && !live) {
        free(steal(c->watched));
        c->dirty = false;
        finish_status(job);
        return;
    }
    job_free(job);
}

bool watch_tell(struct client *c)
{
    int sent = 0;
    if (!c->watched || c->looking)
        return true;
    if (tell_live(c, c->watch_request, c->watched, &sent)) {
        c->dirty = sent < 0;
        return sent == 0;
    }
    struct job *job = job_new(c, c->watch_request);
    if (!job)
        return false;
    c->looking = true;
    job->campaign = memory_text(c->watched);
    job_start(job, run_status, finish_watch);
    return true;
}

void request_watch(struct client *c, uint32_t request, const Plimsoll__Watch *ask)
{
    memory_set(&c->watched, ask->campaign);
    c->watch_request = request;
    c->dirty = true;
    if (!watch_tell(c))
        clients_changed(c->all, c->watched);
}
