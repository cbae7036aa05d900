/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "coordinator/clients/clients.h"

#include "common/cleanup.h"
#include "common/log.h"
#include "coordinator/clients/internal.h"
#include "coordinator/fleet/memory.h"
#include "proto/frame.h"

#include <errno.h>
#include <string.h>

/* Changes come in bursts; watchers are told at most so often. */
enum { FLUSH_MS = 100 };

/* ---- Answers ---- */

int client_answer(struct client *c, Plimsoll__Envelope *m, uint32_t request)
{
    if (!c->session)
        return 0;
    cleanup_err struct err e = ERR_INIT;
    m->request = request;
    int failed = session_send(c->session, m, &e);
    if (failed < 0 && (!c->deaf || e.code == ERR_PROTOCOL))
        log_warning("client %s cannot be answered: %s", session_name(c->session), err_text(&e));
    if (failed < 0 && e.code == ERR_PROTOCOL && m->kind_case != PLIMSOLL__ENVELOPE__KIND_FAILURE) {
        client_fail(c, request, EXIT_NO_ANSWER, "the answer does not fit into a message");
        return 0;
    }
    c->deaf = failed < 0;
    return failed;
}

void client_fail(struct client *c, uint32_t request, uint32_t exit_code, const char *text)
{
    Plimsoll__Failure failure = PLIMSOLL__FAILURE__INIT;
    Plimsoll__Envelope m = PLIMSOLL__ENVELOPE__INIT;
    failure.exit_code = exit_code;
    failure.text = (char *)text;
    m.kind_case = PLIMSOLL__ENVELOPE__KIND_FAILURE;
    m.failure = &failure;
    client_answer(c, &m, request);
}

void client_fail_with(struct client *c, uint32_t request, const struct err *e)
{
    bool asked_wrong = e->code == ERR_INPUT || e->code == ERR_NOT_FOUND;
    client_fail(c, request, asked_wrong ? EXIT_WRONG : EXIT_NO_ANSWER, err_text(e));
}

int client_answer_campaigns(struct client *c, uint32_t request, Plimsoll__Campaign **list, size_t n)
{
    Plimsoll__Campaigns campaigns = PLIMSOLL__CAMPAIGNS__INIT;
    Plimsoll__Envelope m = PLIMSOLL__ENVELOPE__INIT;
    campaigns.campaigns = list;
    campaigns.n_campaigns = n;
    m.kind_case = PLIMSOLL__ENVELOPE__KIND_CAMPAIGNS;
    m.campaigns = &campaigns;
    return client_answer(c, &m, request);
}

/* ---- Requests that need no worker thread ---- */

/* Fingerprints of a large fleet would not fit into one answer. */
enum { MOST_HOSTS_WITH_FINGERPRINTS = 128 };

static void drop_fingerprints(Plimsoll__Hosts *hosts)
{
    for (size_t i = 0; i < hosts->n_hosts; i++) {
        if (hosts->hosts[i]->fingerprint)
            plimsoll__fingerprint__free_unpacked(hosts->hosts[i]->fingerprint, NULL);
        hosts->hosts[i]->fingerprint = NULL;
    }
}

static void request_hosts(struct client *c, uint32_t request)
{
    Plimsoll__Envelope m = PLIMSOLL__ENVELOPE__INIT;
    m.kind_case = PLIMSOLL__ENVELOPE__KIND_HOSTS;
    m.hosts = fleet_describe_hosts(c->all->settings.fleet);
    if (m.hosts->n_hosts > MOST_HOSTS_WITH_FINGERPRINTS)
        drop_fingerprints(m.hosts);
    client_answer(c, &m, request);
    plimsoll__hosts__free_unpacked(m.hosts, NULL);
}

static void on_cancelled(void *arg, const struct err *e)
{
    struct job *job = arg;
    Plimsoll__Done done = PLIMSOLL__DONE__INIT;
    Plimsoll__Envelope m = PLIMSOLL__ENVELOPE__INIT;
    m.kind_case = PLIMSOLL__ENVELOPE__KIND_DONE;
    m.done = &done;
    if (e)
        client_fail_with(job->client, job->request, e);
    else
        client_answer(job->client, &m, job->request);
    job_free(job);
}

static void request_cancel(struct client *c, uint32_t request, const Plimsoll__CancelCampaign *ask)
{
    cleanup_err struct err e = ERR_INIT;
    struct job *job = job_new(c, request);
    if (!job)
        return;
    if (fleet_cancel(c->all->settings.fleet, ask->campaign, on_cancelled, job, &e) < 0) {
        client_fail_with(c, request, &e);
        job_free(job);
        return;
    }
    log_info("campaign %s is cancelled by %s", ask->campaign, session_name(c->session));
}

/* ---- Sessions ---- */

static int on_joined(void *arg, struct session *s, const Plimsoll__Hello *hello, struct err *e)
{
    (void)hello;
    struct clients *all = arg;
    struct client *c = calloc(1, sizeof *c);
    if (!c)
        return err_system(e, ENOMEM, "cannot take another client");
    c->all = all;
    c->session = s;
    memcpy(c->key, session_public_key(s), sizeof c->key);
    c->next = all->list;
    all->list = c;
    session_set_data(s, c);
    return 0;
}

static void forget(struct client *c)
{
    struct client **at = &c->all->list;
    while (*at != c)
        at = &(*at)->next;
    *at = c->next;
    free(c->watched);
    free(c);
}

static void leave(struct client *c)
{
    c->session = NULL;
    blobs_drop(c);
    if (c->jobs == 0)
        forget(c);
}

static void on_left(void *arg, struct session *s, const char *why)
{
    (void)arg;
    (void)why;
    struct client *c = session_data(s);
    session_set_data(s, NULL);
    if (c)
        leave(c);
}

static void on_message(void *arg, struct session *s, const Plimsoll__Envelope *m)
{
    (void)arg;
    struct client *c = session_data(s);
    if (!c)
        return;
    switch (m->kind_case) {
    case PLIMSOLL__ENVELOPE__KIND_SUBMIT:
        request_submit(c, m->request, m->submit);
        break;
    case PLIMSOLL__ENVELOPE__KIND_LIST_CAMPAIGNS:
        request_list(c, m->request, m->list_campaigns);
        break;
    case PLIMSOLL__ENVELOPE__KIND_STATUS:
        request_status(c, m->request, m->status);
        break;
    case PLIMSOLL__ENVELOPE__KIND_WATCH:
        request_watch(c, m->request, m->watch);
        break;
    case PLIMSOLL__ENVELOPE__KIND_CANCEL_CAMPAIGN:
        request_cancel(c, m->request, m->cancel_campaign);
        break;
    case PLIMSOLL__ENVELOPE__KIND_LIST_HOSTS:
        request_hosts(c, m->request);
        break;
    case PLIMSOLL__ENVELOPE__KIND_SHOW:
        request_show(c, m->request, m->show);
        break;
    case PLIMSOLL__ENVELOPE__KIND_REPORT:
        request_report(c, m->request, m->report);
        break;
    case PLIMSOLL__ENVELOPE__KIND_SLICE:
        request_slice(c, m->request, m->slice);
        break;
    default:
        client_fail(c, m->request, EXIT_WRONG, "this coordinator does not know that request");
    }
}

/* ---- Jobs ---- */

struct share client_share_of_key(const struct client *c)
{
    struct share sum = {0};
    for (const struct client *at = c->all->list; at; at = at->next)
        if (memcmp(at->key, c->key, sizeof at->key) == 0) {
            sum.jobs += at->jobs;
            sum.blobs += at->blobs;
        }
    return sum;
}

struct job *job_new(struct client *c, uint32_t request)
{
    struct clients *all = c->all;
    if (all->jobs >= MOST_JOBS || c->jobs >= MOST_JOBS_OF_A_CLIENT ||
        client_share_of_key(c).jobs >= MOST_JOBS_OF_A_KEY) {
        client_fail(c, request, EXIT_NO_ANSWER, "the coordinator is busy; try again");
        return NULL;
    }
    struct job *job = memory_need(calloc(1, sizeof *job));
    job->client = c;
    job->request = request;
    job->fd = -1;
    job->work.data = job;
    all->jobs++;
    c->jobs++;
    return job;
}

void job_free(struct job *job)
{
    struct client *c = job->client;
    c->all->jobs--;
    c->jobs--;
    if (!c->session && c->jobs == 0)
        forget(c);
    err_clear(&job->error);
    if (job->fd >= 0)
        close(job->fd);
    free(job->campaign);
    free(job->state);
    if (job->ask)
        protobuf_c_message_free_unpacked(job->ask, NULL);
    if (job->answer && job->answer_framed)
        frame_free(job->answer);
    else if (job->answer)
        protobuf_c_message_free_unpacked(job->answer, NULL);
    fleet_drop(&job->loaded);
    free(job);
}

static void on_work(uv_work_t *work)
{
    struct job *job = work->data;
    job->run(job);
}

static void on_worked(uv_work_t *work, int status)
{
    struct job *job = work->data;
    if (status < 0)
        err_set(&job->error, ERR_CANCELLED, "the coordinator is stopping");
    job->finish(job);
}

void job_start(struct job *job, void (*run)(struct job *), void (*finish)(struct job *))
{
    job->run = run;
    job->finish = finish;
    uv_queue_work(job->client->all->settings.loop, &job->work, on_work, on_worked);
}

/* ---- Watchers ---- */

static void on_flush(uv_timer_t *timer)
{
    struct clients *all = timer->data;
    bool all_told = true;
    for (struct client *c = all->list, *next; c; c = next) {
        next = c->next;
        if (c->dirty && c->session)
            all_told &= watch_tell(c);
    }
    if (all_told)
        uv_timer_stop(timer);
}

void clients_changed(struct clients *all, const char *campaign)
{
    bool any = false;
    for (struct client *c = all->list; c; c = c->next)
        if (c->session && c->watched && strcmp(c->watched, campaign) == 0)
            any = c->dirty = true;
    if (any && !all->stopped && !uv_is_active((uv_handle_t *)&all->flush))
        uv_timer_start(&all->flush, on_flush, FLUSH_MS, FLUSH_MS);
}

/* ---- Start and stop ---- */

int clients_start(const struct clients_settings *settings, struct clients **ret, struct err *e)
{
    static const struct server_events events = {
        .joined = on_joined, .message = on_message, .left = on_left};
    struct clients *all = memory_need(calloc(1, sizeof *all));
    all->settings = *settings;
    all->store_path = memory_text(settings->store_path);
    all->program = memory_text(settings->program);
    uv_timer_init(settings->loop, &all->flush);
    all->flush.data = all;
    if (server_start(settings->loop, settings->zmq_context, settings->zap, KEY_ROLE_CLIENT,
                     settings->own, settings->endpoint, &events, all, &all->server, e) < 0) {
        clients_stop(all);
        clients_free(&all);
        return -1;
    }
    *ret = all;
    return 0;
}

const char *clients_endpoint(const struct clients *c)
{
    return server_endpoint(c->server);
}

void clients_stop(struct clients *all)
{
    if (all->stopped)
        return;
    all->stopped = true;
    uv_timer_stop(&all->flush);
    server_stop(&all->server);
    for (struct client *c = all->list, *next; c; c = next) {
        next = c->next;
        leave(c);
    }
}

static void on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

void clients_free(struct clients **pc)
{
    struct clients *all = steal(*pc);
    if (!all)
        return;
    free(all->store_path);
    free(all->program);
    uv_close((uv_handle_t *)&all->flush, on_closed);
}
