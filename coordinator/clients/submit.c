/* SPDX-License-Identifier: GPL-3.0-or-later */
/* submit: the plan is read in a child, stored, and only then has an id; or a campaign that ended
 * goes on. */
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/log.h"
#include "coordinator/clients/internal.h"
#include "coordinator/fleet/memory.h"
#include "coordinator/plan/plan.h"

#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

static int answer_submitted(const struct job *job, const char *id,
                            const Plimsoll__PlanReading *reading)
{
    Plimsoll__Submitted submitted = PLIMSOLL__SUBMITTED__INIT;
    Plimsoll__Envelope m = PLIMSOLL__ENVELOPE__INIT;
    submitted.campaign = (char *)id;
    submitted.n_diagnostics = reading ? reading->n_diagnostics : 0;
    submitted.diagnostics = reading ? reading->diagnostics : NULL;
    m.kind_case = PLIMSOLL__ENVELOPE__KIND_SUBMITTED;
    m.submitted = &submitted;
    return client_answer(job->client, &m, job->request);
}

static void fail(struct job *job, const struct err *e)
{
    client_fail_with(job->client, job->request, e);
    job_free(job);
}

static bool is_stopped(const struct job *job)
{
    return job->client->all->stopped;
}

/* ---- A new campaign ---- */

/* UTC time, name, 4 hex digits. */
static char *make_id(const char *name, int64_t now_ns)
{
    char text[32];
    struct tm utc;
    time_t seconds = (time_t)(now_ns / NS_PER_S);
    uint16_t tail = 0;
    gmtime_r(&seconds, &utc);
    strftime(text, sizeof text, "%Y%m%dT%H%M%SZ", &utc);
    while (getrandom(&tail, sizeof tail, 0) != sizeof tail)
        ;
    char *id = NULL;
    return memory_need(asprintf(&id, "%s-%s-%04x", text, name, tail) < 0 ? NULL : id);
}

/* What may stand in a path and in a log. */
static bool is_id(const char *text)
{
    size_t length =
        strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-");
    return length > 0 && length <= 160 && text[length] == '\0' && text[0] != '.';
}

static void run_reading(struct job *job)
{
    Plimsoll__PlanReading *reading = NULL;
    if (plan_read_in_child(job->client->all->program, (Plimsoll__Submit *)job->ask, &reading,
                           &job->error) == 0) {
        job->answer = &reading->base;
        job->answer_framed = true;
    }
}

static void add(struct job *job);

static void on_added(void *arg, const struct err *e)
{
    struct job *job = arg;
    struct clients *all = job->client->all;
    const Plimsoll__PlanReading *reading = (Plimsoll__PlanReading *)job->answer;
    bool is_wish = strcmp(((Plimsoll__Submit *)job->ask)->id, job->campaign) == 0;
    if (e && is_wish && !all->stopped) {
        /* The id that was wished for is in use. */
        memory_give(&job->campaign, make_id(reading->plan->name, job->submitted_ns));
        add(job);
        return;
    }
    if (e) {
        fail(job, e);
        return;
    }
    log_info("campaign %s was submitted%s%s", job->campaign, job->client->session ? " by " : "",
             job->client->session ? session_name(job->client->session) : "");
    if (!all->stopped) {
        Plimsoll__Plan *plan = (Plimsoll__Plan *)memory_copy(&reading->plan->base);
        answer_submitted(job, job->campaign, reading);
        fleet_add(all->settings.fleet, job->campaign, &plan, job->submitted_ns, job->keep_failed);
    }
    job_free(job);
}

static void add(struct job *job)
{
    const Plimsoll__PlanReading *reading = (Plimsoll__PlanReading *)job->answer;
    store_add_campaign(job->client->all->settings.store, job->campaign, reading->plan,
                       job->submitted_ns, job->keep_failed, on_added, job);
}

static void finish_reading(struct job *job)
{
    const char *wish = ((Plimsoll__Submit *)job->ask)->id;
    const Plimsoll__PlanReading *reading = (Plimsoll__PlanReading *)job->answer;
    if (job->error.code != ERR_NONE || is_stopped(job)) {
        fail(job, &job->error);
        return;
    }
    if (!reading->plan) {
        answer_submitted(job, "", reading);
        job_free(job);
        return;
    }
    job->submitted_ns = clock_realtime_ns();
    job->campaign = wish[0] ? memory_text(wish) : make_id(reading->plan->name, job->submitted_ns);
    add(job);
}

/* ---- Going on with one that ended ---- */

static int see_state(void *arg, const struct read_campaign *c, struct err *e)
{
    (void)e;
    *(char **)arg = memory_text(c->state);
    return 0;
}

static void run_look(struct job *job)
{
    struct reader *r = NULL;
    if (read_open(job->client->all->store_path, &r, &job->error) < 0)
        return;
    read_campaign(r, job->campaign, see_state, &job->state, &job->error);
    read_close(&r);
}

static void run_load(struct job *job)
{
    fleet_load(job->client->all->store_path, job->campaign, &job->loaded, &job->error);
}

static void finish_load(struct job *job)
{
    if (job->error.code != ERR_NONE || is_stopped(job)) {
        fail(job, &job->error);
        return;
    }
    fleet_take_up(job->client->all->settings.fleet, &job->loaded);
    answer_submitted(job, job->campaign, NULL);
    job_free(job);
}

static void on_resumed(void *arg, const struct err *e)
{
    struct job *job = arg;
    if (e)
        fail(job, e);
    else if (is_stopped(job))
        job_free(job);
    else
        job_start(job, run_load, finish_load);
}

static void finish_look(struct job *job)
{
    struct clients *all = job->client->all;
    if (job->error.code != ERR_NONE || all->stopped) {
        fail(job, &job->error);
        return;
    }
    /* Nothing is missing, or it goes on already. */
    if (strcmp(job->state, "done") == 0 || fleet_has(all->settings.fleet, job->campaign)) {
        answer_submitted(job, job->campaign, NULL);
        job_free(job);
        return;
    }
    store_resume(all->settings.store, job->campaign, job->keep_failed, on_resumed, job);
}

void request_submit(struct client *c, uint32_t request, const Plimsoll__Submit *ask)
{
    if ((ask->resume[0] != '\0') == (ask->plan[0] != '\0')) {
        client_fail(c, request, EXIT_WRONG,
                    ask->plan[0] ? "either a plan or a campaign to go on with, not both"
                                 : "the plan is empty");
        return;
    }
    if (ask->id[0] && !is_id(ask->id)) {
        client_fail(c, request, EXIT_WRONG, "the id wished for is no campaign id");
        return;
    }
    struct job *job = job_new(c, request);
    if (!job)
        return;
    job->keep_failed = ask->keep_failed;
    if (ask->resume[0]) {
        job->campaign = memory_text(ask->resume);
        job_start(job, run_look, finish_look);
        return;
    }
    job->ask = memory_copy(&ask->base);
    job_start(job, run_reading, finish_reading);
}
