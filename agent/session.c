/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agent/session.h"

#include "agent/lease.h"
#include "agent/rotation.h"
#include "agent/worker.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/log.h"
#include "proto/frame.h"
#include "proto/peer.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum {
    MOST_IN_FLIGHT = 8, /* results sent and not committed */
    LEAST_BEAT_MS = 50,
    USUAL_BEAT_MS = 5000,
    MOST_BEAT_MS = 60000,
    FAREWELL_MS = 2000, /* how long a leaving agent waits for its last commits */
};

struct agent_session {
    const struct agent_setup *setup;
    uv_loop_t *loop;
    void *zmq_context;
    struct peer *peer;
    struct rotation *rotation; /* NULL where the key has no file */
    struct log_limit refusals;
    char *last_refusal;
    struct worker *worker;
    uv_timer_t beat;
    uv_timer_t farewell;
    int open_handles;
    bool together;
    bool leaving;
    bool worker_ended;
    bool told_ended;
    uint64_t sent; /* the last sequence sent since the welcome */
    unsigned in_flight;
    Plimsoll__Fingerprint *fingerprint;
    Plimsoll__Lease *running; /* what the last hello or beat said; freed at the next */
};

/* ---- Results ---- */

/* Oldest first, until enough are under way or the peer takes no more: the next commit or beat goes
 * on. */
static void send_results(struct agent_session *s)
{
    while (s->together && s->in_flight < MOST_IN_FLIGHT) {
        cleanup_err struct err e = ERR_INIT;
        Plimsoll__Envelope *m = NULL;
        uint64_t sequence = 0;
        if (spool_read(s->setup->spool, s->sent, &m, &sequence, &e) < 0) {
            if (e.code != ERR_NOT_FOUND)
                log_warning("%s", err_text(&e));
            return;
        }
        int failed = peer_send(s->peer, m, &e);
        frame_free(&m->base);
        if (failed)
            return;
        s->sent = sequence;
        s->in_flight++;
    }
}

static void end_if_done(struct agent_session *s)
{
    bool waits = s->together && spool_pending(s->setup->spool) > 0 &&
                 uv_is_active((uv_handle_t *)&s->farewell);
    if (!s->leaving || !s->worker_ended || waits || s->told_ended)
        return;
    s->told_ended = true;
    uv_timer_stop(&s->farewell);
    s->setup->ended(s->setup->arg);
}

static void on_committed(struct agent_session *s, const Plimsoll__Committed *c)
{
    spool_commit(s->setup->spool, c->spool, c->sequence);
    if (s->in_flight > 0)
        s->in_flight--;
    send_results(s);
    end_if_done(s);
}

/* ---- What runs ---- */

/* A finished attempt whose result is not committed still counts as ours: the coordinator is about
 * to get its result and need not give the trial out again. */
static Plimsoll__Lease *lease_of_last_result(struct spool *spool)
{
    Plimsoll__Envelope *m = NULL;
    uint64_t sequence = 0;
    if (spool_read(spool, spool_newest(spool) - 1, &m, &sequence, NULL) < 0)
        return NULL;
    Plimsoll__Lease *lease = lease_copy(m->result->lease);
    frame_free(&m->base);
    return lease;
}

static Plimsoll__Lease *what_runs(struct agent_session *s)
{
    if (s->running)
        plimsoll__lease__free_unpacked(s->running, NULL);
    s->running = worker_running(s->worker);
    if (!s->running && spool_newest(s->setup->spool) > 0)
        s->running = lease_of_last_result(s->setup->spool);
    return s->running;
}

static void on_beat(uv_timer_t *timer)
{
    struct agent_session *s = timer->data;
    cleanup_err struct err e = ERR_INIT;
    Plimsoll__Beat beat = PLIMSOLL__BEAT__INIT;
    Plimsoll__Envelope m = PLIMSOLL__ENVELOPE__INIT;
    beat.running = what_runs(s);
    m.kind_case = PLIMSOLL__ENVELOPE__KIND_BEAT;
    m.beat = &beat;
    if (peer_send(s->peer, &m, &e) < 0)
        log_debug("no beat: %s", err_text(&e));
    send_results(s);
}

/* ---- Events of the worker ---- */

static void on_stage(void *arg, const Plimsoll__Lease *lease, const char *stage)
{
    struct agent_session *s = arg;
    Plimsoll__Progress progress = PLIMSOLL__PROGRESS__INIT;
    Plimsoll__Envelope m = PLIMSOLL__ENVELOPE__INIT;
    progress.lease = (Plimsoll__Lease *)lease;
    progress.stage = (char *)stage;
    m.kind_case = PLIMSOLL__ENVELOPE__KIND_PROGRESS;
    m.progress = &progress;
    if (s->together)
        peer_send(s->peer, &m, NULL);
}

static void on_prepared(void *arg, const Plimsoll__Prepared *prepared)
{
    struct agent_session *s = arg;
    cleanup_err struct err e = ERR_INIT;
    Plimsoll__Envelope m = PLIMSOLL__ENVELOPE__INIT;
    m.kind_case = PLIMSOLL__ENVELOPE__KIND_PREPARED;
    m.prepared = (Plimsoll__Prepared *)prepared;
    /* A coordinator that is back asks again. */
    if (peer_send(s->peer, &m, &e) < 0)
        log_warning("what this host can run of %s was not told: %s", prepared->campaign,
                    err_text(&e));
}

static void on_spooled(void *arg)
{
    send_results(arg);
}

static void on_worker_ended(void *arg)
{
    struct agent_session *s = arg;
    s->worker_ended = true;
    end_if_done(s);
}

/* ---- Events of the connection ---- */

static void on_hello(void *arg, Plimsoll__Hello *hello)
{
    struct agent_session *s = arg;
    hello->name = (char *)s->setup->name;
    hello->software = (char *)"plimsoll " PLIMSOLL_VERSION;
    hello->oldest_version = FRAME_OLDEST_VERSION;
    hello->spool = (char *)spool_uuid(s->setup->spool);
    hello->next_sequence = spool_next_sequence(s->setup->spool);
    hello->fingerprint = s->fingerprint;
    hello->running = what_runs(s);
}

static uint64_t beat_ms(const Plimsoll__Welcome *welcome)
{
    uint64_t ms = welcome->beat_ns / (uint64_t)NS_PER_MS;
    if (ms == 0)
        return USUAL_BEAT_MS;
    return ms < LEAST_BEAT_MS ? LEAST_BEAT_MS : ms > MOST_BEAT_MS ? MOST_BEAT_MS : ms;
}

static void on_welcomed(void *arg, const Plimsoll__Welcome *welcome)
{
    struct agent_session *s = arg;
    log_info("connected to %s, %s", s->setup->endpoint, welcome->software);
    s->together = true;
    s->sent = 0;
    s->in_flight = 0;
    uint64_t ms = beat_ms(welcome);
    uv_timer_start(&s->beat, on_beat, ms, ms);
    if (s->rotation)
        rotation_welcomed(s->rotation);
    send_results(s);
}

/* It is tried again for as long as it takes: what is the same is told now and then. */
static void tell_refusal(struct agent_session *s, const char *why)
{
    bool same = s->last_refusal && strcmp(s->last_refusal, why) == 0;
    if (!same)
        s->refusals = (struct log_limit){0};
    if (log_limit_allows(&s->refusals))
        log_warning("%s refused this agent: %s; it tries again by itself", s->setup->endpoint, why);
    free(s->last_refusal);
    s->last_refusal = strdup(why);
}

static void on_lost(void *arg, bool refused, const char *why)
{
    struct agent_session *s = arg;
    if (refused)
        tell_refusal(s, why);
    else if (s->together)
        log_warning("%s is lost: %s", s->setup->endpoint, why);
    s->together = false;
    uv_timer_stop(&s->beat);
    end_if_done(s);
    if (refused && s->rotation)
        rotation_refused(s->rotation);
}

static void on_assign(struct agent_session *s, const Plimsoll__Assign *a)
{
    cleanup_err struct err e = ERR_INIT;
    if (a->lease && worker_has_result(s->setup->spool, a->lease)) {
        send_results(s);
        return;
    }
    if (worker_assign(s->worker, a, &e) < 0)
        log_warning("trial %" PRIu64 " is not taken: %s", a->lease ? a->lease->trial : 0,
                    err_text(&e));
}

static void on_message(void *arg, const Plimsoll__Envelope *m)
{
    struct agent_session *s = arg;
    cleanup_err struct err e = ERR_INIT;
    switch (m->kind_case) {
    case PLIMSOLL__ENVELOPE__KIND_PREPARE:
        if (worker_prepare(s->worker, m->prepare, &e) < 0)
            log_warning("campaign %s is not looked at: %s", m->prepare->campaign, err_text(&e));
        break;
    case PLIMSOLL__ENVELOPE__KIND_ASSIGN:
        on_assign(s, m->assign);
        break;
    case PLIMSOLL__ENVELOPE__KIND_CANCEL:
        if (m->cancel->lease && !worker_cancel(s->worker, m->cancel->lease))
            log_info("nothing to cancel: trial %" PRIu64 " does not run", m->cancel->lease->trial);
        break;
    case PLIMSOLL__ENVELOPE__KIND_COMMITTED:
        on_committed(s, m->committed);
        break;
    default:
        log_warning("the coordinator sent a message of kind %d, which is none for an agent",
                    (int)m->kind_case);
    }
}

/* ---- Life ---- */

static const struct worker_events worker_events = {
    .stage = on_stage, .prepared = on_prepared, .spooled = on_spooled, .ended = on_worker_ended};

static const struct peer_events peer_events = {
    .hello = on_hello, .welcomed = on_welcomed, .message = on_message, .lost = on_lost};

static void on_closed(uv_handle_t *handle)
{
    struct agent_session *s = handle->data;
    if (--s->open_handles > 0)
        return;
    if (s->fingerprint)
        plimsoll__fingerprint__free_unpacked(s->fingerprint, NULL);
    if (s->running)
        plimsoll__lease__free_unpacked(s->running, NULL);
    free(s->last_refusal);
    free(s);
}

void agent_session_free(struct agent_session **session)
{
    struct agent_session *s = *session;
    if (!s)
        return;
    *session = NULL;
    if (s->peer)
        peer_stop(&s->peer);
    rotation_stop(&s->rotation);
    worker_free(&s->worker);
    uv_close((uv_handle_t *)&s->beat, on_closed);
    uv_close((uv_handle_t *)&s->farewell, on_closed);
}

static int connect_with(struct agent_session *s, const struct key_pair *key, struct peer **ret,
                        struct err *e)
{
    return peer_start(s->loop, s->zmq_context, s->setup->endpoint, s->setup->server_z85, key,
                      &peer_events, s, ret, e);
}

/* What runs goes on, and what is spooled is sent by the connection to come. */
static int on_change_of_key(void *arg, const struct key_pair *pair)
{
    struct agent_session *s = arg;
    cleanup_err struct err e = ERR_INIT;
    struct peer *next = NULL;
    if (connect_with(s, pair, &next, &e) < 0) {
        log_error("%s", err_text(&e));
        return -1;
    }
    s->together = false;
    uv_timer_stop(&s->beat);
    peer_stop(&s->peer);
    s->peer = next;
    return 0;
}

static void watch_key(struct agent_session *s)
{
    const struct agent_setup *setup = s->setup;
    struct rotation_setup rotation = {.loop = s->loop,
                                      .zmq_context = s->zmq_context,
                                      .endpoint = setup->endpoint,
                                      .server_z85 = setup->server_z85,
                                      .key_path = setup->key_path,
                                      .key = setup->key,
                                      .change = on_change_of_key,
                                      .arg = s};
    if (setup->key_path)
        rotation_start(&rotation, &s->rotation);
}

static int start_steps(struct agent_session *s, struct err *e)
{
    const struct agent_setup *setup = s->setup;
    if (host_fingerprint(setup->bench->host, &s->fingerprint, e) < 0 ||
        worker_recover(setup->bench->host, setup->spool, e) < 0 ||
        worker_start(s->loop, setup->bench, setup->spool, &worker_events, s, &s->worker, e) < 0)
        return -1;
    if (connect_with(s, &setup->key, &s->peer, e) < 0)
        return -1;
    watch_key(s);
    return 0;
}

int agent_session_start(uv_loop_t *loop, void *zmq_context, const struct agent_setup *setup,
                        struct agent_session **ret, struct err *e)
{
    struct agent_session *s = calloc(1, sizeof *s);
    if (!s)
        return err_system(e, ENOMEM, "cannot start the session");
    s->setup = setup;
    s->loop = loop;
    s->zmq_context = zmq_context;
    uv_timer_init(loop, &s->beat);
    uv_timer_init(loop, &s->farewell);
    s->beat.data = s->farewell.data = s;
    s->open_handles = 2;
    if (start_steps(s, e) < 0) {
        agent_session_free(&s);
        return -1;
    }
    *ret = s;
    return 0;
}

static void on_farewell(uv_timer_t *timer)
{
    struct agent_session *s = timer->data;
    size_t n = spool_pending(s->setup->spool);
    if (n > 0)
        log_info("%zu results stay in the spool for the next start", n);
    end_if_done(s);
}

void agent_session_quit(struct agent_session *s)
{
    if (s->leaving)
        return;
    s->leaving = true;
    worker_quit(s->worker);
    uv_timer_start(&s->farewell, on_farewell, FAREWELL_MS, 0);
}
