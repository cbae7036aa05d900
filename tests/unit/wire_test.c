/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Server, ZAP handler, and peers over real CURVE sockets on loopback, well-behaved and not. */
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/fs.h"
#include "proto/connections.h"
#include "proto/frame.h"
#include "proto/peer.h"
#include "proto/server.h"
#include "tests/cmocka_with_needs.h"

#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zmq.h>

#define PATIENCE_NS (20 * NS_PER_S)

/* The coordinator's end and what it was told. */
static struct {
    char folder[64];
    uv_loop_t loop;
    uv_timer_t turn; /* the loop turns at least this often, so that deadlines are looked at */
    void *zmq;
    struct zap *zap;
    struct server *agents, *clients;
    struct key_pair own;
    int joined, left, refused, messages;
    char why[256];
    struct session *last;
    bool refuse_all;
    bool end_on_message;
    bool echo;
    bool over; /* a test that failed may have left peers whose owners are gone */
} world;

/* An agent's or client's end and what it was told. */
struct end {
    struct key_pair key;
    const char *name;
    struct peer *peer;
    int welcomed, lost, messages;
    bool was_refused;
    char why[256];
};

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
    if (!world.echo)
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

static const struct server_events server_events = {
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

static const struct peer_events end_events = {
    .hello = end_hello, .welcomed = end_welcomed, .message = end_message, .lost = end_lost};

static void on_turn(uv_timer_t *timer)
{
    (void)timer;
}

#define run_until(condition)                                                                       \
    do {                                                                                           \
        int64_t run_until_ns_ = clock_monotonic_ns() + PATIENCE_NS;                                \
        while (!(condition)) {                                                                     \
            if (clock_monotonic_ns() > run_until_ns_)                                              \
                fail_msg("in vain: %s; server: %s", #condition, world.why);                        \
            uv_run(&world.loop, UV_RUN_ONCE);                                                      \
        }                                                                                          \
    } while (0)

static void run_for_ns(int64_t ns)
{
    int64_t run_until_ns_ = clock_monotonic_ns() + ns;
    while (clock_monotonic_ns() < run_until_ns_)
        uv_run(&world.loop, UV_RUN_ONCE);
}

static int set_up(void **state)
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
                     "tcp://127.0.0.1:*", &server_events, NULL, &world.agents, &e) < 0 ||
        server_start(&world.loop, world.zmq, world.zap, KEY_ROLE_CLIENT, &world.own,
                     "tcp://127.0.0.1:*", &server_events, NULL, &world.clients, &e) < 0)
        fail_msg("%s", err_text(&e));
    return 0;
}

static int tear_down(void **state)
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

static void allow(struct end *end, enum key_role role, const char *name)
{
    cleanup_err struct err e = ERR_INIT;
    end->name = name;
    assert_int_equal(key_pair_make(&end->key, NULL), 0);
    if (key_table_allow(world.folder, role, name, end->key.public_z85, &e) < 0)
        fail_msg("%s", err_text(&e));
}

static void start_at(struct end *end, const struct server *server)
{
    cleanup_err struct err e = ERR_INIT;
    if (peer_start(&world.loop, world.zmq, server_endpoint(server), world.own.public_z85, &end->key,
                   &end_events, end, &end->peer, &e) < 0)
        fail_msg("%s", err_text(&e));
}

static int send_beat(struct end *end)
{
    Plimsoll__Envelope m = PLIMSOLL__ENVELOPE__INIT;
    Plimsoll__Beat beat = PLIMSOLL__BEAT__INIT;
    m.kind_case = PLIMSOLL__ENVELOPE__KIND_BEAT;
    m.beat = &beat;
    return peer_send(end->peer, &m, NULL);
}

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
        key_table_allow(world.folder, KEY_ROLE_AGENT, "host-a", a.key.public_z85, NULL), 0);
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
                        &server_events, NULL, &world.agents, NULL) < 0) {
        assert_true(clock_monotonic_ns() < until_ns); /* the port is free again soon */
        uv_run(&world.loop, UV_RUN_ONCE);
    }
    run_until(a.welcomed == 2);
    peer_stop(&a.peer);
}

/* ---- Peers with an allowed key and bad manners --------------------------------------------------
 */

static void *raw_open(const struct end *end, const struct server *server)
{
    void *s = zmq_socket(world.zmq, ZMQ_DEALER);
    int zero = 0, never = -1;
    assert_non_null(s);
    zmq_setsockopt(s, ZMQ_LINGER, &zero, sizeof zero);
    zmq_setsockopt(s, ZMQ_RECONNECT_IVL, &never, sizeof never);
    zmq_setsockopt(s, ZMQ_CURVE_PUBLICKEY, end->key.public_z85, KEY_Z85_BYTES);
    zmq_setsockopt(s, ZMQ_CURVE_SECRETKEY, end->key.secret_z85, KEY_Z85_BYTES);
    zmq_setsockopt(s, ZMQ_CURVE_SERVERKEY, world.own.public_z85, KEY_Z85_BYTES);
    assert_int_equal(zmq_connect(s, server_endpoint(server)), 0);
    return s;
}

static void raw_hello(void *s, const char *name)
{
    Plimsoll__Envelope m = PLIMSOLL__ENVELOPE__INIT;
    Plimsoll__Hello hello = PLIMSOLL__HELLO__INIT;
    hello.name = (char *)name;
    m.kind_case = PLIMSOLL__ENVELOPE__KIND_HELLO;
    m.hello = &hello;
    uint8_t *frame = NULL;
    size_t length = 0;
    assert_int_equal(frame_encode(&m.base, &frame, &length, NULL), 0);
    assert_int_equal(zmq_send(s, frame, length, 0), (int)length);
    free(frame);
}

/* What the server's last word to a raw peer is. */
static Plimsoll__Envelope__KindCase raw_answer(void *s)
{
    static uint8_t data[FRAME_MOST_BYTES];
    int n = -1;
    run_until((n = zmq_recv(s, data, sizeof data, ZMQ_DONTWAIT)) >= 0);
    ProtobufCMessage *m = NULL;
    cleanup_err struct err e = ERR_INIT;
    if (frame_decode(&plimsoll__envelope__descriptor, data, (size_t)n, &m, &e) < 0)
        fail_msg("%s", err_text(&e));
    Plimsoll__Envelope__KindCase kind = ((Plimsoll__Envelope *)m)->kind_case;
    frame_free(m);
    return kind;
}

/* Each of these, sent after a good hello, ends that session and no other. */
static void ends_the_session(const void *data, size_t length, const char *what)
{
    struct end a = {0};
    static unsigned number;
    char name[32];
    snprintf(name, sizeof name, "raw-%u", number++);
    allow(&a, KEY_ROLE_AGENT, name);
    void *s = raw_open(&a, world.agents);
    raw_hello(s, name);
    assert_int_equal(raw_answer(s), PLIMSOLL__ENVELOPE__KIND_WELCOME);
    int left = world.left;
    zmq_send(s, data, length, 0);
    run_until(world.left == left + 1);
    if (what && !strstr(world.why, what))
        fail_msg("expected \"%s\" in \"%s\"", what, world.why);
    zmq_close(s);
}

static void broken_frames_end_only_their_own_session(void **state)
{
    (void)state;
    struct end good = {0};
    allow(&good, KEY_ROLE_AGENT, "good");
    start_at(&good, world.agents);
    run_until(good.welcomed == 1);
    ends_the_session("", 0, "header");
    ends_the_session("PL", 2, "header");
    ends_the_session("XX\1\0\0\0\0\0", 8, "not a Plimsoll frame");
    ends_the_session("PL\7\0\0\0\0\0", 8, "version 7");
    ends_the_session("PL\1\0\0\0\0\5ab", 10, "says");
    ends_the_session("PL\1\0\377\377\377\377", 8, "at most");
    ends_the_session("PL\1\0\0\0\0\0", 8, "empty");
    ends_the_session("PL\1\0\0\0\0\3\x2a\x7f\x01", 11, "beyond");
    uint8_t noise[4096];
    for (size_t i = 0; i < sizeof noise; i++)
        noise[i] = (uint8_t)(i * 2654435761u >> 13);
    ends_the_session(noise, sizeof noise, NULL);
    memcpy(noise, "PL\1\0\0\0\x0f\xf8", 8);
    ends_the_session(noise, sizeof noise, NULL);
    assert_int_equal(send_beat(&good), 0);
    run_until(world.messages == 1);
    assert_int_equal(good.lost, 0);
    peer_stop(&good.peer);
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

static void a_frame_over_the_size_cap_ends_the_connection(void **state)
{
    (void)state;
    size_t length = FRAME_MOST_BYTES + 1024;
    cleanup_free uint8_t *large = calloc(1, length);
    assert_non_null(large);
    ends_the_session(large, length, "gone");
}

static void a_second_hello_and_a_session_without_one_are_refused(void **state)
{
    (void)state;
    struct end a = {0};
    allow(&a, KEY_ROLE_AGENT, "a");
    void *s = raw_open(&a, world.agents);
    zmq_send(s, "PL\1\0\0\0\0\2\x2a\0", 10, 0); /* a beat */
    assert_int_equal(raw_answer(s), PLIMSOLL__ENVELOPE__KIND_REFUSE);
    assert_int_equal(world.joined + world.messages, 0);
    zmq_close(s);
    s = raw_open(&a, world.agents);
    raw_hello(s, "a");
    assert_int_equal(raw_answer(s), PLIMSOLL__ENVELOPE__KIND_WELCOME);
    raw_hello(s, "a");
    assert_int_equal(raw_answer(s), PLIMSOLL__ENVELOPE__KIND_REFUSE);
    assert_int_equal(world.left, 1);
    zmq_close(s);
}

static void a_routing_id_of_the_peers_own_choice_is_not_accepted(void **state)
{
    (void)state;
    struct end a = {0};
    allow(&a, KEY_ROLE_AGENT, "a");
    void *s = zmq_socket(world.zmq, ZMQ_DEALER);
    int zero = 0;
    zmq_setsockopt(s, ZMQ_LINGER, &zero, sizeof zero);
    zmq_setsockopt(s, ZMQ_ROUTING_ID, "mine!", 5);
    zmq_setsockopt(s, ZMQ_CURVE_PUBLICKEY, a.key.public_z85, KEY_Z85_BYTES);
    zmq_setsockopt(s, ZMQ_CURVE_SECRETKEY, a.key.secret_z85, KEY_Z85_BYTES);
    zmq_setsockopt(s, ZMQ_CURVE_SERVERKEY, world.own.public_z85, KEY_Z85_BYTES);
    void *monitor = NULL;
    zmq_socket_monitor(s, "inproc://own-id", ZMQ_EVENT_DISCONNECTED);
    monitor = zmq_socket(world.zmq, ZMQ_PAIR);
    zmq_connect(monitor, "inproc://own-id");
    assert_int_equal(zmq_connect(s, server_endpoint(world.agents)), 0);
    raw_hello(s, "a");
    char event[6];
    run_until(zmq_recv(monitor, event, sizeof event, ZMQ_DONTWAIT) >= 0);
    assert_int_equal(world.joined, 0);
    zmq_close(s);
    zmq_close(monitor);
}

static size_t resident_bytes(void)
{
    cleanup_free char *text = NULL;
    unsigned long pages = 0;
    assert_int_equal(fs_read_kernel("/proc/self/statm", &text, NULL), 0);
    assert_int_equal(sscanf(text, "%*u %lu", &pages), 1);
    return pages * 4096;
}

static void keep(void *data, void *hint)
{
    (void)data;
    (void)hint;
}

/* Four GiB as one message of a MiB a part. libzmq's receiver buffers parts beyond all its limits
 * and tells nobody before the last one. It comes from a process of its own, where all parts are one
 * and the same memory, so that only the server's memory is looked at. */
static void flood(const struct end *end, const char *endpoint)
{
    enum { PARTS = 4096, PART_BYTES = FRAME_MOST_BYTES };
    void *context = zmq_ctx_new();
    void *s = zmq_socket(context, ZMQ_DEALER);
    static uint8_t part[PART_BYTES];
    int never = -1;
    zmq_setsockopt(s, ZMQ_CURVE_PUBLICKEY, end->key.public_z85, KEY_Z85_BYTES);
    zmq_setsockopt(s, ZMQ_CURVE_SECRETKEY, end->key.secret_z85, KEY_Z85_BYTES);
    zmq_setsockopt(s, ZMQ_CURVE_SERVERKEY, world.own.public_z85, KEY_Z85_BYTES);
    zmq_setsockopt(s, ZMQ_RECONNECT_IVL, &never, sizeof never);
    zmq_socket_monitor(s, "inproc://flood", ZMQ_EVENT_DISCONNECTED);
    void *monitor = zmq_socket(context, ZMQ_PAIR);
    zmq_connect(monitor, "inproc://flood");
    zmq_connect(s, endpoint);
    for (int i = 0; i < PARTS; i++) {
        zmq_msg_t m;
        zmq_msg_init_data(&m, part, sizeof part, keep, NULL);
        zmq_msg_send(&m, s, i + 1 < PARTS ? ZMQ_SNDMORE : 0);
    }
    /* Until the server hangs up. */
    char event[6];
    zmq_recv(monitor, event, sizeof event, 0);
    _exit(0);
}

static void an_endless_message_of_many_parts_is_cut_before_it_fills_the_memory(void **state)
{
    (void)state;
    struct end a = {0}, good = {0};
    allow(&a, KEY_ROLE_AGENT, "a");
    allow(&good, KEY_ROLE_AGENT, "good");
    start_at(&good, world.agents);
    run_until(good.welcomed == 1);
    const size_t too_much = (size_t)2 << 30;
    size_t before = resident_bytes(), most = before;
    pid_t child = fork(), ended = 0;
    if (child == 0)
        flood(&a, server_endpoint(world.agents));
    int64_t until_ns = clock_monotonic_ns() + PATIENCE_NS;
    while (ended == 0 && most < before + too_much && clock_monotonic_ns() < until_ns) {
        uv_run(&world.loop, UV_RUN_ONCE);
        size_t now = resident_bytes();
        most = now > most ? now : most;
        ended = waitpid(child, NULL, WNOHANG);
    }
    if (ended == 0) {
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
    }
    print_message("grew by %zu MiB\n", (most - before) >> 20);
    assert_int_equal(ended, child);                                 /* it was hung up on */
    assert_true(most > before + CONNECTION_MOST_UNHEARD_BYTES / 2); /* it did flood */
    assert_true(most < before + too_much);
    assert_int_equal(send_beat(&good), 0);
    run_until(world.messages == 1);
    assert_int_equal(good.lost, 0);
    peer_stop(&good.peer);
}

static void a_thousand_half_open_handshakes_leave_others_unharmed(void **state)
{
    (void)state;
    enum { MANY = 1000 };
    struct end good = {0}, later = {0};
    allow(&good, KEY_ROLE_AGENT, "good");
    allow(&later, KEY_ROLE_AGENT, "later");
    start_at(&good, world.agents);
    run_until(good.welcomed == 1);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    to.sin_port = htons((uint16_t)atoi(strrchr(server_endpoint(world.agents), ':') + 1));
    static int fds[MANY];
    for (int i = 0; i < MANY; i++) {
        fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_true(fds[i] >= 0);
        assert_int_equal(connect(fds[i], (struct sockaddr *)&to, sizeof to), 0);
        if (i % 2) /* half of them begin a greeting */
            assert_int_equal(send(fds[i], "\377\0\0\0\0\0\0\1\177\3", 10, MSG_NOSIGNAL), 10);
    }
    start_at(&later, world.agents);
    run_until(later.welcomed == 1);
    assert_int_equal(send_beat(&good), 0);
    run_until(world.messages == 1);
    /* They are not kept: the last of them is closed after the handshake's limit. */
    char byte[64];
    for (int i = 0; i < MANY; i++) {
        run_until(recv(fds[i], byte, sizeof byte, MSG_DONTWAIT) == 0 || errno == ECONNRESET);
        close(fds[i]);
        errno = 0;
    }
    assert_int_equal(good.lost + later.lost, 0);
    peer_stop(&good.peer);
    peer_stop(&later.peer);
}

static void connections_that_say_no_hello_do_not_stay(void **state)
{
    (void)state;
    struct end a = {0};
    allow(&a, KEY_ROLE_AGENT, "a");
    void *s = raw_open(&a, world.agents);
    void *monitor = zmq_socket(world.zmq, ZMQ_PAIR);
    zmq_socket_monitor(s, "inproc://mute", ZMQ_EVENT_DISCONNECTED);
    zmq_connect(monitor, "inproc://mute");
    char event[6];
    run_until(zmq_recv(monitor, event, sizeof event, ZMQ_DONTWAIT) >= 0);
    zmq_close(s);
    zmq_close(monitor);
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

#define wire_test(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

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
        wire_test(broken_frames_end_only_their_own_session),
        wire_test(the_largest_frame_arrives),
        wire_test(a_frame_over_the_size_cap_ends_the_connection),
        wire_test(a_second_hello_and_a_session_without_one_are_refused),
        wire_test(a_routing_id_of_the_peers_own_choice_is_not_accepted),
        wire_test(an_endless_message_of_many_parts_is_cut_before_it_fills_the_memory),
        wire_test(a_thousand_half_open_handshakes_leave_others_unharmed),
        wire_test(connections_that_say_no_hello_do_not_stay),
        wire_test(many_peers_join_and_are_answered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
