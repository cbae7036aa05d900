/* SPDX-License-Identifier: GPL-3.0-or-later */
/* ZAP: https://rfc.zeromq.org/spec/27/ (version "1.0"). */
#include "proto/zap.h"

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/fs.h"
#include "common/log.h"
#include "common/loop.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <zmq.h>

enum {
    RAW_KEY_BYTES = 32,
    MOST_PARTS = 7,
    MOST_PART_BYTES = 256,
    SETTLE_MS = 20,              /* copying a folder of keys in is one change, not a thousand */
    POLL_MS = 1000,              /* where folders cannot be watched */
    MOST_EXPIRY_WAIT_MS = 60000, /* the clock may be set meanwhile */
    MOST_BARRED_PER_S = 32,
};

enum { WATCH_ALL, WATCH_AGENTS, WATCH_CLIENTS, N_WATCHES };

struct zap {
    char *folder;
    struct key_table *table;
    void *socket;
    struct loop_socket *watch;
    uv_fs_event_t folders[N_WATCHES]; /* keys, keys/agents, keys/clients */
    bool watching[N_WATCHES];
    struct timespec written[N_WATCHES]; /* when, by the table in force */
    bool changed;                       /* the table is older than the folders */
    bool polling;                       /* the folders cannot be watched */
    uv_timer_t timer;
    uv_timer_t expiry;              /* of the next key that does */
    struct zap_listener *listeners; /* owned by who listens */
    int64_t barred_second; /* in which `barred` handshakes of known keys were let through */
    unsigned barred;
    struct log_limit refusals;
    unsigned open_handles;
};

static const char *const subfolders[N_WATCHES] = {"", "/agents", "/clients"};

/* A look at the folders' times, a few microseconds: the watch tells only in the loop's next turn.
 */
static bool folders_changed(struct zap *z)
{
    bool changed = false;
    for (int i = 0; i < N_WATCHES; i++) {
        char path[PATH_MAX];
        struct stat st = {0};
        snprintf(path, sizeof path, "%s%s", z->folder, subfolders[i]);
        if (stat(path, &st) < 0)
            st = (struct stat){0};
        changed |= st.st_mtim.tv_sec != z->written[i].tv_sec ||
                   st.st_mtim.tv_nsec != z->written[i].tv_nsec;
        z->written[i] = st.st_mtim;
    }
    return changed;
}

static void reload(struct zap *z)
{
    cleanup_err struct err e = ERR_INIT;
    struct key_table *table = NULL;
    z->changed = false;
    if (key_table_load(z->folder, &table, &e) < 0) {
        /* A folder that cannot be read says nothing about who lost a key. */
        log_error("%s; the keys read before stay in force", err_text(&e));
        return;
    }
    zap_set_table(z, table);
}

static void tell_listeners(struct zap *z)
{
    for (struct zap_listener *l = z->listeners, *next; l; l = next) {
        next = l->next;
        l->changed(l->arg);
    }
}

static void await_expiry(struct zap *z);

static void on_expiry(uv_timer_t *timer)
{
    struct zap *z = timer->data;
    await_expiry(z);
    tell_listeners(z);
}

/* A message shows by itself that its key has expired; this is for peers that are silent. */
static void await_expiry(struct zap *z)
{
    int64_t now_ns = clock_realtime_ns();
    int64_t next_ns = key_table_next_expiry_ns(z->table, now_ns);
    int64_t wait_ms = (next_ns - now_ns) / NS_PER_MS + 1;
    uv_timer_stop(&z->expiry);
    if (next_ns != KEY_NEVER_NS)
        uv_timer_start(&z->expiry, on_expiry,
                       (uint64_t)(wait_ms < MOST_EXPIRY_WAIT_MS ? wait_ms : MOST_EXPIRY_WAIT_MS),
                       0);
}

void zap_set_table(struct zap *z, struct key_table *table)
{
    key_table_free(z->table);
    z->table = table;
    await_expiry(z);
}

bool zap_lookup(struct zap *z, const char *public_z85, struct allowed_key *ret)
{
    if (folders_changed(z) || z->changed)
        reload(z);
    const struct allowed_key *found = key_table_find(z->table, public_z85);
    if (found)
        *ret = *found;
    return found != NULL;
}

const char *zap_objection(const struct allowed_key *k, enum key_role role,
                          char buffer[ZAP_REASON_BYTES])
{
    int64_t now_ns = clock_realtime_ns();
    char time[KEY_TIME_BYTES], now[KEY_TIME_BYTES];
    switch (key_state(k, now_ns)) {
    case KEY_REVOKED:
        snprintf(buffer, ZAP_REASON_BYTES,
                 "its key was revoked at %s: `coordctl keys make` makes a new one, and `coordctl "
                 "keys allow`, on the coordinator's machine, allows that",
                 key_time_format(k->revoked_ns, time));
        return buffer;
    case KEY_EXPIRED:
        snprintf(buffer, ZAP_REASON_BYTES,
                 "its key expired at %s, and the coordinator's clock says %s: `coordctl keys allow "
                 "--expires`, on the coordinator's machine, would allow it for longer",
                 key_time_format(k->expires_ns, time), key_time_format(now_ns, now));
        return buffer;
    case KEY_ALLOWED:
        break;
    }
    if (k->role == role)
        return NULL;
    snprintf(buffer, ZAP_REASON_BYTES,
             "its key is that of %s `%s`, and at this port only keys of %ss are allowed",
             key_role_name(k->role), k->name, key_role_name(role));
    return buffer;
}

void zap_listen(struct zap *z, struct zap_listener *l)
{
    l->next = z->listeners;
    z->listeners = l;
}

void zap_unlisten(struct zap *z, struct zap_listener *l)
{
    for (struct zap_listener **at = &z->listeners; *at; at = &(*at)->next)
        if (*at == l) {
            *at = l->next;
            return;
        }
}

static void on_folder(uv_fs_event_t *watch, const char *file, int events, int status);

static void watch_folder(struct zap *z, int which)
{
    if (z->watching[which])
        return;
    cleanup_free char *path = fs_path("%s%s", z->folder, subfolders[which]);
    z->watching[which] = uv_fs_event_start(&z->folders[which], on_folder, path, 0) == 0;
}

static void watch_folders(struct zap *z)
{
    for (int i = 0; i < N_WATCHES; i++)
        watch_folder(z, i);
}

static void on_timer(uv_timer_t *timer)
{
    struct zap *z = timer->data;
    watch_folders(z);
    if (folders_changed(z) || z->changed)
        reload(z);
    tell_listeners(z);
}

static void on_folder(uv_fs_event_t *watch, const char *file, int events, int status)
{
    struct zap *z = watch->data;
    (void)file;
    (void)events;
    if (status < 0)
        log_warning("cannot watch the keys in %s: %s", z->folder, uv_strerror(status));
    /* agents/ or clients/ may have been removed and made anew: they are watched again. */
    if (watch == &z->folders[WATCH_ALL])
        for (int i = WATCH_AGENTS; i < N_WATCHES; i++) {
            uv_fs_event_stop(&z->folders[i]);
            z->watching[i] = false;
        }
    z->changed = true;
    if (!uv_is_active((uv_handle_t *)&z->timer))
        uv_timer_start(&z->timer, on_timer, SETTLE_MS, 0);
}

/* Parts of a request, each NUL-terminated; the last is raw. */
struct request {
    unsigned n;
    size_t length[MOST_PARTS];
    char part[MOST_PARTS][MOST_PART_BYTES + 1];
};

enum { VERSION, REQUEST_ID, DOMAIN, ADDRESS, IDENTITY, MECHANISM, CREDENTIALS };

/* 0: nothing there. */
static bool read_request(void *socket, struct request *r)
{
    int more = 1;
    for (r->n = 0; more; r->n++) {
        char spare[MOST_PART_BYTES];
        char *part = r->n < MOST_PARTS ? r->part[r->n] : spare;
        int length = zmq_recv(socket, part, MOST_PART_BYTES, ZMQ_DONTWAIT);
        if (length < 0)
            return false;
        if (r->n < MOST_PARTS) {
            r->length[r->n] =
                length > MOST_PART_BYTES ? (size_t)MOST_PART_BYTES + 1 : (size_t)length;
            part[length > MOST_PART_BYTES ? MOST_PART_BYTES : length] = '\0';
        }
        size_t size = sizeof more;
        if (zmq_getsockopt(socket, ZMQ_RCVMORE, &more, &size) < 0)
            return false;
    }
    return true;
}

/* The caller's public key, where the request is one for CURVE. */
static bool request_key(const struct request *r, char ret_z85[KEY_Z85_BYTES])
{
    return r->n == MOST_PARTS && strcmp(r->part[VERSION], "1.0") == 0 &&
           strcmp(r->part[MECHANISM], "CURVE") == 0 && r->length[CREDENTIALS] == RAW_KEY_BYTES &&
           zmq_z85_encode(ret_z85, (const uint8_t *)r->part[CREDENTIALS], RAW_KEY_BYTES);
}

static void answer(struct zap *z, const struct request *r, bool allowed, const char *user)
{
    const char *const parts[] = {"1.0",
                                 NULL,
                                 allowed ? "200" : "400",
                                 allowed ? "OK" : "this key is not allowed",
                                 allowed ? user : "",
                                 ""};
    const size_t n = sizeof parts / sizeof *parts;
    for (size_t i = 0; i < n; i++) {
        const char *part = parts[i] ? parts[i] : r->part[REQUEST_ID];
        size_t length = parts[i] ? strlen(parts[i]) : r->length[REQUEST_ID];
        if (zmq_send(z->socket, part, length, i + 1 < n ? ZMQ_SNDMORE : 0) < 0)
            log_error("cannot answer a handshake: %s", zmq_strerror(errno));
    }
}

/* Whether one more known key may hear why it is not allowed. */
static bool may_hear_why(struct zap *z)
{
    int64_t second = clock_monotonic_ns() / NS_PER_S;
    if (second != z->barred_second)
        z->barred = 0;
    z->barred_second = second;
    return z->barred++ < MOST_BARRED_PER_S;
}

static int on_request(void *socket, void *arg)
{
    struct zap *z = arg;
    struct request r;
    if (!read_request(socket, &r))
        return -1;
    char user[KEY_Z85_BYTES] = "", why[ZAP_REASON_BYTES] = "unknown key";
    struct allowed_key key = {0};
    bool known = request_key(&r, user) && zap_lookup(z, user, &key);
    bool agents = strcmp(r.part[DOMAIN], key_role_name(KEY_ROLE_AGENT)) == 0;
    bool allowed = known && !zap_objection(&key, agents ? KEY_ROLE_AGENT : KEY_ROLE_CLIENT, why);
    if (!allowed && log_limit_allows(&z->refusals))
        log_warning("refused a connection from %s with the key %s%s%s: %s",
                    r.n > ADDRESS ? r.part[ADDRESS] : "?", user, known ? " of " : "",
                    known ? key.name : "", why);
    answer(z, &r, allowed || (known && may_hear_why(z)), user);
    return 0;
}

static void on_closed(uv_handle_t *handle)
{
    struct zap *z = handle->data;
    if (--z->open_handles > 0)
        return;
    key_table_free(z->table);
    free(z->folder);
    free(z);
}

void zap_stop(struct zap **zap)
{
    struct zap *z = steal(*zap);
    if (!z)
        return;
    loop_socket_close(&z->watch);
    if (z->socket)
        zmq_close(z->socket);
    z->open_handles = N_WATCHES + 2;
    for (int i = 0; i < N_WATCHES; i++)
        uv_close((uv_handle_t *)&z->folders[i], on_closed);
    uv_close((uv_handle_t *)&z->timer, on_closed);
    uv_close((uv_handle_t *)&z->expiry, on_closed);
}

static void init_handles(struct zap *z, uv_loop_t *loop)
{
    uv_timer_init(loop, &z->timer);
    uv_timer_init(loop, &z->expiry);
    z->timer.data = z->expiry.data = z;
    for (int i = 0; i < N_WATCHES; i++) {
        uv_fs_event_init(loop, &z->folders[i]);
        z->folders[i].data = z;
    }
}

static int start(struct zap *z, uv_loop_t *loop, void *zmq_context, struct err *e)
{
    /* Watched before it is read, so that no change falls between. */
    watch_folders(z);
    z->polling = !z->watching[WATCH_ALL];
    if (z->polling) {
        log_warning("cannot watch the keys in %s: they are read every second", z->folder);
        uv_timer_start(&z->timer, on_timer, POLL_MS, POLL_MS);
    }
    folders_changed(z);
    struct key_table *table = NULL;
    if (key_table_load(z->folder, &table, e) < 0)
        return -1;
    zap_set_table(z, table);
    z->socket = zmq_socket(zmq_context, ZMQ_REP);
    int linger_ms = 0;
    if (!z->socket || zmq_setsockopt(z->socket, ZMQ_LINGER, &linger_ms, sizeof linger_ms) < 0 ||
        zmq_bind(z->socket, "inproc://zeromq.zap.01") < 0)
        return err_set(e, ERR_SYSTEM, "cannot start the handler of handshakes: %s",
                       zmq_strerror(errno));
    return loop_socket_watch(loop, z->socket, on_request, z, &z->watch, e);
}

int zap_start(uv_loop_t *loop, void *zmq_context, const char *keys_folder, struct zap **ret,
              struct err *e)
{
    struct zap *z = calloc(1, sizeof *z);
    if (!z)
        return err_system(e, ENOMEM, "cannot start the handler of handshakes");
    z->folder = fs_path("%s", keys_folder);
    init_handles(z, loop);
    if (start(z, loop, zmq_context, e) < 0) {
        zap_stop(&z);
        return -1;
    }
    *ret = z;
    return 0;
}
