/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proto/server.h"

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/loop.h"
#include "proto/connections.h"
#include "proto/frame.h"
#include "proto/socket.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

enum {
    ROUTE_BYTES = 5, /* of an identity that the ROUTER drew: 0 and 32 bits, zmq_socket(3) */
    BUCKETS = 4096,
    MOST_SESSIONS_OF_A_CLIENT = 256,
    TICK_MS = 500,
    LINGER_MS = 500,
};

#define USUAL_BEAT_NS (5 * NS_PER_S)

/* An over one stays until its connection is gone, to swallow what is still queued. */
enum session_state { SESSION_JOINING, SESSION_LIVE, SESSION_OVER };

struct session {
    struct server *server;
    struct session *next; /* in its bucket */
    uint8_t route[ROUTE_BYTES];
    int fd; /* libzmq's; known by connections.h */
    enum session_state state;
    struct allowed_key key; /* as it was at the hello */
    void *data;             /* the owner's */
    struct outbox *outbox;
};

struct server {
    void *socket; /* NULL once stopped */
    void *monitor;
    struct loop_socket *watch, *monitor_watch;
    struct zap *zap;
    struct zap_listener listener;
    enum key_role role;
    int64_t beat_ns;
    struct server_events events;
    void *arg;
    char endpoint[256];
    struct session *buckets[BUCKETS];
    struct connections connections;
    struct log_limit refusals;
    uv_timer_t timer;
};

/* One message of the ROUTER. */
struct incoming {
    uint8_t route[ROUTE_BYTES];
    bool route_ours; /* drawn by the ROUTER, not chosen by the peer */
    unsigned parts;  /* behind the route; our peers send one */
    zmq_msg_t body;
    int fd;
    const char *user; /* of the body; NULL: unknown */
};

static struct session **bucket_of(struct server *s, const uint8_t *route)
{
    uint32_t number;
    memcpy(&number, route + 1, sizeof number);
    return &s->buckets[number % BUCKETS];
}

static struct session *session_find(struct server *s, const uint8_t *route)
{
    struct session *at = *bucket_of(s, route);
    while (at && memcmp(at->route, route, ROUTE_BYTES) != 0)
        at = at->next;
    return at;
}

static struct session *session_new(struct server *s, const struct incoming *m,
                                   const struct allowed_key *key)
{
    struct session *n = calloc(1, sizeof *n);
    if (!n)
        return NULL;
    *n = (struct session){.server = s, .fd = m->fd, .state = SESSION_JOINING, .key = *key};
    memcpy(n->route, m->route, ROUTE_BYTES);
    n->outbox = outbox_new();
    struct session **bucket = bucket_of(s, m->route);
    n->next = *bucket;
    *bucket = n;
    return n;
}

static void session_free(struct session *session)
{
    outbox_drop(&session->outbox);
    free(session);
}

static void session_remove(struct session *session)
{
    struct session **at = bucket_of(session->server, session->route);
    while (*at != session)
        at = &(*at)->next;
    *at = session->next;
    session_free(session);
}

static int send_to(struct server *s, const uint8_t *route, const Plimsoll__Envelope *m,
                   struct outbox *o, struct err *e)
{
    if (!s->socket)
        return err_set(e, ERR_CANCELLED, "the server is stopped");
    int failed = socket_send(s->socket, route, ROUTE_BYTES, &m->base, o, e);
    loop_socket_kick(s->watch);
    return failed;
}

static int send_refuse(struct server *s, const uint8_t *route, const char *why, struct err *e)
{
    Plimsoll__Refuse refuse = PLIMSOLL__REFUSE__INIT;
    Plimsoll__Envelope m = PLIMSOLL__ENVELOPE__INIT;
    refuse.reason = (char *)why;
    refuse.clock_ns = clock_realtime_ns();
    m.kind_case = PLIMSOLL__ENVELOPE__KIND_REFUSE;
    m.refuse = &refuse;
    return send_to(s, route, &m, NULL, e);
}

static int welcome(struct server *s, const uint8_t *route, const struct allowed_key *key,
                   struct outbox *o, struct err *e)
{
    Plimsoll__Welcome welcome = PLIMSOLL__WELCOME__INIT;
    Plimsoll__Envelope m = PLIMSOLL__ENVELOPE__INIT;
    welcome.software = "plimsoll " PLIMSOLL_VERSION;
    welcome.beat_ns = (uint64_t)s->beat_ns;
    welcome.clock_ns = clock_realtime_ns();
    welcome.key_expires_ns = key->expires_ns == KEY_NEVER_NS ? 0 : key->expires_ns;
    m.kind_case = PLIMSOLL__ENVELOPE__KIND_WELCOME;
    m.welcome = &welcome;
    return send_to(s, route, &m, o, e);
}

static int send_welcome(struct session *session, struct err *e)
{
    session->state = SESSION_LIVE;
    return welcome(session->server, session->route, &session->key, session->outbox, e);
}

/* From here on the peer is heard no more. */
static void over(struct session *session, const char *why)
{
    struct server *s = session->server;
    bool told = session->state == SESSION_LIVE;
    session->state = SESSION_OVER;
    if (told && s->socket)
        s->events.left(s->arg, session, why);
}

static void throw_out(struct session *session, const char *why)
{
    log_warning("%s: %s; the connection is cut", session->key.name, why);
    connections_shutdown(&session->server->connections, session->fd);
    over(session, why);
}

int session_send(struct session *s, const Plimsoll__Envelope *m, struct err *e)
{
    if (s->state == SESSION_OVER)
        return err_set(e, ERR_CANCELLED, "the session with %s is over", s->key.name);
    if (s->state == SESSION_JOINING && send_welcome(s, e) < 0)
        return -1;
    return send_to(s->server, s->route, m, s->outbox, e);
}

void session_end(struct session *s, const char *why)
{
    if (s->state == SESSION_OVER)
        return;
    send_refuse(s->server, s->route, why, NULL);
    connections_cut_soon(&s->server->connections, s->fd);
    over(s, why);
}

const char *session_name(const struct session *s)
{
    return s->key.name;
}

const char *session_public_key(const struct session *s)
{
    return s->key.public_z85;
}

const char *session_source_key(const struct session *s)
{
    return s->key.source_z85;
}

void session_set_data(struct session *s, void *data)
{
    s->data = data;
}

void *session_data(const struct session *s)
{
    return s->data;
}

static unsigned live_sessions(const struct server *s, const char *name)
{
    unsigned live = 0;
    for (size_t i = 0; i < BUCKETS; i++)
        for (const struct session *at = s->buckets[i]; at; at = at->next)
            live += at->state != SESSION_OVER && strcmp(at->key.name, name) == 0;
    return live;
}

/* The first reason not to let a hello in; NULL when there is none. */
static const char *objection(struct server *s, const Plimsoll__Hello *hello,
                             const struct allowed_key *key)
{
    if (strcmp(hello->name, key->name) != 0)
        return "its key was allowed under another name than it says: mend `name` in its "
               "configuration";
    if (hello->oldest_version > FRAME_VERSION)
        return "this coordinator is too old for the peer's version of the protocol";
    if (hello->inquiry)
        return NULL;
    unsigned live = live_sessions(s, key->name);
    if (s->role == KEY_ROLE_AGENT && live > 0)
        return "another session of this name is live";
    if (live >= MOST_SESSIONS_OF_A_CLIENT)
        return "too many sessions of this name";
    return NULL;
}

static void refuse(struct server *s, const struct incoming *m, const char *name, const char *why)
{
    if (log_limit_allows(&s->refusals))
        log_warning("refused %s: %s", name, why);
    send_refuse(s, m->route, why, NULL);
    connections_cut_soon(&s->connections, m->fd);
    if (s->events.refused)
        s->events.refused(s->arg, name, why);
}

static void join(struct session *session, const Plimsoll__Hello *hello)
{
    struct server *s = session->server;
    cleanup_err struct err e = ERR_INIT;
    if (s->events.joined(s->arg, session, hello, &e) < 0) {
        if (session->state == SESSION_OVER)
            return;
        if (log_limit_allows(&s->refusals))
            log_warning("refused %s: %s", session->key.name, err_text(&e));
        send_refuse(s, session->route, err_text(&e), NULL);
        connections_cut_soon(&s->connections, session->fd);
        session->state = SESSION_OVER;
        return;
    }
    if (session->state == SESSION_JOINING && send_welcome(session, &e) < 0)
        over(session, err_text(&e));
}

/* The first message of a connection, or one of a connection that is gone already. */
static void greet(struct server *s, const struct incoming *m, const Plimsoll__Envelope *envelope,
                  const struct allowed_key *key)
{
    const char *name = key->name;
    if (envelope->kind_case != PLIMSOLL__ENVELOPE__KIND_HELLO) {
        refuse(s, m, name, "a session begins with a hello");
        return;
    }
    const char *why = objection(s, envelope->hello, key);
    if (why) {
        refuse(s, m, name, why);
        return;
    }
    if (envelope->hello->inquiry) {
        welcome(s, m->route, key, NULL, NULL);
        connections_cut_soon(&s->connections, m->fd);
        return;
    }
    /* Gone between its hello and now: its descriptor may be another connection's. */
    if (!connections_adopt(&s->connections, m->fd))
        return;
    struct session *session = session_new(s, m, key);
    if (!session) {
        refuse(s, m, name, "the coordinator is out of memory");
        return;
    }
    connections_set_data(&s->connections, m->fd, session);
    join(session, envelope->hello);
}

static bool allowed(enum key_role role, Plimsoll__Envelope__KindCase kind)
{
    switch (kind) {
    case PLIMSOLL__ENVELOPE__KIND_BEAT:
    case PLIMSOLL__ENVELOPE__KIND_PREPARED:
    case PLIMSOLL__ENVELOPE__KIND_PROGRESS:
    case PLIMSOLL__ENVELOPE__KIND_RESULT:
        return role == KEY_ROLE_AGENT;
    case PLIMSOLL__ENVELOPE__KIND_SUBMIT:
    case PLIMSOLL__ENVELOPE__KIND_LIST_CAMPAIGNS:
    case PLIMSOLL__ENVELOPE__KIND_STATUS:
    case PLIMSOLL__ENVELOPE__KIND_WATCH:
    case PLIMSOLL__ENVELOPE__KIND_CANCEL_CAMPAIGN:
    case PLIMSOLL__ENVELOPE__KIND_LIST_HOSTS:
    case PLIMSOLL__ENVELOPE__KIND_SHOW:
    case PLIMSOLL__ENVELOPE__KIND_REPORT:
    case PLIMSOLL__ENVELOPE__KIND_SLICE:
        return role == KEY_ROLE_CLIENT;
    default:
        return false;
    }
}

static void hear(struct session *session, const Plimsoll__Envelope *envelope)
{
    struct server *s = session->server;
    if (session->state != SESSION_LIVE)
        return;
    if (allowed(s->role, envelope->kind_case))
        s->events.message(s->arg, session, envelope);
    else
        session_end(session, "a message that has no place here in the grammar");
}

/* NULL, or what is wrong with it before its bytes are looked at. */
static const char *shape_error(const struct incoming *m)
{
    if (!m->route_ours)
        return "it chose a routing id of its own";
    if (m->parts != 1)
        return "a message of several parts";
    return NULL;
}

/* Why the message's key is none for it, or not for this session; NULL when it is. */
static const char *key_objection(struct server *s, const char *user, const struct session *session,
                                 struct allowed_key *ret, char buffer[ZAP_REASON_BYTES])
{
    *ret = (struct allowed_key){0};
    if (!user || !zap_lookup(s->zap, user, ret))
        return "its key was taken away";
    const char *why = zap_objection(ret, s->role, buffer);
    if (why || !session)
        return why;
    bool same = strcmp(session->key.public_z85, user) == 0 &&
                strcmp(session->key.name, ret->name) == 0 &&
                strcmp(session->key.source_z85, ret->source_z85) == 0;
    return same ? NULL : "its key was given to another name";
}

/* It got through its handshake: it is told why that is all, where the table still knows it. */
static void bar(struct server *s, const struct incoming *m, const struct allowed_key *key,
                const char *why)
{
    if (key->name[0] && m->route_ours) {
        send_refuse(s, m->route, why, NULL);
        connections_cut_soon(&s->connections, m->fd);
    } else {
        connections_shutdown(&s->connections, m->fd);
    }
}

static void handle_allowed(struct server *s, struct incoming *m, struct session *session,
                           const struct allowed_key *key)
{
    cleanup_err struct err e = ERR_INIT;
    const char *why = shape_error(m);
    ProtobufCMessage *decoded = NULL;
    if (!why && frame_decode(&plimsoll__envelope__descriptor, zmq_msg_data(&m->body),
                             zmq_msg_size(&m->body), &decoded, &e) < 0)
        why = err_text(&e);
    if (why && session)
        session_end(session, why);
    else if (why && m->route_ours)
        refuse(s, m, key->name, why);
    else if (why)
        connections_shutdown(&s->connections, m->fd);
    else if (session)
        hear(session, (const Plimsoll__Envelope *)decoded);
    else
        greet(s, m, (const Plimsoll__Envelope *)decoded, key);
    frame_free(decoded);
}

static void handle(struct server *s, struct incoming *m)
{
    struct session *session = m->route_ours ? session_find(s, m->route) : NULL;
    if (session && session->state == SESSION_OVER)
        return;
    char buffer[ZAP_REASON_BYTES];
    struct allowed_key key;
    const char *why = key_objection(s, m->user, session, &key, buffer);
    if (why && session)
        throw_out(session, why);
    else if (why)
        bar(s, m, &key, why);
    else
        handle_allowed(s, m, session, &key);
}

/* Parts behind the first are counted and dropped. */
static bool receive(void *socket, struct incoming *m)
{
    uint8_t route[256];
    int length = zmq_recv(socket, route, sizeof route, ZMQ_DONTWAIT);
    if (length < 0)
        return false;
    m->route_ours = length == ROUTE_BYTES && route[0] == 0;
    memcpy(m->route, route, ROUTE_BYTES);
    zmq_msg_init(&m->body);
    if (zmq_msg_recv(&m->body, socket, ZMQ_DONTWAIT) < 0)
        return true;
    m->parts = 1;
    m->fd = zmq_msg_get(&m->body, ZMQ_SRCFD);
    m->user = zmq_msg_gets(&m->body, "User-Id");
    for (bool more = zmq_msg_more(&m->body); more; m->parts++) {
        zmq_msg_t rest;
        zmq_msg_init(&rest);
        more = zmq_msg_recv(&rest, socket, ZMQ_DONTWAIT) >= 0 && zmq_msg_more(&rest);
        zmq_msg_close(&rest);
    }
    return true;
}

static void on_gone(struct server *s, int fd)
{
    struct session *session = connections_close(&s->connections, fd);
    if (!session)
        return;
    over(session, "the connection is gone");
    session_remove(session);
}

static int read_monitor(struct server *s)
{
    struct socket_event event;
    if (!s->monitor || socket_monitor_read(s->monitor, &event) < 0)
        return -1;
    if (event.event == ZMQ_EVENT_ACCEPTED) {
        on_gone(s, (int)event.value);
        connections_open(&s->connections, (int)event.value);
        if (s->socket && !uv_is_active((uv_handle_t *)&s->timer))
            uv_timer_again(&s->timer);
    } else if (event.event == ZMQ_EVENT_DISCONNECTED) {
        on_gone(s, (int)event.value);
    }
    return 0;
}

static int on_monitor(void *socket, void *arg)
{
    (void)socket;
    return read_monitor(arg);
}

static int on_message(void *socket, void *arg)
{
    struct server *s = arg;
    struct incoming m = {.fd = -1};
    if (!receive(socket, &m))
        return -1;
    /* A descriptor is used again only after the event that its connection is gone: with the events
     * read first, no message meets the session of an earlier connection. */
    while (read_monitor(s) == 0)
        ;
    connections_heard(&s->connections, m.fd);
    if (s->socket && !connections_is_over(&s->connections, m.fd))
        handle(s, &m);
    zmq_msg_close(&m.body);
    return s->socket ? 0 : -1;
}

static void on_keys(void *arg)
{
    struct server *s = arg;
    char buffer[ZAP_REASON_BYTES];
    struct allowed_key key;
    for (size_t i = 0; i < BUCKETS; i++)
        for (struct session *at = s->buckets[i]; at; at = at->next) {
            const char *why = at->state == SESSION_OVER
                                  ? NULL
                                  : key_objection(s, at->key.public_z85, at, &key, buffer);
            if (why)
                throw_out(at, why);
            if (!s->socket)
                return;
        }
}

static void on_tick(uv_timer_t *timer)
{
    struct server *s = timer->data;
    if (connections_tick(&s->connections) == 0)
        uv_timer_stop(timer);
}

static void on_closed(uv_handle_t *handle)
{
    struct server *s = handle->data;
    for (size_t i = 0; i < BUCKETS; i++)
        for (struct session *at = s->buckets[i], *next; at; at = next) {
            next = at->next;
            session_free(at);
        }
    connections_free(&s->connections);
    free(s);
}

void server_stop(struct server **server)
{
    struct server *s = steal(*server);
    if (!s)
        return;
    zap_unlisten(s->zap, &s->listener);
    loop_socket_close(&s->watch);
    loop_socket_close(&s->monitor_watch);
    socket_close(&s->socket, LINGER_MS);
    socket_close(&s->monitor, 0);
    /* A callback of ours may be on the stack: the rest goes in the loop's next turn. */
    uv_close((uv_handle_t *)&s->timer, on_closed);
}

void server_set_beat(struct server *s, int64_t beat_ns)
{
    s->beat_ns = beat_ns;
}

const char *server_endpoint(const struct server *s)
{
    return s->endpoint;
}

static int start(struct server *s, uv_loop_t *loop, void *zmq_context, const struct key_pair *own,
                 const char *endpoint, struct err *e)
{
    if (socket_open(zmq_context, ZMQ_ROUTER, own, NULL, key_role_name(s->role), &s->socket, e) <
            0 ||
        socket_set(s->socket, ZMQ_ROUTER_MANDATORY, 1, "routing", e) < 0 ||
        socket_monitor_open(zmq_context, s->socket, &s->monitor, e) < 0 ||
        socket_bind(s->socket, endpoint, e) < 0)
        return -1;
    size_t length = sizeof s->endpoint;
    if (zmq_getsockopt(s->socket, ZMQ_LAST_ENDPOINT, s->endpoint, &length) < 0)
        return err_system(e, errno, "cannot tell where the server listens");
    if (loop_socket_watch(loop, s->monitor, on_monitor, s, &s->monitor_watch, e) < 0)
        return -1;
    return loop_socket_watch(loop, s->socket, on_message, s, &s->watch, e);
}

int server_start(uv_loop_t *loop, void *zmq_context, struct zap *zap, enum key_role role,
                 const struct key_pair *own, const char *endpoint,
                 const struct server_events *events, void *arg, struct server **ret, struct err *e)
{
    struct server *s = calloc(1, sizeof *s);
    if (!s)
        return err_system(e, ENOMEM, "cannot start a server");
    s->zap = zap;
    s->role = role;
    s->beat_ns = USUAL_BEAT_NS;
    s->events = *events;
    s->arg = arg;
    s->listener = (struct zap_listener){.changed = on_keys, .arg = s};
    zap_listen(zap, &s->listener);
    uv_timer_init(loop, &s->timer);
    s->timer.data = s;
    /* Runs only while there are connections: uv_timer_again starts it. */
    uv_timer_start(&s->timer, on_tick, TICK_MS, TICK_MS);
    if (start(s, loop, zmq_context, own, endpoint, e) < 0) {
        server_stop(&s);
        return -1;
    }
    *ret = s;
    return 0;
}
