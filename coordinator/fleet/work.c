/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A running campaign: trials out, results in. */
#include "common/cleanup.h"
#include "common/lexer.h"
#include "common/log.h"
#include "coordinator/fleet/internal.h"
#include "coordinator/fleet/memory.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

const struct trial *work_held(const struct campaign *c, const struct fleet_host *h)
{
    int host = c && c->schedule ? schedule_host_index(c->schedule, h->name) : -1;
    return host < 0 ? NULL : schedule_held(c->schedule, (uint32_t)host);
}

static void on_written(void *arg, const struct err *e)
{
    if (e)
        fleet_failed(arg, e);
}

static Plimsoll__Lease lease_of(const struct campaign *c, const struct trial *t)
{
    Plimsoll__Lease lease = PLIMSOLL__LEASE__INIT;
    lease.campaign = c->id;
    lease.trial = t->number;
    lease.attempt = t->attempts;
    lease.lease = t->lease;
    return lease;
}

/* ---- An attempt that will give no result ---- */

static void lose(struct campaign *c, struct fleet_host *h, const struct trial *t, const char *why)
{
    Plimsoll__Lease lease = lease_of(c, t);
    log_warning("campaign %s: trial %" PRIu64 ", attempt %u on host %s is lost: %s", c->id,
                t->number, t->attempts, h->name, why);
    schedule_lose(c->schedule, t->number, lease.lease, why);
    store_end_attempt(c->fleet->settings.store, &lease, why, on_written, c->fleet);
    h->stage[0] = '\0';
    h->disowned = 0;
    fleet_changed(c->fleet, c);
}

static void send_cancel(struct fleet_host *h, Plimsoll__Lease *lease)
{
    Plimsoll__Cancel cancel = PLIMSOLL__CANCEL__INIT;
    Plimsoll__Envelope m = PLIMSOLL__ENVELOPE__INIT;
    cancel.lease = lease;
    m.kind_case = PLIMSOLL__ENVELOPE__KIND_CANCEL;
    m.cancel = &cancel;
    cleanup_err struct err e = ERR_INIT;
    if (h->session && session_send(h->session, &m, &e) < 0)
        log_warning("host %s cannot be told to cancel: %s", h->name, err_text(&e));
}

void work_cancel(struct campaign *c)
{
    const struct roster *r = &c->fleet->roster;
    for (size_t i = 0; i < r->n; i++) {
        const struct trial *t = work_held(c, r->hosts[i]);
        if (!t)
            continue;
        Plimsoll__Lease lease = lease_of(c, t);
        send_cancel(r->hosts[i], &lease);
    }
}

/* ---- Trials out ---- */

static uint64_t draw_lease(void)
{
    uint64_t lease = 0;
    while (lease == 0)
        if (getrandom(&lease, sizeof lease, 0) != sizeof lease)
            lease = 0;
    return lease;
}

/* An attempt on its way to the store; it is sent once it is there. */
struct sending {
    struct fleet *fleet;
    char *campaign;
    char *host;
    uint64_t lease;
};

static void send_assign(struct campaign *c, struct fleet_host *h, const struct trial *t)
{
    Plimsoll__Lease lease = lease_of(c, t);
    const Plimsoll__Offer *offer = schedule_offer(c->schedule, t->host, t->cell);
    Plimsoll__Assign assign = PLIMSOLL__ASSIGN__INIT;
    assign.lease = &lease;
    assign.cell = c->plan->cells[t->cell];
    assign.accelerator = offer ? offer->accelerator : "";
    assign.warmup = t->warmup;
    assign.keep_failed = c->keep_failed;
    assign.repetition = t->repetition;
    Plimsoll__Envelope m = PLIMSOLL__ENVELOPE__INIT;
    m.kind_case = PLIMSOLL__ENVELOPE__KIND_ASSIGN;
    m.assign = &assign;
    cleanup_err struct err e = ERR_INIT;
    h->idle_beats = 0;
    /* What could not be sent is found out by the host's beats, or by their absence. */
    if (session_send(h->session, &m, &e) < 0)
        log_warning("host %s cannot be sent its trial: %s", h->name, err_text(&e));
}

static void attempt_is_stored(struct fleet *f, const struct sending *s)
{
    struct campaign *c = fleet_find(f, s->campaign);
    struct fleet_host *h = roster_find(&f->roster, s->host);
    const struct trial *t = h ? work_held(c, h) : NULL;
    if (!t || t->lease != s->lease || f->stopped)
        return;
    if (c->phase == CAMPAIGN_CANCELLING) {
        lose(c, h, t, "cancelled before it was sent");
        fleet_advance(f);
    } else if (h->session)
        send_assign(c, h, t);
}

static void on_attempt(void *arg, const struct err *e)
{
    struct sending *s = arg;
    if (e)
        fleet_failed(s->fleet, e);
    else
        attempt_is_stored(s->fleet, s);
    free(s->campaign);
    free(s->host);
    free(s);
}

static void assign(struct campaign *c, struct fleet_host *h, uint32_t host)
{
    const struct trial *t = schedule_next(c->schedule, host);
    if (!t)
        return;
    schedule_lease(c->schedule, t->number, draw_lease(), clock_monotonic_ns());
    h->idle_beats = 0;
    h->stage[0] = '\0';
    struct sending *s = memory_need(calloc(1, sizeof *s));
    *s = (struct sending){c->fleet, memory_text(c->id), memory_text(h->name), t->lease};
    Plimsoll__Lease lease = lease_of(c, t);
    store_add_attempt(c->fleet->settings.store, &lease, h->name, on_attempt, s);
    fleet_changed(c->fleet, c);
}

static void finish(struct campaign *c)
{
    struct schedule_counts counts = schedule_counts(c->schedule);
    if (counts.given_up == 0) {
        campaign_end(c, "done");
        return;
    }
    campaign_note(c, "%" PRIu64 " of %" PRIu64 " trials are missing", counts.given_up,
                  counts.trials);
    campaign_end(c, "incomplete");
}

void work_advance(struct campaign *c)
{
    const struct roster *r = &c->fleet->roster;
    for (size_t i = 0; i < r->n && c->phase == CAMPAIGN_RUNNING; i++) {
        struct fleet_host *h = r->hosts[i];
        int host = schedule_host_index(c->schedule, h->name);
        bool free_to_work = h->session && !h->gone && h->running == 0;
        if (host >= 0 && free_to_work && !schedule_held(c->schedule, (uint32_t)host))
            assign(c, h, (uint32_t)host);
    }
    if (c->phase == CAMPAIGN_CANCELLING && schedule_counts(c->schedule).leased == 0)
        campaign_end(c, "cancelled");
    else if (c->phase == CAMPAIGN_RUNNING && schedule_is_over(c->schedule))
        finish(c);
}

/* ---- Results in ---- */

struct committing {
    struct fleet *fleet;
    char *host;
    char *spool;
    uint64_t sequence;
};

static void send_committed(const struct fleet_host *h, const struct committing *x)
{
    Plimsoll__Committed committed = PLIMSOLL__COMMITTED__INIT;
    Plimsoll__Envelope m = PLIMSOLL__ENVELOPE__INIT;
    committed.spool = x->spool;
    committed.sequence = x->sequence;
    m.kind_case = PLIMSOLL__ENVELOPE__KIND_COMMITTED;
    m.committed = &committed;
    cleanup_err struct err e = ERR_INIT;
    /* Unheard, it is sent again at the next hello, and is then known already. */
    if (session_send(h->session, &m, &e) < 0)
        log_warning("host %s cannot be told what is stored: %s", h->name, err_text(&e));
}

static void on_result(void *arg, const struct err *e)
{
    struct committing *x = arg;
    struct fleet_host *h = roster_find(&x->fleet->roster, x->host);
    if (h)
        h->uncommitted--;
    if (e)
        fleet_failed(x->fleet, e);
    else if (h && h->session)
        send_committed(h, x);
    free(x->host);
    free(x->spool);
    free(x);
}

/* Spools are sent oldest first and without holes: one is data that was lost on the agent's disk. */
static void check_gap(struct fleet *f, const struct fleet_host *h, const Plimsoll__Result *r)
{
    uint64_t next = 0;
    bool known = roster_next_sequence(&f->roster, h->key, r->spool, &next);
    roster_set_next_sequence(&f->roster, h->key, r->spool, r->sequence + 1);
    if (!known || r->sequence <= next)
        return;
    log_warning("host %s: results %" PRIu64 " to %" PRIu64 " of its spool %s never came", h->name,
                next, r->sequence - 1, r->spool);
    struct campaign *c = fleet_current(f);
    if (c)
        campaign_note(c, "results %" PRIu64 " to %" PRIu64 " of host %s never came", next,
                      r->sequence - 1, h->name);
}

static void check_disowned(struct fleet *f, struct fleet_host *h)
{
    struct campaign *c = fleet_current(f);
    const struct trial *t = work_held(c, h);
    if (!h->disowned || !t || t->lease != h->disowned)
        h->disowned = 0;
    else if (roster_drained(&f->roster, h))
        lose(c, h, t, "the agent was started again");
}

void work_answer(struct fleet *f, struct fleet_host *h, const Plimsoll__Result *r)
{
    struct campaign *c = fleet_current(f);
    if (h->uncommitted >= HOST_MOST_UNCOMMITTED) {
        /* What is not taken stays in its spool and comes again. */
        session_end(h->session, "it sends results without waiting until they are stored");
        return;
    }
    h->uncommitted++;
    struct committing *x = memory_need(calloc(1, sizeof *x));
    check_gap(f, h, r);
    *x = (struct committing){f, memory_text(h->name), memory_text(r->spool), r->sequence};
    store_add_result(f->settings.store, h->key, h->name, r, on_result, x);
    h->answered = r->lease->lease;
    if (h->running == h->answered)
        h->running = 0;
    h->idle_beats = 0;
    if (c && c->schedule && strcmp(c->id, r->lease->campaign) == 0 &&
        schedule_answer(c->schedule, r->lease->trial, r->lease->lease, r->outcome, r->reason,
                        clock_monotonic_ns())) {
        h->stage[0] = '\0';
        fleet_changed(f, c);
    }
    check_disowned(f, h);
}

/* ---- What a host says it does ---- */

void work_reconcile(struct fleet *f, struct fleet_host *h)
{
    struct campaign *c = fleet_current(f);
    const struct trial *t = work_held(c, h);
    if (!t)
        return;
    if (t->lease == h->running) {
        log_info("campaign %s: host %s goes on with trial %" PRIu64, c->id, h->name, t->number);
        return;
    }
    h->disowned = t->lease;
    check_disowned(f, h);
}

void work_beat(struct fleet *f, struct fleet_host *h, const Plimsoll__Beat *beat)
{
    struct campaign *c = fleet_current(f);
    const struct trial *t = work_held(c, h);
    h->running = beat->running ? beat->running->lease : 0;
    if (h->running == h->answered)
        h->running = 0;
    bool right = t && t->lease == h->running;
    h->idle_beats = right ? 0 : h->idle_beats + 1;
    if (h->running && (!right || c->phase == CAMPAIGN_CANCELLING))
        send_cancel(h, beat->running);
    else if (t && !right && h->idle_beats >= HOST_MOST_IDLE_BEATS)
        lose(c, h, t, "the agent does not run it");
}

void work_progress(struct fleet *f, struct fleet_host *h, const Plimsoll__Progress *p)
{
    struct campaign *c = fleet_current(f);
    const struct trial *t = work_held(c, h);
    if (!t || t->lease != p->lease->lease)
        return;
    h->running = t->lease;
    h->idle_beats = 0;
    snprintf(h->stage, sizeof h->stage, "%s", p->stage);
    utf8_trim(h->stage);
    fleet_changed(f, c);
}

/* ---- Hosts that are gone ---- */

static void store_new_trials(struct campaign *c, size_t before)
{
    size_t n = 0;
    const struct trial *trials = schedule_trials(c->schedule, &n);
    if (n == before)
        return;
    cleanup_free struct store_trial *rows = memory_need(calloc(n - before, sizeof *rows));
    for (size_t i = before; i < n; i++)
        rows[i - before] =
            (struct store_trial){.trial = trials[i].number,
                                 .cell = trials[i].cell,
                                 .repetition = trials[i].repetition,
                                 .warmup = trials[i].warmup,
                                 .host = schedule_host_name(c->schedule, trials[i].host),
                                 .order = trials[i].position};
    store_add_trials(c->fleet->settings.store, c->id, rows, n - before, on_written, c->fleet);
}

void work_host_gone(struct campaign *c, struct fleet_host *h)
{
    int host = schedule_host_index(c->schedule, h->name);
    if (host < 0)
        return;
    const struct trial *t = work_held(c, h);
    if (t)
        lose(c, h, t, "its host is gone");
    if (c->phase != CAMPAIGN_RUNNING)
        return;
    size_t n_hosts = schedule_n_hosts(c->schedule);
    cleanup_free bool *alive = memory_need(calloc(n_hosts + 1, sizeof *alive));
    for (uint32_t i = 0; i < n_hosts; i++) {
        const struct fleet_host *other =
            roster_find(&c->fleet->roster, schedule_host_name(c->schedule, i));
        alive[i] = other && other->session && !other->gone;
    }
    size_t before = 0;
    schedule_trials(c->schedule, &before);
    size_t moved = schedule_move(c->schedule, (uint32_t)host, alive);
    store_new_trials(c, before);
    if (moved > 0)
        campaign_note(c, "%zu trials of host %s went to identical hosts", moved, h->name);
}

static int64_t later(int64_t a_ns, int64_t b_ns)
{
    return a_ns > b_ns ? a_ns : b_ns;
}

/* Whether only hosts that have been gone for `patience` have anything left to do. The campaign
 * waits that long itself: a host may have been gone for days before it was resumed. */
static bool waits_in_vain(const struct campaign *c, int64_t now_ns)
{
    int64_t patience_ns = c->fleet->settings.patience_ns;
    if (schedule_counts(c->schedule).leased > 0)
        return false;
    for (uint32_t i = 0; i < schedule_n_hosts(c->schedule); i++) {
        const struct fleet_host *h =
            roster_find(&c->fleet->roster, schedule_host_name(c->schedule, i));
        bool gone = !h || (h->gone && now_ns - later(h->heard_ns, c->began_ns) >= patience_ns);
        if (!gone && schedule_has_work(c->schedule, i))
            return false;
    }
    return true;
}

void work_check_patience(struct campaign *c, int64_t now_ns)
{
    if (!waits_in_vain(c, now_ns))
        return;
    for (uint32_t i = 0; i < schedule_n_hosts(c->schedule); i++) {
        const char *name = schedule_host_name(c->schedule, i);
        if (schedule_give_up(c->schedule, i, "its host did not come back") == 0)
            continue;
        store_give_up(c->fleet->settings.store, c->id, name, "its host did not come back",
                      on_written, c->fleet);
        campaign_note(c, "host %s did not come back", name);
    }
    fleet_changed(c->fleet, c);
}
