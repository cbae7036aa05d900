/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proto/socket.h"

#include "common/cleanup.h"
#include "proto/frame.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

/* libzmq has it, and the public header hides it among drafts. Without it a socket whose ZAP handler
 * is missing would let everybody in. */
#ifndef ZMQ_ZAP_ENFORCE_DOMAIN
#define ZMQ_ZAP_ENFORCE_DOMAIN 93
#endif

enum {
    HEARTBEAT_MS = 2000,
    HEARTBEAT_TIMEOUT_MS = 6000,
    HEARTBEAT_TTL_MS = 10000,
    BACKLOG = 4096,
    /* Frames of at most FRAME_MOST_BYTES waiting in a connection's queue. */
    SEND_QUEUE = 256,
    RECEIVE_QUEUE = 16,
    CURVE_BYTES = 8 + 8 + 1 + 16,
};

int socket_set(void *socket, int option, int value, const char *what, struct err *e)
{
    if (zmq_setsockopt(socket, option, &value, sizeof value) < 0)
        return err_set(e, ERR_SYSTEM, "cannot set a socket's %s: %s", what, zmq_strerror(errno));
    return 0;
}

static int set_text(void *socket, int option, const char *value, const char *what, struct err *e)
{
    if (zmq_setsockopt(socket, option, value, strlen(value)) < 0)
        return err_set(e, ERR_SYSTEM, "cannot set a socket's %s: %s", what, zmq_strerror(errno));
    return 0;
}

static int set_limits(void *socket, struct err *e)
{
    /* Of what travels: CURVE adds a name, a nonce, a flag, and a MAC, RFC 26. */
    int64_t most = FRAME_MOST_BYTES + CURVE_BYTES;
    if (zmq_setsockopt(socket, ZMQ_MAXMSGSIZE, &most, sizeof most) < 0)
        return err_system(e, errno, "cannot set a socket's largest message");
    static const struct {
        int option, value;
        const char *what;
    } rows[] = {
        {ZMQ_SNDHWM, SEND_QUEUE, "send queue"},
        {ZMQ_RCVHWM, RECEIVE_QUEUE, "receive queue"},
        {ZMQ_HANDSHAKE_IVL, SOCKET_HANDSHAKE_MS, "handshake limit"},
        {ZMQ_HEARTBEAT_IVL, HEARTBEAT_MS, "heartbeat"},
        {ZMQ_HEARTBEAT_TIMEOUT, HEARTBEAT_TIMEOUT_MS, "heartbeat limit"},
        {ZMQ_HEARTBEAT_TTL, HEARTBEAT_TTL_MS, "heartbeat's life"},
        {ZMQ_BACKLOG, BACKLOG, "backlog"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (socket_set(socket, rows[i].option, rows[i].value, rows[i].what, e) < 0)
            return -1;
    return 0;
}

static int set_curve(void *socket, const struct key_pair *own, const char *server_z85,
                     const char *zap_domain, struct err *e)
{
    if (set_text(socket, ZMQ_CURVE_PUBLICKEY, own->public_z85, "public key", e) < 0 ||
        set_text(socket, ZMQ_CURVE_SECRETKEY, own->secret_z85, "secret key", e) < 0)
        return -1;
    if (server_z85)
        return set_text(socket, ZMQ_CURVE_SERVERKEY, server_z85, "server key", e);
    if (socket_set(socket, ZMQ_CURVE_SERVER, 1, "CURVE role", e) < 0 ||
        set_text(socket, ZMQ_ZAP_DOMAIN, zap_domain, "ZAP domain", e) < 0)
        return -1;
    return socket_set(socket, ZMQ_ZAP_ENFORCE_DOMAIN, 1, "ZAP enforcement", e);
}

int socket_open(void *zmq_context, int type, const struct key_pair *own, const char *server_z85,
                const char *zap_domain, void **ret, struct err *e)
{
    void *socket = zmq_socket(zmq_context, type);
    if (!socket)
        return err_set(e, ERR_SYSTEM, "cannot make a socket: %s", zmq_strerror(errno));
    if (set_limits(socket, e) < 0 || set_curve(socket, own, server_z85, zap_domain, e) < 0) {
        socket_close(&socket, 0);
        return -1;
    }
    *ret = socket;
    return 0;
}

void socket_close(void **socket, int linger_ms)
{
    if (!*socket)
        return;
    /* The events of the closing itself would stall libzmq's own thread once nobody reads them. */
    zmq_socket_monitor(*socket, NULL, 0);
    zmq_setsockopt(*socket, ZMQ_LINGER, &linger_ms, sizeof linger_ms);
    zmq_close(steal(*socket));
}

static int set_family(void *socket, const char *endpoint, struct err *e)
{
    return socket_set(socket, ZMQ_IPV6, strchr(endpoint, '[') != NULL, "address family", e);
}

int socket_bind(void *socket, const char *endpoint, struct err *e)
{
    if (set_family(socket, endpoint, e) < 0)
        return -1;
    if (zmq_bind(socket, endpoint) < 0)
        return err_set(e, ERR_SYSTEM, "cannot listen at %s: %s", endpoint, zmq_strerror(errno));
    return 0;
}

int socket_connect(void *socket, const char *endpoint, struct err *e)
{
    if (set_family(socket, endpoint, e) < 0)
        return -1;
    if (zmq_connect(socket, endpoint) < 0)
        return err_set(e, ERR_INPUT, "cannot connect to `%s` (expected tcp://HOST:PORT): %s",
                       endpoint, zmq_strerror(errno));
    return 0;
}

int socket_monitor_open(void *zmq_context, void *socket, void **ret_pair, struct err *e)
{
    static atomic_uint made;
    char address[64];
    snprintf(address, sizeof address, "inproc://plimsoll.monitor.%u", atomic_fetch_add(&made, 1));
    void *pair = zmq_socket(zmq_context, ZMQ_PAIR);
    int unbounded = 0;
    if (!pair)
        return err_set(e, ERR_SYSTEM, "cannot make a socket: %s", zmq_strerror(errno));
    /* A lost event would leave a dead session standing. */
    zmq_setsockopt(pair, ZMQ_RCVHWM, &unbounded, sizeof unbounded);
    if (zmq_socket_monitor(socket, address, ZMQ_EVENT_ALL) < 0 || zmq_connect(pair, address) < 0) {
        err_set(e, ERR_SYSTEM, "cannot watch a socket's connections: %s", zmq_strerror(errno));
        socket_close(&pair, 0);
        return -1;
    }
    *ret_pair = pair;
    return 0;
}

/* Two parts: event (16 bits) and value (32 bits) in the host's byte order, then the address;
 * zmq_socket_monitor(3). */
int socket_monitor_read(void *pair, struct socket_event *ret)
{
    uint8_t data[6];
    int n = zmq_recv(pair, data, sizeof data, ZMQ_DONTWAIT);
    if (n < 0)
        return -1;
    int more = 0;
    size_t length = sizeof more;
    while (zmq_getsockopt(pair, ZMQ_RCVMORE, &more, &length) == 0 && more) {
        char address[8];
        if (zmq_recv(pair, address, sizeof address, ZMQ_DONTWAIT) < 0)
            break;
    }
    uint16_t event = 0;
    *ret = (struct socket_event){0};
    if (n == (int)sizeof data) {
        memcpy(&event, data, sizeof event);
        memcpy(&ret->value, data + 2, sizeof ret->value);
    }
    ret->event = event;
    return 0;
}

struct outbox {
    atomic_size_t bytes;
    atomic_uint holders; /* who sends, and each frame that is on its way */
};

struct outbox *outbox_new(void)
{
    struct outbox *o = calloc(1, sizeof *o);
    if (!o)
        abort();
    atomic_init(&o->holders, 1);
    return o;
}

void outbox_drop(struct outbox **po)
{
    struct outbox *o = steal(*po);
    if (o && atomic_fetch_sub(&o->holders, 1) == 1)
        free(o);
}

static bool has_room(struct outbox *o, size_t length)
{
    return !o || atomic_load(&o->bytes) + length <= OUTBOX_MOST_BYTES;
}

/* What free_frame is told. */
struct sent {
    struct outbox *outbox;
    size_t length;
};

static struct sent *count(struct outbox *o, size_t length)
{
    if (!o)
        return NULL;
    struct sent *sent = malloc(sizeof *sent);
    if (!sent)
        abort();
    *sent = (struct sent){o, length};
    atomic_fetch_add(&o->bytes, length);
    atomic_fetch_add(&o->holders, 1);
    return sent;
}

/* On libzmq's thread, or on ours where it could not be queued. */
static void free_frame(void *data, void *hint)
{
    struct sent *sent = hint;
    free(data);
    if (!sent)
        return;
    atomic_fetch_sub(&sent->outbox->bytes, sent->length);
    outbox_drop(&sent->outbox);
    free(sent);
}

static int fail_send(int errnum, struct err *e)
{
    err_set(e, ERR_SYSTEM, "cannot send: %s",
            errnum == EAGAIN         ? "the peer's queue is full"
            : errnum == EHOSTUNREACH ? "the peer is gone"
                                     : zmq_strerror(errnum));
    if (e)
        e->errnum = errnum;
    return -1;
}

int socket_send(void *socket, const void *route, size_t route_bytes,
                const ProtobufCMessage *message, struct outbox *o, struct err *e)
{
    uint8_t *frame = NULL;
    size_t length = 0;
    if (frame_encode(message, &frame, &length, e) < 0)
        return -1;
    if (!has_room(o, length)) {
        free(frame);
        return fail_send(EAGAIN, e);
    }
    if (route && zmq_send(socket, route, route_bytes, ZMQ_SNDMORE | ZMQ_DONTWAIT) < 0) {
        int saved = errno;
        free(frame);
        return fail_send(saved, e);
    }
    zmq_msg_t part;
    struct sent *sent = count(o, length);
    if (zmq_msg_init_data(&part, frame, length, free_frame, sent) < 0) {
        free_frame(frame, sent);
        return err_system(e, ENOMEM, "cannot send");
    }
    if (zmq_msg_send(&part, socket, ZMQ_DONTWAIT) < 0) {
        int saved = errno;
        zmq_msg_close(&part);
        return fail_send(saved, e);
    }
    return 0;
}
