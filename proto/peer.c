/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proto/peer.h"

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/fs.h"
#include "common/loop.h"
#include "proto/frame.h"
#include "proto/socket.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

enum {
    FIRST_DELAY_MS = 1000, /* at most; doubled at each failure */
    MOST_DELAY_MS = 30000,
    LEAST_DELAY_PART = 10, /* of the most at that time */
    WELCOME_MS = SOCKET_HANDSHAKE_MS + 5000,
    LINGER_MS = 500,
};

enum peer_state { PEER_WAITING, PEER_CONNECTING, PEER_GREETING, PEER_WELCOMED, PEER_STOPPED };

struct peer {
    uv_loop_t *loop;
    void *zmq_context;
    char *endpoint;
    char server_z85[KEY_Z85_BYTES];
    struct key_pair own;
    struct peer_events events;
    void *arg;
    enum peer_state state;
    unsigned failures;      /* since the last welcome */
    int64_t clock_ahead_ns; /* of the coordinator's clock, once it has told it */
    bool clock_told;
    void *socket, *monitor;
    struct loop_socket *watch, *monitor_watch;
    uv_timer_t timer; /* the next try, or the limit of the present one */
};

static void connect_again(struct peer *p);
static void on_timer(uv_timer_t *timer);

static void drop_socket(struct peer *p, int linger_ms)
{
    loop_socket_close(&p->watch);
    loop_socket_close(&p->monitor_watch);
    socket_close(&p->socket, linger_ms);
    socket_close(&p->monitor, 0);
}

/* Spread at random, so that a thousand agents do not come back in one moment; doubling, so that
 * they do not wear out a coordinator that is ill. */
static uint64_t draw_delay_ms(unsigned failures)
{
    uint32_t most_ms = FIRST_DELAY_MS;
    for (; failures > 1 && most_ms < MOST_DELAY_MS; failures--)
        most_ms *= 2;
    if (most_ms > MOST_DELAY_MS)
        most_ms = MOST_DELAY_MS;
    uint32_t least_ms = most_ms / LEAST_DELAY_PART;
    return least_ms + randombytes_uniform(most_ms - least_ms + 1);
}

static void lose(struct peer *p, bool refused, const char *why)
{
    drop_socket(p, 0);
    p->failures++;
    p->state = PEER_WAITING;
    uv_timer_start(&p->timer, on_timer, draw_delay_ms(p->failures), 0);
    p->events.lost(p->arg, refused, why);
}

static int say_hello(struct peer *p, struct err *e)
{
    Plimsoll__Hello hello = PLIMSOLL__HELLO__INIT;
    Plimsoll__Envelope m = PLIMSOLL__ENVELOPE__INIT;
    hello.software = "plimsoll " PLIMSOLL_VERSION;
    hello.oldest_version = FRAME_OLDEST_VERSION;
    p->events.hello(p->arg, &hello);
    if (p->state == PEER_STOPPED)
        return 0;
    m.kind_case = PLIMSOLL__ENVELOPE__KIND_HELLO;
    m.hello = &hello;
    p->state = PEER_GREETING;
    int failed = socket_send(p->socket, NULL, 0, &m.base, NULL, e);
    loop_socket_kick(p->watch);
    return failed;
}

/* What a coordinator may say; the rest of the grammar is the receiver's to check. */
static bool from_coordinator(Plimsoll__Envelope__KindCase kind)
{
    switch (kind) {
    case PLIMSOLL__ENVELOPE__KIND_PREPARE:
    case PLIMSOLL__ENVELOPE__KIND_ASSIGN:
    case PLIMSOLL__ENVELOPE__KIND_CANCEL:
    case PLIMSOLL__ENVELOPE__KIND_COMMITTED:
    case PLIMSOLL__ENVELOPE__KIND_SUBMITTED:
    case PLIMSOLL__ENVELOPE__KIND_CAMPAIGNS:
    case PLIMSOLL__ENVELOPE__KIND_HOSTS:
    case PLIMSOLL__ENVELOPE__KIND_SHOWN:
    case PLIMSOLL__ENVELOPE__KIND_BLOB:
    case PLIMSOLL__ENVELOPE__KIND_DONE:
    case PLIMSOLL__ENVELOPE__KIND_FAILURE:
        return true;
    default:
        return false;
    }
}

static void note_clock(struct peer *p, int64_t clock_ns)
{
    if (clock_ns == 0)
        return;
    p->clock_told = true;
    p->clock_ahead_ns = clock_ns - clock_realtime_ns();
}

bool peer_clock_ahead_ns(const struct peer *p, int64_t *ret_ns)
{
    if (p->clock_told)
        *ret_ns = p->clock_ahead_ns;
    return p->clock_told;
}

static void hear(struct peer *p, const Plimsoll__Envelope *m)
{
    if (m->kind_case == PLIMSOLL__ENVELOPE__KIND_REFUSE)
        note_clock(p, m->refuse->clock_ns);
    else if (m->kind_case == PLIMSOLL__ENVELOPE__KIND_WELCOME)
        note_clock(p, m->welcome->clock_ns);
    if (m->kind_case == PLIMSOLL__ENVELOPE__KIND_REFUSE) {
        lose(p, true, m->refuse->reason);
    } else if (m->kind_case == PLIMSOLL__ENVELOPE__KIND_WELCOME && p->state == PEER_GREETING) {
        p->state = PEER_WELCOMED;
        p->failures = 0;
        uv_timer_stop(&p->timer);
        p->events.welcomed(p->arg, m->welcome);
    } else if (p->state == PEER_WELCOMED && from_coordinator(m->kind_case)) {
        p->events.message(p->arg, m);
    } else {
        lose(p, false, "the coordinator sent a message that has no place here in the grammar");
    }
}

static bool receive(struct peer *p, zmq_msg_t *part)
{
    zmq_msg_init(part);
    if (zmq_msg_recv(part, p->socket, ZMQ_DONTWAIT) >= 0)
        return true;
    zmq_msg_close(part);
    return false;
}

static int read_message(struct peer *p)
{
    zmq_msg_t part;
    if (!p->socket || !receive(p, &part))
        return -1;
    cleanup_err struct err e = ERR_INIT;
    ProtobufCMessage *m = NULL;
    if (zmq_msg_more(&part))
        lose(p, false, "the coordinator sent a message of several parts");
    else if (frame_decode(&plimsoll__envelope__descriptor, zmq_msg_data(&part), zmq_msg_size(&part),
                          &m, &e) < 0)
        lose(p, false, err_text(&e));
    else
        hear(p, (const Plimsoll__Envelope *)m);
    frame_free(m);
    zmq_msg_close(&part);
    return p->socket ? 0 : -1;
}

static int on_message(void *socket, void *arg)
{
    struct peer *p = arg;
    int failed = read_message(p);
    return failed || p->socket != socket ? -1 : 0;
}

/* What came before the end is heard first: it may be the reason. */
static void on_end(struct peer *p, bool refused, const char *why)
{
    void *socket = p->socket;
    while (p->socket == socket && read_message(p) == 0)
        ;
    if (p->socket == socket && p->state != PEER_STOPPED)
        lose(p, refused, why);
}

static void on_unknown_key(struct peer *p)
{
    cleanup_free char *why =
        fs_path("it does not allow the key %s at this port; `coordctl keys allow`, on its machine, "
                "would allow it",
                p->own.public_z85);
    on_end(p, true, why);
}

static void on_event(struct peer *p, const struct socket_event *event)
{
    cleanup_err struct err e = ERR_INIT;
    switch (event->event) {
    case ZMQ_EVENT_HANDSHAKE_SUCCEEDED:
        if (say_hello(p, &e) < 0)
            lose(p, false, err_text(&e));
        break;
    case ZMQ_EVENT_HANDSHAKE_FAILED_AUTH:
        on_unknown_key(p);
        break;
    case ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL:
        on_end(p, false, "the handshake failed: what answers is not a Plimsoll coordinator");
        break;
    case ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL:
        on_end(p, false,
               "the handshake failed: is the coordinator's public key the right one, and is it a "
               "coordinator that answers?");
        break;
    case ZMQ_EVENT_DISCONNECTED:
        on_end(p, false, "the connection is gone");
        break;
    case ZMQ_EVENT_CLOSED:
        on_end(p, false, "nobody listens there");
        break;
    default:
        break;
    }
}

static int on_monitor(void *socket, void *arg)
{
    struct peer *p = arg;
    struct socket_event event;
    if (socket_monitor_read(socket, &event) < 0)
        return -1;
    on_event(p, &event);
    return p->monitor == socket ? 0 : -1;
}

static int make_socket(struct peer *p, struct err *e)
{
    /* Its own reconnecting is off: a refused DEALER would never try again, and all would come back
     * in step. */
    if (socket_open(p->zmq_context, ZMQ_DEALER, &p->own, p->server_z85, NULL, &p->socket, e) < 0 ||
        socket_set(p->socket, ZMQ_RECONNECT_IVL, -1, "reconnecting", e) < 0 ||
        socket_set(p->socket, ZMQ_CONNECT_TIMEOUT, SOCKET_HANDSHAKE_MS, "connection limit", e) <
            0 ||
        socket_monitor_open(p->zmq_context, p->socket, &p->monitor, e) < 0 ||
        loop_socket_watch(p->loop, p->monitor, on_monitor, p, &p->monitor_watch, e) < 0 ||
        loop_socket_watch(p->loop, p->socket, on_message, p, &p->watch, e) < 0)
        return -1;
    return socket_connect(p->socket, p->endpoint, e);
}

static void connect_again(struct peer *p)
{
    cleanup_err struct err e = ERR_INIT;
    p->state = PEER_CONNECTING;
    uv_timer_start(&p->timer, on_timer, WELCOME_MS, 0);
    if (make_socket(p, &e) < 0)
        lose(p, false, err_text(&e));
}

static void on_timer(uv_timer_t *timer)
{
    struct peer *p = timer->data;
    if (p->state == PEER_WAITING)
        connect_again(p);
    else
        lose(p, false,
             p->state == PEER_GREETING ? "the coordinator did not answer the hello in time"
                                       : "no connection in time");
}

int peer_send(struct peer *p, const Plimsoll__Envelope *m, struct err *e)
{
    if (p->state != PEER_WELCOMED)
        return err_set(e, ERR_UNAVAILABLE, "not connected to the coordinator");
    int failed = socket_send(p->socket, NULL, 0, &m->base, NULL, e);
    loop_socket_kick(p->watch);
    return failed;
}

static void on_closed(uv_handle_t *handle)
{
    struct peer *p = handle->data;
    sodium_memzero(&p->own, sizeof p->own);
    free(p->endpoint);
    free(p);
}

void peer_stop(struct peer **peer)
{
    struct peer *p = steal(*peer);
    if (!p)
        return;
    drop_socket(p, p->state == PEER_WELCOMED ? LINGER_MS : 0);
    p->state = PEER_STOPPED;
    /* A callback of ours may be on the stack: the rest goes in the loop's next turn. */
    uv_close((uv_handle_t *)&p->timer, on_closed);
}

int peer_start(uv_loop_t *loop, void *zmq_context, const char *endpoint, const char *server_z85,
               const struct key_pair *own, const struct peer_events *events, void *arg,
               struct peer **ret, struct err *e)
{
    if (!key_is_z85(server_z85))
        return err_set(e, ERR_INPUT,
                       "the coordinator's public key is not one: expected 40 characters of Z85");
    struct peer *p = calloc(1, sizeof *p);
    if (!p)
        return err_system(e, ENOMEM, "cannot connect");
    *p = (struct peer){
        .loop = loop,
        .zmq_context = zmq_context,
        .endpoint = fs_path("%s", endpoint),
        .own = *own,
        .events = *events,
        .arg = arg,
        .state = PEER_CONNECTING,
    };
    memcpy(p->server_z85, server_z85, sizeof p->server_z85);
    uv_timer_init(loop, &p->timer);
    p->timer.data = p;
    if (make_socket(p, e) < 0) {
        peer_stop(&p);
        return -1;
    }
    uv_timer_start(&p->timer, on_timer, WELCOME_MS, 0);
    *ret = p;
    return 0;
}
