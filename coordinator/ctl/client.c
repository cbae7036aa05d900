/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "coordinator/ctl/client.h"

#include "common/cleanup.h"
#include "common/clock.h"
#include "coordinator/ctl/place.h"
#include "proto/keys.h"
#include "proto/peer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

enum { ANSWER_WAIT_S = 60, SESSION_WAIT_S = 5 };

struct client {
    uv_loop_t *loop; /* the caller's */
    void *zmq;
    struct peer *peer;
    uv_timer_t timer; /* of the wait that is under way */
    char *endpoint;
    char *name;
    bool welcomed;
    bool refused; /* the last loss was a refusal */
    bool expired;
    char *lost_why;
    struct err interrupt;       /* set from outside */
    uint32_t request;           /* number of the last request */
    Plimsoll__Envelope *answer; /* to it */
    client_changed *changed;    /* while a watch is under way */
    void *changed_arg;
    bool watch_ended;
    int exit_code; /* what the coordinator's last failure asked for */
};

static void fill_hello(void *arg, Plimsoll__Hello *hello)
{
    struct client *c = arg;
    hello->name = c->name;
    hello->software = "plimsoll " PLIMSOLL_VERSION;
}

static void on_welcomed(void *arg, const Plimsoll__Welcome *welcome)
{
    (void)welcome;
    struct client *c = arg;
    c->welcomed = true;
    uv_stop(c->loop);
}

static void on_lost(void *arg, bool refused, const char *why)
{
    struct client *c = arg;
    c->welcomed = false;
    c->refused = refused;
    free(c->lost_why);
    c->lost_why = strdup(why ? why : "");
    uv_stop(c->loop);
}

/* The peer frees its message after the call, so the answer is a copy. */
static Plimsoll__Envelope *copy_envelope(const Plimsoll__Envelope *m)
{
    size_t length = plimsoll__envelope__get_packed_size(m);
    cleanup_free uint8_t *packed = malloc(length ? length : 1);
    if (!packed)
        return NULL;
    plimsoll__envelope__pack(m, packed);
    return plimsoll__envelope__unpack(NULL, length, packed);
}

static bool has_ended(const Plimsoll__Campaign *campaign)
{
    static const char *const ends[] = {"done", "cancelled", "incomplete", "failed"};
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        if (strcmp(campaign->state, ends[i]) == 0)
            return true;
    return false;
}

static void on_change(struct client *c, const Plimsoll__Campaigns *m)
{
    for (size_t i = 0; i < m->n_campaigns && !c->watch_ended; i++)
        c->watch_ended =
            c->changed(c->changed_arg, m->campaigns[i]) != 0 || has_ended(m->campaigns[i]);
}

static void on_message(void *arg, const Plimsoll__Envelope *m)
{
    struct client *c = arg;
    if (m->request != c->request)
        return;
    uv_stop(c->loop);
    if (c->changed && m->kind_case == PLIMSOLL__ENVELOPE__KIND_CAMPAIGNS)
        on_change(c, m->campaigns);
    else if (!c->answer)
        c->answer = copy_envelope(m);
}

static const struct peer_events events = {
    .hello = fill_hello,
    .welcomed = on_welcomed,
    .message = on_message,
    .lost = on_lost,
};

static void on_timer(uv_timer_t *timer)
{
    struct client *c = timer->data;
    c->expired = true;
}

static void start_timer(struct client *c, int64_t wait_ns)
{
    c->expired = false;
    uv_update_time(c->loop);
    uv_timer_start(&c->timer, on_timer, (uint64_t)(wait_ns / NS_PER_MS), 0);
}

/* One turn of the loop; -1 once somebody interrupted. Messages are read before the loop may block,
 * so whoever changes what is waited for also calls uv_stop: else the turn would go on until
 * something else happens. */
static int turn(struct client *c, struct err *e)
{
    if (c->interrupt.code == ERR_NONE)
        uv_run(c->loop, UV_RUN_ONCE);
    return err_move(e, &c->interrupt);
}

int client_wait(struct client *c, int64_t wait_ns, struct err *e)
{
    start_timer(c, wait_ns);
    while (!c->welcomed) {
        if (turn(c, e) < 0)
            return -1;
        if (c->refused)
            return err_set(e, ERR_REFUSED, "the coordinator at %s refused us: %s", c->endpoint,
                           c->lost_why);
        if (c->expired)
            return err_set(e, ERR_TIMEOUT, "no coordinator answers at %s%s%s", c->endpoint,
                           c->lost_why && *c->lost_why ? ": " : "", c->lost_why ? c->lost_why : "");
    }
    uv_timer_stop(&c->timer);
    return 0;
}

int client_server_key(const char *text, char ret_z85[KEY_Z85_BYTES], struct err *e)
{
    uint8_t raw[32];
    if (strlen(text) == KEY_Z85_BYTES - 1 && zmq_z85_decode(raw, text)) {
        memcpy(ret_z85, text, KEY_Z85_BYTES);
        return 0;
    }
    return key_public_load(text, ret_z85, e);
}

static int connect_peer(struct client *c, const struct client_target *target, struct err *e)
{
    struct key_pair own;
    char server_z85[KEY_Z85_BYTES];
    if (key_pair_load(target->key, &own, e) < 0 ||
        client_server_key(target->server_key, server_z85, e) < 0)
        return -1;
    return peer_start(c->loop, c->zmq, c->endpoint, server_z85, &own, &events, c, &c->peer, e);
}

int client_start(uv_loop_t *loop, const struct client_target *target, struct client **ret,
                 struct err *e)
{
    struct client *c = calloc(1, sizeof *c);
    if (!c)
        return err_set(e, ERR_SYSTEM, "out of memory");
    c->loop = loop;
    c->endpoint = strdup(target->endpoint);
    c->name = strdup(target->name);
    c->zmq = zmq_ctx_new();
    uv_timer_init(loop, &c->timer);
    c->timer.data = c;
    if (connect_peer(c, target, e) < 0) {
        client_close(&c);
        return -1;
    }
    *ret = c;
    return 0;
}

void client_close(struct client **client)
{
    struct client *c = *client;
    if (!c)
        return;
    *client = NULL;
    peer_stop(&c->peer);
    uv_close((uv_handle_t *)&c->timer, NULL);
    uv_run(c->loop, UV_RUN_DEFAULT);
    zmq_ctx_term(c->zmq);
    client_answer_free(&c->answer);
    err_clear(&c->interrupt);
    free(c->lost_why);
    free(c->endpoint);
    free(c->name);
    free(c);
}

void client_answer_free(Plimsoll__Envelope **m)
{
    if (*m)
        plimsoll__envelope__free_unpacked(*m, NULL);
    *m = NULL;
}

int client_tell(struct client *c, Plimsoll__Envelope *request, struct err *e)
{
    request->request = c->request + 0x40000000u; /* no wait has this number */
    return peer_send(c->peer, request, e);
}

static int send_request(struct client *c, Plimsoll__Envelope *request, struct err *e)
{
    client_answer_free(&c->answer);
    request->request = ++c->request;
    return peer_send(c->peer, request, e);
}

/* A failure becomes an error with the coordinator's words. */
static int check_answer(struct client *c, Plimsoll__Envelope__KindCase kind, struct err *e)
{
    const Plimsoll__Envelope *m = c->answer;
    c->exit_code = 0;
    if (m->kind_case == kind)
        return 0;
    if (m->kind_case != PLIMSOLL__ENVELOPE__KIND_FAILURE)
        return err_set(e, ERR_PROTOCOL, "the coordinator answered something else than was asked");
    c->exit_code = (int)m->failure->exit_code;
    return err_set(e, ERR_REFUSED, "%s", m->failure->text);
}

int client_call(struct client *c, Plimsoll__Envelope *request, Plimsoll__Envelope__KindCase kind,
                Plimsoll__Envelope **ret, struct err *e)
{
    if (send_request(c, request, e) < 0)
        return -1;
    start_timer(c, ANSWER_WAIT_S * NS_PER_S);
    while (!c->answer) {
        if (turn(c, e) < 0)
            return -1;
        if (!c->welcomed)
            return err_set(e, ERR_PROTOCOL, "the coordinator was lost before it answered: %s",
                           c->lost_why);
        if (c->expired)
            return err_set(e, ERR_TIMEOUT, "the coordinator did not answer within %d s",
                           (int)ANSWER_WAIT_S);
    }
    uv_timer_stop(&c->timer);
    if (check_answer(c, kind, e) < 0)
        return -1;
    *ret = c->answer;
    c->answer = NULL;
    return 0;
}

/* Watches over one connection: 0 when the watch is over, 1 when the connection is. */
static int watch_connection(struct client *c, const char *campaign, struct err *e)
{
    Plimsoll__Watch watch = PLIMSOLL__WATCH__INIT;
    watch.campaign = (char *)campaign;
    Plimsoll__Envelope request = PLIMSOLL__ENVELOPE__INIT;
    request.kind_case = PLIMSOLL__ENVELOPE__KIND_WATCH;
    request.watch = &watch;
    if (send_request(c, &request, e) < 0)
        return -1;
    while (!c->watch_ended) {
        if (turn(c, e) < 0)
            return -1;
        if (c->answer)
            return check_answer(c, PLIMSOLL__ENVELOPE__KIND_CAMPAIGNS, e);
        if (!c->welcomed)
            return 1;
    }
    return 0;
}

static int watch(struct client *c, const char *campaign, struct err *e)
{
    for (;;) {
        int lost = watch_connection(c, campaign, e);
        if (lost <= 0)
            return lost;
        while (!c->welcomed) {
            if (c->refused)
                return err_set(e, ERR_REFUSED, "the coordinator refused us: %s", c->lost_why);
            if (turn(c, e) < 0)
                return -1;
        }
    }
}

int client_watch(struct client *c, const char *campaign, client_changed *changed, void *arg,
                 struct err *e)
{
    c->changed = changed;
    c->changed_arg = arg;
    c->watch_ended = false;
    int result = watch(c, campaign, e);
    c->changed = NULL;
    return result;
}

void client_interrupt(struct client *c, enum err_code code, const char *text)
{
    err_set(&c->interrupt, code, "%s", text);
    uv_stop(c->loop);
}

int client_exit_code(const struct client *c, const struct err *e)
{
    if (c && c->exit_code)
        return c->exit_code;
    return e->code == ERR_INPUT || e->code == ERR_NOT_FOUND ? EXIT_USAGE : EXIT_NO_COORDINATOR;
}

static void tell_not_local(const struct client_session *s)
{
    cleanup_free char *store = NULL;
    cleanup_free char *campaign = NULL;
    cleanup_err struct err e = ERR_INIT;
    if (s->sought && place_store(s->sought, &store, &campaign, &e) < 0)
        fprintf(stderr, "coordctl %s: %s\n", s->verb->name, err_text(&e));
}

int client_session_fail(const struct client_session *s, const struct err *e)
{
    fprintf(stderr, "coordctl %s: %s\n", s->verb->name, err_text(e));
    tell_not_local(s);
    return client_exit_code(s->client, e);
}

int client_session_open(struct client_session *s, const struct verb *v,
                        const struct client_options *options)
{
    *s = (struct client_session){.verb = v, .sought = options->sought};
    struct client_target target = {0};
    cleanup_err struct err e = ERR_INIT;
    int code = EXIT_GOOD;
    uv_loop_init(&s->loop);
    if (client_target_find(options, &target, &e) < 0 ||
        client_start(&s->loop, &target, &s->client, &e) < 0 ||
        client_wait(s->client, SESSION_WAIT_S * NS_PER_S, &e) < 0) {
        code = client_session_fail(s, &e);
        client_session_close(s);
    }
    client_target_clear(&target);
    return code;
}

void client_session_close(struct client_session *s)
{
    client_close(&s->client);
    uv_loop_close(&s->loop);
}
