/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agent/rotation.h"

#include "common/cleanup.h"
#include "common/fs.h"
#include "common/log.h"
#include "proto/peer.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The coordinator may still hold the session before for a moment. */
enum { MOST_REFUSALS = 3 };

enum rotation_state { IDLE, TRYING, CHANGING };

struct rotation {
    struct rotation_setup setup; /* its texts are ours */
    char *next_path;
    enum rotation_state state;
    struct key_pair next;
    struct peer *peer; /* while trying */
    unsigned refusals; /* while changing */
    bool told;         /* that the next key is not allowed yet */
    uv_fs_event_t folder;
};

/* ---- Trying ---- */

static void on_handshake(void *arg, Plimsoll__Hello *hello)
{
    struct rotation *r = arg;
    (void)hello;
    peer_stop(&r->peer);
    r->state = CHANGING;
    log_info("the next key %s is allowed: going on with it", r->next.public_z85);
    r->refusals = 0;
    if (r->setup.change(r->setup.arg, &r->next) < 0)
        r->state = IDLE;
}

static void on_welcomed(void *arg, const Plimsoll__Welcome *welcome)
{
    (void)arg;
    (void)welcome;
}

static void on_message(void *arg, const Plimsoll__Envelope *m)
{
    (void)arg;
    (void)m;
}

static void on_lost(void *arg, bool refused, const char *why)
{
    struct rotation *r = arg;
    (void)why;
    if (!refused || r->told)
        return;
    r->told = true;
    log_info("the next key %s is not allowed yet; `coordctl keys rotate --agent`, on the "
             "coordinator's machine, would allow it",
             r->next.public_z85);
}

static void try_next(struct rotation *r)
{
    static const struct peer_events events = {
        .hello = on_handshake, .welcomed = on_welcomed, .message = on_message, .lost = on_lost};
    const struct rotation_setup *s = &r->setup;
    cleanup_err struct err e = ERR_INIT;
    r->told = false;
    r->state = TRYING;
    if (peer_start(s->loop, s->zmq_context, s->endpoint, s->server_z85, &r->next, &events, r,
                   &r->peer, &e) == 0)
        return;
    log_warning("the next key cannot be tried: %s", err_text(&e));
    r->state = IDLE;
}

/* ---- The file ---- */

static void look(struct rotation *r)
{
    cleanup_err struct err e = ERR_INIT;
    struct key_pair next;
    if (!fs_exists(r->next_path) || r->state == CHANGING)
        return;
    if (key_pair_load(r->next_path, &next, &e) < 0) {
        log_warning("%s", err_text(&e));
        return;
    }
    bool known = r->state == TRYING && strcmp(next.public_z85, r->next.public_z85) == 0;
    if (!known && strcmp(next.public_z85, r->setup.key.public_z85) != 0) {
        peer_stop(&r->peer);
        r->next = next;
        try_next(r);
    }
    sodium_memzero(&next, sizeof next);
}

static void on_folder(uv_fs_event_t *watch, const char *file, int events, int status)
{
    struct rotation *r = watch->data;
    (void)events;
    const char *slash = strrchr(r->next_path, '/');
    if (status == 0 && (!file || strcmp(file, slash ? slash + 1 : r->next_path) == 0))
        look(r);
}

static char *folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (!slash)
        return fs_path(".");
    return fs_path("%.*s", (int)(slash == path ? 1 : slash - path), path);
}

/* ---- What came of it ---- */

void rotation_welcomed(struct rotation *r)
{
    if (r->state != CHANGING)
        return;
    r->state = IDLE;
    r->setup.key = r->next;
    if (rename(r->next_path, r->setup.key_path) < 0 || fs_sync_folder_of(r->setup.key_path) < 0)
        log_warning("the next key is in use, and %s could not take the place of %s: %s",
                    r->next_path, r->setup.key_path, strerrordesc_np(errno));
    else
        log_info("the next key is now %s; `coordctl keys revoke` may end the one before",
                 r->setup.key_path);
}

void rotation_refused(struct rotation *r)
{
    if (r->state != CHANGING || ++r->refusals < MOST_REFUSALS)
        return;
    r->state = IDLE;
    log_warning("the next key is left until %s changes: going on with the present one",
                r->next_path);
    r->setup.change(r->setup.arg, &r->setup.key);
}

/* ---- Life ---- */

static void on_closed(uv_handle_t *handle)
{
    struct rotation *r = handle->data;
    sodium_memzero(&r->next, sizeof r->next);
    sodium_memzero(&r->setup.key, sizeof r->setup.key);
    free((char *)r->setup.endpoint);
    free((char *)r->setup.server_z85);
    free((char *)r->setup.key_path);
    free(r->next_path);
    free(r);
}

void rotation_start(const struct rotation_setup *setup, struct rotation **ret)
{
    struct rotation *r = calloc(1, sizeof *r);
    if (!r)
        abort();
    r->setup = *setup;
    r->setup.endpoint = fs_path("%s", setup->endpoint);
    r->setup.server_z85 = fs_path("%s", setup->server_z85);
    r->setup.key_path = fs_path("%s", setup->key_path);
    r->next_path = fs_path("%s.next", setup->key_path);
    cleanup_free char *folder = folder_of(setup->key_path);
    uv_fs_event_init(setup->loop, &r->folder);
    r->folder.data = r;
    int failed = uv_fs_event_start(&r->folder, on_folder, folder, 0);
    if (failed < 0)
        log_warning("cannot watch %s for a next key: %s", folder, uv_strerror(failed));
    *ret = r;
    look(r);
}

void rotation_stop(struct rotation **rotation)
{
    struct rotation *r = steal(*rotation);
    if (!r)
        return;
    peer_stop(&r->peer);
    uv_close((uv_handle_t *)&r->folder, on_closed);
}
