/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "coordinator/fleet/fleet.h"

#include "common/cleanup.h"
#include "common/log.h"
#include "coordinator/fleet/internal.h"
#include "coordinator/fleet/memory.h"
#include "coordinator/store/read.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Deadlines are looked at so often within one of them: each second, usually. */
enum { TICKS = 45 };

void fleet_failed(struct fleet *f, const struct err *e)
{
    if (!f->stopped)
        f->events.failed(f->arg, e);
}

void fleet_changed(struct fleet *f, const struct campaign *c)
{
    if (!f->stopped)
        f->events.changed(f->arg, c->id);
}

struct campaign *fleet_current(const struct fleet *f)
{
    return f->campaigns;
}

void fleet_advance(struct fleet *f)
{
    struct campaign *c = fleet_current(f);
    if (!c || f->stopped)
        return;
    if (c->phase == CAMPAIGN_QUEUED)
        campaign_begin(c);
    if (c->phase == CAMPAIGN_PREPARING)
        prepare_advance(c);
    else if (c->phase == CAMPAIGN_RUNNING || c->phase == CAMPAIGN_CANCELLING)
        work_advance(c);
}

/* ---- Sessions ---- */

static int on_joined(void *arg, struct session *s, const Plimsoll__Hello *hello, struct err *e)
{
    struct fleet *f = arg;
    struct fleet_host *h = roster_add(&f->roster, session_name(s));
    if (h->session)
        return err_set(e, ERR_REFUSED, "host %s has a live session already", h->name);
    char before[DIGEST_TEXT_BYTES];
    memcpy(before, h->identity, sizeof before);
    roster_greet(h, s, hello);
    session_set_data(s, h);
    log_info("host %s has joined (%s)", h->name, h->software);
    struct campaign *c = fleet_current(f);
    if (c && c->schedule && before[0] && strcmp(before, h->identity) != 0)
        campaign_note(c, "host %s came back with another fingerprint", h->name);
    work_reconcile(f, h);
    fleet_advance(f);
    return 0;
}

static void on_left(void *arg, struct session *s, const char *why)
{
    struct fleet *f = arg;
    struct fleet_host *h = session_data(s);
    if (!h || h->session != s)
        return;
    h->session = NULL;
    log_info("host %s has left: %s", h->name, why);
    struct campaign *c = fleet_current(f);
    if (c)
        fleet_changed(f, c);
}

static void on_refused(void *arg, const char *name, const char *why)
{
    struct fleet *f = arg;
    struct campaign *c = fleet_current(f);
    if (c)
        campaign_note(c, "a session of host %s was refused: %s", name, why);
}

static void on_message(void *arg, struct session *s, const Plimsoll__Envelope *m)
{
    struct fleet *f = arg;
    struct fleet_host *h = session_data(s);
    if (!h || h->session != s)
        return;
    h->heard_ns = clock_monotonic_ns();
    switch (m->kind_case) {
    case PLIMSOLL__ENVELOPE__KIND_BEAT:
        work_beat(f, h, m->beat);
        break;
    case PLIMSOLL__ENVELOPE__KIND_PREPARED:
        if (fleet_current(f))
            prepare_answer(fleet_current(f), h, m->prepared);
        break;
    case PLIMSOLL__ENVELOPE__KIND_PROGRESS:
        work_progress(f, h, m->progress);
        break;
    case PLIMSOLL__ENVELOPE__KIND_RESULT:
        work_answer(f, h, m->result);
        break;
    default:
        break;
    }
    fleet_advance(f);
}

/* ---- One clock for all deadlines ---- */

static void end_host(struct fleet *f, struct fleet_host *h)
{
    h->gone = true;
    log_warning("host %s is gone: nothing was heard of it for %d s", h->name,
                (int)(f->settings.gone_ns / NS_PER_S));
    if (h->session)
        session_end(h->session, "nothing was heard for too long");
    struct campaign *c = fleet_current(f);
    if (c && c->schedule)
        work_host_gone(c, h);
    if (c)
        fleet_changed(f, c);
}

static void on_tick(uv_timer_t *timer)
{
    struct fleet *f = timer->data;
    int64_t now_ns = clock_monotonic_ns();
    for (size_t i = 0; i < f->roster.n; i++) {
        struct fleet_host *h = f->roster.hosts[i];
        if (!h->gone && now_ns - h->heard_ns >= f->settings.gone_ns)
            end_host(f, h);
    }
    struct campaign *c = fleet_current(f);
    if (c && c->phase == CAMPAIGN_RUNNING)
        work_check_patience(c, now_ns);
    fleet_advance(f);
}

/* ---- Campaigns ---- */

static void enqueue(struct fleet *f, struct campaign *c)
{
    struct campaign **at = &f->campaigns;
    while (*at)
        at = &(*at)->next;
    *at = c;
    c->fleet = f;
    fleet_changed(f, c);
    fleet_advance(f);
}

static struct campaign *find_campaign(const struct fleet *f, const char *id)
{
    struct campaign *c = f->campaigns;
    while (c && strcmp(c->id, id) != 0)
        c = c->next;
    return c;
}

struct campaign *fleet_find(const struct fleet *f, const char *id)
{
    return find_campaign(f, id);
}

void fleet_remove(struct fleet *f, struct campaign *c)
{
    struct campaign **at = &f->campaigns;
    while (*at != c)
        at = &(*at)->next;
    *at = c->next;
    campaign_free(&c);
}

void fleet_add(struct fleet *f, const char *id, Plimsoll__Plan **plan, int64_t submitted_ns,
               bool keep_failed)
{
    struct campaign *c = campaign_new(id);
    c->plan = steal(*plan);
    c->submitted_ns = submitted_ns;
    c->keep_failed = keep_failed;
    enqueue(f, c);
}

void fleet_take_up(struct fleet *f, struct campaign **pc)
{
    struct campaign *c = steal(*pc);
    if (f->stopped || find_campaign(f, c->id)) {
        campaign_free(&c);
        return;
    }
    /* Their deadlines run from now: what they hold is theirs until they are gone. */
    for (uint32_t i = 0; c->schedule && i < schedule_n_hosts(c->schedule); i++)
        roster_add(&f->roster, schedule_host_name(c->schedule, i));
    log_info("campaign %s is taken up again", c->id);
    enqueue(f, c);
}

void fleet_drop(struct campaign **c)
{
    campaign_free(c);
}

bool fleet_has(const struct fleet *f, const char *id)
{
    return find_campaign(f, id) != NULL;
}

int fleet_cancel(struct fleet *f, const char *id, store_done *done, void *arg, struct err *e)
{
    struct campaign *c = find_campaign(f, id);
    if (!c || !campaign_can_be_cancelled(c))
        return err_set(e, ERR_NOT_FOUND, "no campaign %s is running or waiting", id);
    campaign_cancel(c, done, arg);
    fleet_advance(f);
    return 0;
}

/* ---- Start and stop ---- */

static int see_source(void *arg, const char *key, const char *spool, uint64_t next, struct err *e)
{
    (void)e;
    roster_set_next_sequence(arg, key, spool, next);
    return 0;
}

struct ids {
    char **item;
    size_t n;
};

static int see_unfinished(void *arg, const struct read_campaign *c, struct err *e)
{
    (void)e;
    struct ids *ids = arg;
    if (c->ended_ns != 0)
        return 0;
    ids->item = memory_need(realloc(ids->item, (ids->n + 1) * sizeof *ids->item));
    ids->item[ids->n++] = memory_text(c->id);
    return 0;
}

static int load_all(struct fleet *f, const struct ids *ids, struct err *e)
{
    /* They come newest first. */
    for (size_t i = ids->n; i > 0; i--) {
        struct campaign *c = NULL;
        if (fleet_load(f->store_path, ids->item[i - 1], &c, e) < 0)
            return err_prefix(e, "campaign %s", ids->item[i - 1]);
        fleet_take_up(f, &c);
    }
    return 0;
}

static int load_store(struct fleet *f, struct err *e)
{
    struct reader *r = NULL;
    struct ids ids = {0};
    if (read_open(f->store_path, &r, e) < 0)
        return -1;
    int failed = read_sources(r, see_source, &f->roster, e);
    if (failed == 0)
        failed = read_campaigns(r, 0, see_unfinished, &ids, e);
    read_close(&r);
    if (failed == 0)
        failed = load_all(f, &ids, e);
    for (size_t i = 0; i < ids.n; i++)
        free(ids.item[i]);
    free(ids.item);
    return failed;
}

static void start_tick(struct fleet *f)
{
    uv_timer_init(f->settings.loop, &f->tick);
    f->tick.data = f;
    uint64_t tick_ms = (uint64_t)(f->settings.gone_ns / NS_PER_MS / TICKS);
    uv_timer_start(&f->tick, on_tick, tick_ms, tick_ms);
}

int fleet_start(const struct fleet_settings *settings, const struct fleet_events *events, void *arg,
                struct fleet **ret, struct err *e)
{
    static const struct server_events server_events = {
        .joined = on_joined, .message = on_message, .left = on_left, .refused = on_refused};
    struct fleet *f = memory_need(calloc(1, sizeof *f));
    f->settings = *settings;
    f->keys_folder = memory_text(settings->keys_folder);
    f->store_path = memory_text(settings->store_path);
    f->events = *events;
    f->arg = arg;
    start_tick(f);
    if (load_store(f, e) < 0 ||
        server_start(settings->loop, settings->zmq_context, settings->zap, KEY_ROLE_AGENT,
                     settings->own, settings->endpoint, &server_events, f, &f->server, e) < 0) {
        fleet_stop(f);
        fleet_free(&f);
        return -1;
    }
    server_set_beat(f->server, f->settings.gone_ns / HOST_BEATS);
    *ret = f;
    return 0;
}

const char *fleet_endpoint(const struct fleet *f)
{
    return server_endpoint(f->server);
}

void fleet_stop(struct fleet *f)
{
    if (f->stopped)
        return;
    f->stopped = true;
    uv_timer_stop(&f->tick);
    server_stop(&f->server);
    for (size_t i = 0; i < f->roster.n; i++)
        f->roster.hosts[i]->session = NULL;
}

static void on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

void fleet_free(struct fleet **pf)
{
    struct fleet *f = steal(*pf);
    if (!f)
        return;
    while (f->campaigns) {
        struct campaign *c = f->campaigns;
        f->campaigns = c->next;
        campaign_free(&c);
    }
    roster_clear(&f->roster);
    free(f->keys_folder);
    free(f->store_path);
    uv_close((uv_handle_t *)&f->tick, on_closed);
}
