/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Server, ZAP handler, and peers over real CURVE sockets on loopback, all of good will. */
#include "common/cleanup.h"
#include "common/fs.h"
#include "proto/frame.h"
#include "tests/unit/wire_scene.h"

#include <stdio.h>
#include <string.h>

static void an_allowed_agent_is_welcomed_and_heard(void **state)
{
    (void)state;
    struct end a = {0};
    allow(&a, KEY_ROLE_AGENT, "host-a");
    start_at(&a, world.agents);
    assert_int_equal(send_beat(&a), -1); /* not welcomed yet */
    run_until(a.welcomed == 1);
    world.echo = true;
    assert_int_equal(send_beat(&a), 0);
    run_until(world.messages == 1 && a.messages == 1);
    assert_string_equal(session_name(world.last), "host-a");
    assert_string_equal(session_public_key(world.last), a.key.public_z85);
    peer_stop(&a.peer);
    run_until(world.left == 1);
    assert_int_equal(a.lost, 0);
}

static void a_key_that_nobody_allowed_is_refused_at_the_handshake(void **state)
{
    (void)state;
    struct end a = {.name = "host-a"};
    key_pair_make(&a.key, NULL);
    start_at(&a, world.agents);
    run_until(a.lost == 1);
    assert_true(a.was_refused);
    assert_int_equal(world.joined, 0);
    /* It comes back by itself once it is allowed. */
    assert_int_equal(
        key_table_allow(world.folder, KEY_ROLE_AGENT, "host-a", a.key.public_z85, 0, NULL), 0);
    run_until(a.welcomed == 1);
    peer_stop(&a.peer);
}

static void a_client_key_is_refused_at_the_agents_port_and_the_other_way_round(void **state)
{
    (void)state;
    struct end a = {0}, c = {0};
    allow(&a, KEY_ROLE_AGENT, "a");
    allow(&c, KEY_ROLE_CLIENT, "c");
    start_at(&a, world.clients);
    start_at(&c, world.agents);
    run_until(a.lost == 1 && c.lost == 1);
    assert_true(a.was_refused && c.was_refused);
    assert_int_equal(world.joined, 0);
    peer_stop(&a.peer);
    peer_stop(&c.peer);
}

static void a_peer_with_another_coordinators_key_does_not_get_in(void **state)
{
    (void)state;
    struct end a = {0};
    struct key_pair other;
    allow(&a, KEY_ROLE_AGENT, "a");
    key_pair_make(&other, NULL);
    assert_int_equal(peer_start(&world.loop, world.zmq, server_endpoint(world.agents),
                                other.public_z85, &a.key, &end_events, &a, &a.peer, NULL),
                     0);
    run_until(a.lost == 1);
    assert_false(a.was_refused);
    assert_non_null(strstr(a.why, "coordinator's public key"));
    assert_int_equal(world.joined, 0);
    peer_stop(&a.peer);
}

static void an_agent_that_gives_another_agents_name_is_refused(void **state)
{
    (void)state;
    struct end a = {0}, b = {0};
    allow(&a, KEY_ROLE_AGENT, "a");
    allow(&b, KEY_ROLE_AGENT, "b");
    b.name = "a";
    start_at(&b, world.agents);
    run_until(b.lost == 1);
    assert_true(b.was_refused);
    assert_non_null(strstr(b.why, "name"));
    assert_int_equal(world.joined, 0);
    assert_int_equal(world.refused, 1);
    peer_stop(&b.peer);
}

static void a_second_live_session_with_an_agents_key_is_refused_and_told(void **state)
{
    (void)state;
    struct end a = {0}, twin;
    allow(&a, KEY_ROLE_AGENT, "a");
    start_at(&a, world.agents);
    run_until(a.welcomed == 1);
    twin = (struct end){.key = a.key, .name = a.name};
    start_at(&twin, world.agents);
    run_until(twin.lost == 1);
    assert_true(twin.was_refused);
    assert_int_equal(world.refused, 1);
    assert_non_null(strstr(world.why, "another session"));
    assert_int_equal(world.left, 0);
    assert_int_equal(send_beat(&a), 0);
    run_until(world.messages == 1);
    /* When the first is gone the second gets in. */
    peer_stop(&a.peer);
    run_until(twin.welcomed == 1);
    peer_stop(&twin.peer);
}

static void a_client_may_have_several_sessions(void **state)
{
    (void)state;
    struct end a = {0}, twin;
    allow(&a, KEY_ROLE_CLIENT, "anna");
    start_at(&a, world.clients);
    twin = (struct end){.key = a.key, .name = a.name};
    start_at(&twin, world.clients);
    run_until(a.welcomed == 1 && twin.welcomed == 1);
    peer_stop(&a.peer);
    peer_stop(&twin.peer);
}

static void remove_key(const char *role, const char *name)
{
    cleanup_free char *path = fs_path("%s/%s/%s.key", world.folder, role, name);
    assert_int_equal(unlink(path), 0);
}

static void a_key_taken_away_is_out_even_in_silence(void **state)
{
    (void)state;
    struct end a = {0}, b = {0};
    allow(&a, KEY_ROLE_AGENT, "a");
    allow(&b, KEY_ROLE_AGENT, "b");
    start_at(&a, world.agents);
    start_at(&b, world.agents);
    run_until(a.welcomed == 1 && b.welcomed == 1);
    remove_key("agents", "a");
    run_until(world.left == 1 && a.lost >= 1);
    assert_non_null(strstr(world.why, "taken away"));
    run_until(a.was_refused); /* it tries again in vain */
    assert_int_equal(a.welcomed, 1);
    assert_int_equal(b.lost, 0);
    peer_stop(&a.peer);
    peer_stop(&b.peer);
}

static void a_key_taken_away_is_out_at_its_next_message(void **state)
{
    (void)state;
    struct end a = {0};
    allow(&a, KEY_ROLE_AGENT, "a");
    start_at(&a, world.agents);
    run_until(a.welcomed == 1);
    /* The table alone changes: nothing but the message itself can tell. */
    struct key_table *empty = NULL;
    cleanup_free char *folder = fs_path("%s/none", world.folder);
    assert_int_equal(fs_make_dirs(folder, 0700, NULL), 0);
    run_for_ns(200 * NS_PER_MS);
    assert_int_equal(key_table_load(folder, &empty, NULL), 0);
    assert_int_equal(world.left, 0);
    zap_set_table(world.zap, empty);
    assert_int_equal(send_beat(&a), 0);
    run_until(world.left == 1);
    assert_int_equal(world.messages, 0);
    run_until(a.lost >= 1);
    peer_stop(&a.peer);
}

static void the_owner_can_refuse_and_end_a_session(void **state)
{
    (void)state;
    struct end a = {0};
    allow(&a, KEY_ROLE_AGENT, "a");
    world.refuse_all = true;
    start_at(&a, world.agents);
    run_until(a.lost == 1);
    assert_true(a.was_refused);
    assert_string_equal(a.why, "not today");
    assert_int_equal(world.left, 0);
    world.refuse_all = false;
    run_until(a.welcomed == 1);
    world.end_on_message = true;
    assert_int_equal(send_beat(&a), 0);
    run_until(world.left == 1 && a.lost >= 2);
    assert_string_equal(a.why, "enough");
    peer_stop(&a.peer);
}

static void a_message_of_the_other_role_ends_the_session(void **state)
{
    (void)state;
    struct end a = {0};
    allow(&a, KEY_ROLE_AGENT, "a");
    start_at(&a, world.agents);
    run_until(a.welcomed == 1);
    Plimsoll__Envelope m = PLIMSOLL__ENVELOPE__INIT;
    Plimsoll__ListHosts list = PLIMSOLL__LIST_HOSTS__INIT;
    m.kind_case = PLIMSOLL__ENVELOPE__KIND_LIST_HOSTS;
    m.list_hosts = &list;
    assert_int_equal(peer_send(a.peer, &m, NULL), 0);
    run_until(a.lost == 1);
    assert_true(a.was_refused);
    assert_int_equal(world.messages, 0);
    assert_int_equal(world.left, 1);
    peer_stop(&a.peer);
}

static void a_peer_comes_back_when_the_coordinator_does(void **state)
{
    (void)state;
    struct end a = {0};
    allow(&a, KEY_ROLE_AGENT, "a");
    start_at(&a, world.agents);
    run_until(a.welcomed == 1);
    cleanup_free char *endpoint = fs_path("%s", server_endpoint(world.agents));
    server_stop(&world.agents);
    run_until(a.lost >= 1);
    int64_t until_ns = clock_monotonic_ns() + PATIENCE_NS;
    while (server_start(&world.loop, world.zmq, world.zap, KEY_ROLE_AGENT, &world.own, endpoint,
                        &world_events, NULL, &world.agents, NULL) < 0) {
        assert_true(clock_monotonic_ns() < until_ns); /* the port is free again soon */
        uv_run(&world.loop, UV_RUN_ONCE);
    }
    run_until(a.welcomed == 2);
    peer_stop(&a.peer);
}

/* A blob's data as large as its cap, and samples up to the frame's. */
static void the_largest_frame_arrives(void **state)
{
    (void)state;
    struct end a = {0};
    allow(&a, KEY_ROLE_AGENT, "a");
    start_at(&a, world.agents);
    run_until(a.welcomed == 1);
    static char text[64 << 10];
    memset(text, 'x', sizeof text - 1);
    Plimsoll__Text texts[17], *pointers[17];
    Plimsoll__Envelope m = PLIMSOLL__ENVELOPE__INIT;
    Plimsoll__Result result = PLIMSOLL__RESULT__INIT;
    Plimsoll__Lease lease = PLIMSOLL__LEASE__INIT;
    m.kind_case = PLIMSOLL__ENVELOPE__KIND_RESULT;
    m.result = &result;
    result.lease = &lease;
    result.texts = pointers;
    for (; result.n_texts < 16; result.n_texts++) {
        plimsoll__text__init(&texts[result.n_texts]);
        pointers[result.n_texts] = &texts[result.n_texts];
        texts[result.n_texts].text = text + (result.n_texts == 15 ? 500 : 0);
    }
    size_t left = FRAME_MOST_BYTES - FRAME_HEADER_BYTES - plimsoll__envelope__get_packed_size(&m);
    assert_true(left < 1024);
    char rest[1024] = {0};
    memset(rest, 'y', left - 2);
    result.reason = rest;
    while (plimsoll__envelope__get_packed_size(&m) > FRAME_MOST_BYTES - FRAME_HEADER_BYTES)
        rest[strlen(rest) - 1] = '\0';
    assert_int_equal(plimsoll__envelope__get_packed_size(&m),
                     FRAME_MOST_BYTES - FRAME_HEADER_BYTES);
    assert_int_equal(peer_send(a.peer, &m, NULL), 0);
    run_until(world.messages == 1);
    strcat(rest, "y");
    assert_int_equal(peer_send(a.peer, &m, NULL), -1);
    peer_stop(&a.peer);
}

static void many_peers_join_and_are_answered(void **state)
{
    (void)state;
    enum { MANY = 100 };
    static struct end ends[MANY];
    static char names[MANY][16];
    memset(ends, 0, sizeof ends);
    for (int i = 0; i < MANY; i++) {
        snprintf(names[i], sizeof names[i], "host-%d", i);
        allow(&ends[i], KEY_ROLE_AGENT, names[i]);
    }
    for (int i = 0; i < MANY; i++)
        start_at(&ends[i], world.agents);
    run_until(world.joined == MANY);
    world.echo = true;
    for (int i = 0; i < MANY; i++) {
        run_until(ends[i].welcomed == 1);
        for (int n = 0; n < 50; n++)
            assert_int_equal(send_beat(&ends[i]), 0);
    }
    for (int i = 0; i < MANY; i++)
        run_until(ends[i].messages == 50);
    assert_int_equal(world.messages, MANY * 50);
    for (int i = 0; i < MANY; i++)
        peer_stop(&ends[i].peer);
    run_until(world.left == MANY);
}

int main(int argc, char **argv)
{
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = {
        wire_test(an_allowed_agent_is_welcomed_and_heard),
        wire_test(a_key_that_nobody_allowed_is_refused_at_the_handshake),
        wire_test(a_client_key_is_refused_at_the_agents_port_and_the_other_way_round),
        wire_test(a_peer_with_another_coordinators_key_does_not_get_in),
        wire_test(an_agent_that_gives_another_agents_name_is_refused),
        wire_test(a_second_live_session_with_an_agents_key_is_refused_and_told),
        wire_test(a_client_may_have_several_sessions),
        wire_test(a_key_taken_away_is_out_even_in_silence),
        wire_test(a_key_taken_away_is_out_at_its_next_message),
        wire_test(the_owner_can_refuse_and_end_a_session),
        wire_test(a_message_of_the_other_role_ends_the_session),
        wire_test(a_peer_comes_back_when_the_coordinator_does),
        wire_test(the_largest_frame_arrives),
        wire_test(many_peers_join_and_are_answered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
