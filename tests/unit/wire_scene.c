/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/unit/wire_scene.h"

#include "common/cleanup.h"
#include "common/fs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

struct world world;

static int on_joined(void *arg, struct session *s, const Plimsoll__Hello *hello, struct err *e)
{
    (void)arg;
    assert_string_equal(session_name(s), hello->name);
    if (world.refuse_all)
        return err_set(e, ERR_REFUSED, "not today");
    world.joined++;
    world.last = s;
    return 0;
}

static void on_message(void *arg, struct session *s, const Plimsoll__Envelope *m)
{
    (void)arg;
    world.messages++;
    if (world.end_on_message) {
        session_end(s, "enough");
        return;
    }
    if (!world.echo || (world.unanswered && strcmp(session_name(s), world.unanswered) == 0))
        return;
    Plimsoll__Envelope answer = PLIMSOLL__ENVELOPE__INIT;
    Plimsoll__Done done = PLIMSOLL__DONE__INIT;
    answer.request = m->request;
    answer.kind_case = PLIMSOLL__ENVELOPE__KIND_DONE;
    answer.done = &done;
    assert_int_equal(session_send(s, &answer, NULL), 0);
}

static void on_left(void *arg, struct session *s, const char *why)
{
    (void)arg;
    world.left++;
    if (s == world.last)
        world.last = NULL;
    snprintf(world.why, sizeof world.why, "%s", why);
}

static void on_refused(void *arg, const char *name, const char *why)
{
    (void)arg;
    (void)name;
    world.refused++;
    snprintf(world.why, sizeof world.why, "%s", why);
}

const struct server_events world_events = {
    .joined = on_joined, .message = on_message, .left = on_left, .refused = on_refused};

static void end_hello(void *arg, Plimsoll__Hello *hello)
{
    struct end *end = arg;
    if (world.over)
        return;
    hello->name = (char *)end->name;
}

static void end_welcomed(void *arg, const Plimsoll__Welcome *welcome)
{
    struct end *end = arg;
    if (world.over)
        return;
    assert_true(welcome->beat_ns == 5 * (uint64_t)NS_PER_S);
    end->welcomed++;
}

static void end_message(void *arg, const Plimsoll__Envelope *m)
{
    struct end *end = arg;
    if (world.over)
        return;
    (void)m;
    end->messages++;
}

static void end_lost(void *arg, bool refused, const char *why)
{
    struct end *end = arg;
    if (world.over)
        return;
    end->lost++;
    end->was_refused = refused;
    snprintf(end->why, sizeof end->why, "%s", why);
}

const struct peer_events end_events = {
    .hello = end_hello, .welcomed = end_welcomed, .message = end_message, .lost = end_lost};

static void on_turn(uv_timer_t *timer)
{
    (void)timer;
}

void run_for_ns(int64_t ns)
{
    int64_t run_until_ns_ = clock_monotonic_ns() + ns;
    while (clock_monotonic_ns() < run_until_ns_)
        uv_run(&world.loop, UV_RUN_ONCE);
}

int world_set_up(void **state)
{
    (void)state;
    memset(&world, 0, sizeof world);
    strcpy(world.folder, "/tmp/plimsoll-wire-XXXXXX");
    assert_non_null(mkdtemp(world.folder));
    uv_loop_init(&world.loop);
    uv_timer_init(&world.loop, &world.turn);
    uv_timer_start(&world.turn, on_turn, 10, 10);
    world.zmq = zmq_ctx_new();
    assert_int_equal(key_pair_make(&world.own, NULL), 0);
    cleanup_err struct err e = ERR_INIT;
    if (zap_start(&world.loop, world.zmq, world.folder, &world.zap, &e) < 0 ||
        server_start(&world.loop, world.zmq, world.zap, KEY_ROLE_AGENT, &world.own,
                     "tcp://127.0.0.1:*", &world_events, NULL, &world.agents, &e) < 0 ||
        server_start(&world.loop, world.zmq, world.zap, KEY_ROLE_CLIENT, &world.own,
                     "tcp://127.0.0.1:*", &world_events, NULL, &world.clients, &e) < 0)
        fail_msg("%s", err_text(&e));
    return 0;
}

int world_tear_down(void **state)
{
    (void)state;
    world.over = true;
    server_stop(&world.agents);
    server_stop(&world.clients);
    zap_stop(&world.zap);
    uv_close((uv_handle_t *)&world.turn, NULL);
    /* Peers left over would try for ever. */
    int64_t until_ns = clock_monotonic_ns() + 2 * NS_PER_S;
    while (uv_run(&world.loop, UV_RUN_NOWAIT) && clock_monotonic_ns() < until_ns)
        ;
    assert_int_equal(uv_loop_close(&world.loop), 0);
    zmq_ctx_term(world.zmq);
    return fs_remove_tree(world.folder, NULL);
}

void allow(struct end *end, enum key_role role, const char *name)
{
    cleanup_err struct err e = ERR_INIT;
    end->name = name;
    assert_int_equal(key_pair_make(&end->key, NULL), 0);
    if (key_table_allow(world.folder, role, name, end->key.public_z85, 0, &e) < 0)
        fail_msg("%s", err_text(&e));
}

void start_at(struct end *end, const struct server *server)
{
    cleanup_err struct err e = ERR_INIT;
    if (peer_start(&world.loop, world.zmq, server_endpoint(server), world.own.public_z85, &end->key,
                   &end_events, end, &end->peer, &e) < 0)
        fail_msg("%s", err_text(&e));
}

int send_beat(struct end *end)
{
    Plimsoll__Envelope m = PLIMSOLL__ENVELOPE__INIT;
    Plimsoll__Beat beat = PLIMSOLL__BEAT__INIT;
    m.kind_case = PLIMSOLL__ENVELOPE__KIND_BEAT;
    m.beat = &beat;
    return peer_send(end->peer, &m, NULL);
}
