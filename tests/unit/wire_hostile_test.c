/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What peers with an allowed key and bad manners, and strangers, can do to the server: nothing. */
#include "common/cleanup.h"
#include "common/fs.h"
#include "proto/connections.h"
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

static void what_a_peer_does_not_read_is_not_queued_without_end(void **state)
{
    (void)state;
    enum { BLOB_BYTES = 512 << 10, FAR_TOO_MUCH_BYTES = 64 << 20 };
    struct end a = {0};
    int zero = 0, one = 1;
    allow(&a, KEY_ROLE_AGENT, "a");
    void *s = zmq_socket(world.zmq, ZMQ_DEALER);
    zmq_setsockopt(s, ZMQ_LINGER, &zero, sizeof zero);
    zmq_setsockopt(s, ZMQ_RCVHWM, &one, sizeof one);
    zmq_setsockopt(s, ZMQ_CURVE_PUBLICKEY, a.key.public_z85, KEY_Z85_BYTES);
    zmq_setsockopt(s, ZMQ_CURVE_SECRETKEY, a.key.secret_z85, KEY_Z85_BYTES);
    zmq_setsockopt(s, ZMQ_CURVE_SERVERKEY, world.own.public_z85, KEY_Z85_BYTES);
    assert_int_equal(zmq_connect(s, server_endpoint(world.agents)), 0);
    raw_hello(s, "a");
    run_until(world.joined == 1);
    cleanup_free uint8_t *data = calloc(1, BLOB_BYTES);
    Plimsoll__Blob blob = PLIMSOLL__BLOB__INIT;
    Plimsoll__Envelope m = PLIMSOLL__ENVELOPE__INIT;
    blob.data = (ProtobufCBinaryData){BLOB_BYTES, data};
    m.kind_case = PLIMSOLL__ENVELOPE__KIND_BLOB;
    m.blob = &blob;
    cleanup_err struct err e = ERR_INIT;
    size_t queued = 0;
    while (queued < FAR_TOO_MUCH_BYTES && session_send(world.last, &m, &e) == 0)
        queued += BLOB_BYTES;
    assert_in_range(queued, BLOB_BYTES, FAR_TOO_MUCH_BYTES - BLOB_BYTES);
    assert_int_equal(e.errnum, EAGAIN);
    zmq_close(s);
    run_until(world.left == 1);
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

int main(int argc, char **argv)
{
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = {
        wire_test(broken_frames_end_only_their_own_session),
        wire_test(a_frame_over_the_size_cap_ends_the_connection),
        wire_test(a_second_hello_and_a_session_without_one_are_refused),
        wire_test(what_a_peer_does_not_read_is_not_queued_without_end),
        wire_test(a_routing_id_of_the_peers_own_choice_is_not_accepted),
        wire_test(an_endless_message_of_many_parts_is_cut_before_it_fills_the_memory),
        wire_test(a_thousand_half_open_handshakes_leave_others_unharmed),
        wire_test(connections_that_say_no_hello_do_not_stay),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
