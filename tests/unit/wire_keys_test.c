/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The life of a key over real CURVE sockets: none, revoked, expired, rotated, and what was recorded
 * of a session and comes again; and one that is allowed and floods. */
#include "common/cleanup.h"
#include "common/fs.h"
#include "proto/frame.h"
#include "tests/unit/wire_scene.h"

#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zmq.h>

static void expires_in(const struct end *end, const char *name, int64_t span_ns)
{
    cleanup_err struct err e = ERR_INIT;
    if (key_table_allow(world.folder, KEY_ROLE_AGENT, name, end->key.public_z85,
                        clock_realtime_ns() + span_ns, &e) < 0)
        fail_msg("%s", err_text(&e));
}

/* ---- None ---- */

static void turned_away(void *s, const char *events)
{
    int never = -1, zero = 0;
    zmq_setsockopt(s, ZMQ_RECONNECT_IVL, &never, sizeof never);
    zmq_setsockopt(s, ZMQ_LINGER, &zero, sizeof zero);
    void *monitor = zmq_socket(world.zmq, ZMQ_PAIR);
    int watched = zmq_socket_monitor(s, events,
                                     ZMQ_EVENT_DISCONNECTED | ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL |
                                         ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL |
                                         ZMQ_EVENT_HANDSHAKE_FAILED_AUTH);
    assert_int_equal(watched, 0);
    assert_int_equal(zmq_connect(monitor, events), 0);
    assert_int_equal(zmq_connect(s, server_endpoint(world.agents)), 0);
    zmq_send(s, "PL\1\0\0\0\0\2\x2a\0", 10, 0); /* a beat, should anybody listen */
    char event[6];
    run_until(zmq_recv(monitor, event, sizeof event, ZMQ_DONTWAIT) >= 0);
    zmq_close(s);
    zmq_close(monitor);
    assert_int_equal(world.joined + world.messages, 0);
}

static void a_peer_without_a_key_is_turned_away(void **state)
{
    (void)state;
    turned_away(zmq_socket(world.zmq, ZMQ_DEALER), "inproc://without");
    void *plain = zmq_socket(world.zmq, ZMQ_DEALER);
    zmq_setsockopt(plain, ZMQ_PLAIN_USERNAME, "a", 1);
    zmq_setsockopt(plain, ZMQ_PLAIN_PASSWORD, "a", 1);
    turned_away(plain, "inproc://plain");
}

/* ---- Revoked, expired ---- */

static void a_revoked_key_is_cut_off_and_told_why_and_others_are_unharmed(void **state)
{
    (void)state;
    struct end a = {0}, b = {0};
    allow(&a, KEY_ROLE_AGENT, "a");
    allow(&b, KEY_ROLE_AGENT, "b");
    start_at(&a, world.agents);
    start_at(&b, world.agents);
    run_until(a.welcomed == 1 && b.welcomed == 1);
    assert_int_equal(key_table_revoke(world.folder, KEY_ROLE_AGENT, "a", NULL, NULL), 0);
    /* Before the loop has turned, so before the folder's watch has told anything. */
    assert_int_equal(send_beat(&a), 0);
    run_until(world.left == 1);
    assert_int_equal(world.messages, 0);
    assert_non_null(strstr(world.why, "revoked at 2"));
    run_until(a.was_refused);
    assert_non_null(strstr(a.why, "its key was revoked at 2"));
    assert_int_equal(a.welcomed, 1);
    assert_int_equal(world.joined, 2);
    assert_int_equal(send_beat(&b), 0);
    run_until(world.messages == 1);
    assert_int_equal(b.lost, 0);
    peer_stop(&a.peer);
    peer_stop(&b.peer);
}

static void a_key_that_expires_is_out_in_silence_and_back_when_it_is_renewed(void **state)
{
    (void)state;
    struct end a = {0}, b = {0};
    allow(&b, KEY_ROLE_AGENT, "b");
    a.name = "a";
    key_pair_make(&a.key, NULL);
    expires_in(&a, "a", 3 * NS_PER_S);
    start_at(&a, world.agents);
    start_at(&b, world.agents);
    run_until(a.welcomed == 1 && b.welcomed == 1);
    assert_int_equal(world.left, 0);
    run_until(world.left == 1);
    assert_non_null(strstr(world.why, "expired at 2"));
    run_until(a.was_refused);
    assert_non_null(strstr(a.why, "the coordinator's clock says 2"));
    assert_int_equal(b.lost, 0);
    expires_in(&a, "a", 3600 * NS_PER_S);
    run_until(a.welcomed == 2);
    peer_stop(&a.peer);
    peer_stop(&b.peer);
}

static void a_file_with_a_broken_date_lets_nobody_in(void **state)
{
    (void)state;
    struct end a = {0};
    allow(&a, KEY_ROLE_AGENT, "a");
    cleanup_free char *path = fs_path("%s/agents/a.key", world.folder);
    cleanup_free char *text =
        fs_path("public = \"%s\"\nexpires = \"tomorrow\"\n", a.key.public_z85);
    assert_int_equal(fs_write_atomic(path, text, strlen(text), 0600, NULL), 0);
    start_at(&a, world.agents);
    run_until(a.lost == 1);
    assert_true(a.was_refused);
    assert_int_equal(world.joined, 0);
    peer_stop(&a.peer);
}

/* ---- Rotated ---- */

static void a_rotated_key_is_the_same_peer_and_the_same_source(void **state)
{
    (void)state;
    struct end old = {0}, new = {.name = "a"};
    allow(&old, KEY_ROLE_AGENT, "a");
    key_pair_make(&new.key, NULL);
    int64_t hour_ns = clock_realtime_ns() + 3600 * NS_PER_S;
    assert_int_equal(
        key_table_rotate(world.folder, KEY_ROLE_AGENT, "a", new.key.public_z85, 0, hour_ns, NULL),
        0);
    start_at(&old, world.agents);
    run_until(old.welcomed == 1);
    assert_string_equal(session_source_key(world.last), old.key.public_z85);
    start_at(&new, world.agents);
    run_until(new.lost == 1);
    assert_non_null(strstr(new.why, "another session of this name"));
    peer_stop(&old.peer);
    run_until(new.welcomed == 1);
    assert_string_equal(session_public_key(world.last), new.key.public_z85);
    assert_string_equal(session_source_key(world.last), old.key.public_z85);
    assert_int_equal(key_table_revoke(world.folder, KEY_ROLE_AGENT, "a", old.key.public_z85, NULL),
                     0);
    assert_int_equal(send_beat(&new), 0);
    run_until(world.messages == 1);
    start_at(&old, world.agents);
    run_until(old.was_refused);
    assert_non_null(strstr(old.why, "revoked"));
    assert_int_equal(new.lost, 1);
    peer_stop(&old.peer);
    peer_stop(&new.peer);
}

/* ---- What was recorded ---- */

/* Stands between a peer and the server, and keeps what the peer says. */
struct relay {
    int listening, peer, server;
    char endpoint[64];
    uint8_t said[64 << 10];
    size_t n;
};

static int connect_to(const char *endpoint)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    to.sin_port = htons((uint16_t)atoi(strrchr(endpoint, ':') + 1));
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    return fd;
}

static void relay_open(struct relay *r)
{
    *r = (struct relay){.peer = -1, .server = -1};
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof at;
    r->listening = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_int_equal(bind(r->listening, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(r->listening, 1), 0);
    assert_int_equal(getsockname(r->listening, (struct sockaddr *)&at, &length), 0);
    snprintf(r->endpoint, sizeof r->endpoint, "tcp://127.0.0.1:%u", ntohs(at.sin_port));
}

static void copy(int from, int to, struct relay *keep)
{
    uint8_t data[4096];
    ssize_t n = recv(from, data, sizeof data, MSG_DONTWAIT);
    if (n <= 0)
        return;
    if (keep) {
        assert_true(keep->n + (size_t)n <= sizeof keep->said);
        memcpy(keep->said + keep->n, data, (size_t)n);
        keep->n += (size_t)n;
    }
    assert_int_equal(send(to, data, (size_t)n, MSG_NOSIGNAL), n);
}

/* One peer alone, once. */
static void relay_turn(struct relay *r)
{
    if (r->peer < 0) {
        r->peer = accept(r->listening, NULL, NULL);
        if (r->peer < 0)
            return;
        close(r->listening);
        r->server = connect_to(server_endpoint(world.agents));
    }
    copy(r->peer, r->server, r);
    copy(r->server, r->peer, NULL);
}

static void relay_close(struct relay *r)
{
    close(r->peer);
    close(r->server);
}

/* A session through a relay with one beat; returns where its ciphertext begins. */
static size_t recorded_beat(struct relay *r, struct end *a, const char *name)
{
    allow(a, KEY_ROLE_AGENT, name);
    relay_open(r);
    int joined = world.joined, messages = world.messages;
    assert_int_equal(peer_start(&world.loop, world.zmq, r->endpoint, world.own.public_z85, &a->key,
                                &end_events, a, &a->peer, NULL),
                     0);
    run_until((relay_turn(r), a->welcomed == 1));
    assert_int_equal(world.joined, joined + 1);
    size_t begin = r->n;
    assert_int_equal(send_beat(a), 0);
    run_until((relay_turn(r), world.messages == messages + 1));
    assert_true(r->n > begin);
    return begin;
}

static void a_frame_sent_again_or_altered_ends_the_connection_and_is_not_heard(void **state)
{
    (void)state;
    static struct relay r, other;
    struct end a = {0}, b = {0}, good = {0};
    allow(&good, KEY_ROLE_AGENT, "good");
    start_at(&good, world.agents);
    run_until(good.welcomed == 1);
    size_t begin = recorded_beat(&r, &a, "a");
    size_t length = r.n - begin;
    assert_int_equal(send(r.server, r.said + begin, length, MSG_NOSIGNAL), (ssize_t)length);
    run_until(world.left == 1);
    assert_int_equal(world.messages, 1);
    begin = recorded_beat(&other, &b, "b");
    length = other.n - begin;
    other.said[other.n - 1] ^= 1;
    assert_int_equal(send(other.server, other.said + begin, length, MSG_NOSIGNAL), (ssize_t)length);
    run_until(world.left == 2);
    assert_int_equal(world.messages, 2);
    assert_int_equal(send_beat(&good), 0);
    run_until(world.messages == 3);
    assert_int_equal(good.lost, 0);
    relay_close(&r);
    relay_close(&other);
    peer_stop(&a.peer);
    peer_stop(&b.peer);
    peer_stop(&good.peer);
}

static void a_whole_session_sent_again_is_nobody(void **state)
{
    (void)state;
    static struct relay r;
    struct end a = {0};
    recorded_beat(&r, &a, "a");
    peer_stop(&a.peer);
    relay_close(&r);
    run_until(world.left == 1);
    int fd = connect_to(server_endpoint(world.agents));
    uint8_t answer[4096];
    ssize_t n = -1;
    assert_int_equal(send(fd, r.said, r.n, MSG_NOSIGNAL), (ssize_t)r.n);
    do {
        errno = 0;
        run_until((n = recv(fd, answer, sizeof answer, MSG_DONTWAIT)) >= 0 || errno == ECONNRESET);
    } while (n > 0);
    close(fd);
    assert_int_equal(world.joined, 1);
    assert_int_equal(world.messages, 1);
}

/* ---- Flooding with what is valid ---- */

/* A process of its own that says hello, and beats as fast as it is let, until it is killed. */
static pid_t start_flood(const struct end *end, const char *endpoint)
{
    Plimsoll__Envelope m = PLIMSOLL__ENVELOPE__INIT;
    Plimsoll__Hello hello = PLIMSOLL__HELLO__INIT;
    hello.name = (char *)end->name;
    m.kind_case = PLIMSOLL__ENVELOPE__KIND_HELLO;
    m.hello = &hello;
    uint8_t *frame = NULL;
    size_t length = 0;
    assert_int_equal(frame_encode(&m.base, &frame, &length, NULL), 0);
    pid_t child = fork();
    if (child == 0) {
        void *s = zmq_socket(zmq_ctx_new(), ZMQ_DEALER);
        zmq_setsockopt(s, ZMQ_CURVE_PUBLICKEY, end->key.public_z85, KEY_Z85_BYTES);
        zmq_setsockopt(s, ZMQ_CURVE_SECRETKEY, end->key.secret_z85, KEY_Z85_BYTES);
        zmq_setsockopt(s, ZMQ_CURVE_SERVERKEY, world.own.public_z85, KEY_Z85_BYTES);
        zmq_connect(s, endpoint);
        zmq_send(s, frame, length, 0);
        for (;;)
            zmq_send(s, "PL\1\0\0\0\0\2\x2a\0", 10, 0);
    }
    free(frame);
    return child;
}

static size_t resident_bytes(void)
{
    cleanup_free char *text = NULL;
    unsigned long pages = 0;
    assert_int_equal(fs_read_kernel("/proc/self/statm", &text, NULL), 0);
    assert_int_equal(sscanf(text, "%*u %lu", &pages), 1);
    return pages * 4096;
}

static void one_that_floods_with_valid_messages_keeps_nobody_else_waiting(void **state)
{
    (void)state;
    enum { ROUNDS = 200, FLOOD = 20000, MOST_GROWTH_BYTES = 64 << 20 };
    struct end good = {0}, bad = {0};
    allow(&good, KEY_ROLE_AGENT, "good");
    allow(&bad, KEY_ROLE_AGENT, "bad");
    start_at(&good, world.agents);
    run_until(good.welcomed == 1);
    pid_t child = start_flood(&bad, server_endpoint(world.agents));
    run_until(world.messages > 1000);
    size_t before = resident_bytes();
    int64_t longest_ns = 0;
    world.echo = true;
    world.unanswered = "bad"; /* it reads nothing */
    for (int i = 0; i < ROUNDS || world.messages < FLOOD; i++) {
        int64_t begin_ns = clock_monotonic_ns();
        assert_int_equal(send_beat(&good), 0);
        run_until(good.messages == i + 1);
        int64_t took_ns = clock_monotonic_ns() - begin_ns;
        longest_ns = took_ns > longest_ns ? took_ns : longest_ns;
    }
    size_t after = resident_bytes();
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    print_message("%d messages; the longest of the others' round trips took %lld ms\n",
                  world.messages, (long long)(longest_ns / NS_PER_MS));
    assert_true(longest_ns < NS_PER_S);
    assert_true(after < before + MOST_GROWTH_BYTES);
    assert_int_equal(good.lost, 0);
    peer_stop(&good.peer);
}

int main(int argc, char **argv)
{
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = {
        wire_test(a_peer_without_a_key_is_turned_away),
        wire_test(a_revoked_key_is_cut_off_and_told_why_and_others_are_unharmed),
        wire_test(a_key_that_expires_is_out_in_silence_and_back_when_it_is_renewed),
        wire_test(a_file_with_a_broken_date_lets_nobody_in),
        wire_test(a_rotated_key_is_the_same_peer_and_the_same_source),
        wire_test(a_frame_sent_again_or_altered_ends_the_connection_and_is_not_heard),
        wire_test(a_whole_session_sent_again_is_nobody),
        wire_test(one_that_floods_with_valid_messages_keeps_nobody_else_waiting),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
