/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "coordinator/daemon.h"

#include "common/cleanup.h"
#include "common/conf.h"
#include "common/fs.h"
#include "common/log.h"
#include "coordinator/clients/clients.h"
#include "coordinator/fleet/fleet.h"
#include "coordinator/store/store.h"
#include "proto/keys.h"
#include "proto/zap.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <zmq.h>

enum { MOST_SOCKETS = 4096 };

const struct key_row daemon_keys[] = {
    {.name = "agents",
     .type = KEY_TEXT,
     .least = 1,
     .most = 255,
     .fallback = "tcp://*:7461",
     .help = "Where to listen for agents"},
    {.name = "clients",
     .type = KEY_TEXT,
     .least = 1,
     .most = 255,
     .fallback = "tcp://*:7462",
     .help = "Where to listen for coordctl"},
    {.name = "keys",
     .type = KEY_TEXT,
     .least = 1,
     .most = PATH_MAX - 64,
     .fallback = "/etc/plimsoll/keys",
     .help = "Folder with coordinator.key and the keys that may connect"},
    {.name = "store",
     .type = KEY_TEXT,
     .least = 1,
     .most = PATH_MAX - 64,
     .fallback = "/var/lib/plimsoll/coordinator/store.db",
     .help = "File of all campaigns and results"},
    {.name = "endpoints",
     .type = KEY_TEXT,
     .least = 1,
     .most = PATH_MAX - 64,
     .help = "File to write the endpoints to, once they are bound"},
    {.name = "grace",
     .type = KEY_DURATION,
     .least = 0,
     .most = INT64_C(3600) * 1000000000,
     .fallback = "10s",
     .help = "How long a new campaign waits for allowed agents that are not connected"},
    {.name = "gone",
     .type = KEY_DURATION,
     .least = INT64_C(3) * 1000000000,
     .most = INT64_C(3600) * 1000000000,
     .fallback = "45s",
     .help = "After how much silence a host is gone and its trial is given out again; agents beat "
             "nine times as often"},
    {.name = "patience",
     .type = KEY_DURATION,
     .least = INT64_C(1000000000),
     .most = INT64_C(30) * 24 * 3600 * 1000000000,
     .fallback = "10min",
     .help = "How long a campaign with nothing else to do waits for hosts that are gone"},
    {.name = NULL},
};

struct daemon {
    uv_loop_t loop;
    void *zmq_context;
    struct conf *conf;
    struct key_pair own;
    char program[PATH_MAX];
    struct zap *zap;
    struct store *store;
    struct fleet *fleet;
    struct clients *clients;
    uv_signal_t term, interrupt, hangup;
    struct err failure; /* why it cannot go on */
};

/* ---- Events ---- */

static void on_signal(uv_signal_t *handle, int number)
{
    struct daemon *d = handle->data;
    log_info("stopping (%s)", strsignal(number));
    uv_stop(&d->loop);
}

static void on_changed(void *arg, const char *campaign)
{
    struct daemon *d = arg;
    if (d->clients)
        clients_changed(d->clients, campaign);
}

static void on_failed(void *arg, const struct err *e)
{
    struct daemon *d = arg;
    /* Going on without a store would promise what cannot be kept: agents keep their results
     * meanwhile. */
    if (d->failure.code == ERR_NONE)
        err_set(&d->failure, e->code, "the store cannot be written: %s", err_text(e));
    uv_stop(&d->loop);
}

/* ---- Start ---- */

static int load_configuration(struct daemon *d, const char *path, struct err *e)
{
    if (conf_load(path, daemon_keys, &d->conf, e) < 0)
        return -1;
    cleanup_free char *key = fs_path("%s/coordinator.key", conf_text(d->conf, "keys"));
    if (key_pair_load(key, &d->own, e) < 0)
        return -1;
    ssize_t length = readlink("/proc/self/exe", d->program, sizeof d->program - 1);
    if (length < 0)
        return err_system(e, errno, "cannot find this program");
    d->program[length] = '\0';
    return 0;
}

static int make_store_folder(const char *path, struct err *e)
{
    cleanup_free char *folder = fs_path("%s", path);
    char *slash = strrchr(folder, '/');
    if (!slash || slash == folder)
        return 0;
    *slash = '\0';
    return fs_make_dirs(folder, 0700, e);
}

static int start_parts(struct daemon *d, struct err *e)
{
    static const struct fleet_events events = {.changed = on_changed, .failed = on_failed};
    const char *store_path = conf_text(d->conf, "store");
    const char *keys = conf_text(d->conf, "keys");
    if (make_store_folder(store_path, e) < 0 || store_open(&d->loop, store_path, &d->store, e) < 0)
        return -1;
    /* Before any port is bound, so that nobody gets in unasked. */
    if (zap_start(&d->loop, d->zmq_context, keys, &d->zap, e) < 0)
        return -1;
    struct fleet_settings fleet = {.loop = &d->loop,
                                   .zmq_context = d->zmq_context,
                                   .zap = d->zap,
                                   .own = &d->own,
                                   .endpoint = conf_text(d->conf, "agents"),
                                   .keys_folder = keys,
                                   .store_path = store_path,
                                   .store = d->store,
                                   .grace_ns = conf_integer(d->conf, "grace", 0),
                                   .gone_ns = conf_integer(d->conf, "gone", 0),
                                   .patience_ns = conf_integer(d->conf, "patience", 0)};
    if (fleet_start(&fleet, &events, d, &d->fleet, e) < 0)
        return -1;
    struct clients_settings clients = {.loop = &d->loop,
                                       .zmq_context = d->zmq_context,
                                       .zap = d->zap,
                                       .own = &d->own,
                                       .endpoint = conf_text(d->conf, "clients"),
                                       .store_path = store_path,
                                       .program = d->program,
                                       .store = d->store,
                                       .fleet = d->fleet};
    return clients_start(&clients, &d->clients, e);
}

/* Only now may anybody look for it: both ports are bound. */
static int write_endpoints(struct daemon *d, struct err *e)
{
    const char *path = conf_text(d->conf, "endpoints");
    const char *agents = fleet_endpoint(d->fleet);
    const char *clients = clients_endpoint(d->clients);
    log_info("listening for agents on %s, for coordctl on %s", agents, clients);
    if (!path)
        return 0;
    cleanup_free char *text = fs_path("agents = \"%s\"\nclients = \"%s\"\n", agents, clients);
    return fs_write_atomic(path, text, strlen(text), 0600, e);
}

static void watch_signal(struct daemon *d, uv_signal_t *handle, int number)
{
    uv_signal_init(&d->loop, handle);
    handle->data = d;
    uv_signal_start(handle, on_signal, number);
}

/* ---- Stop ---- */

static void stop(struct daemon *d)
{
    uv_close((uv_handle_t *)&d->term, NULL);
    uv_close((uv_handle_t *)&d->interrupt, NULL);
    uv_close((uv_handle_t *)&d->hangup, NULL);
    if (d->clients)
        clients_stop(d->clients);
    if (d->fleet)
        fleet_stop(d->fleet);
    store_close(&d->store);
    zap_stop(&d->zap);
}

/* What is under way on the workers ends first; then nothing refers to the parts any more. */
static void turn_until_done(uv_loop_t *loop)
{
    uv_run(loop, UV_RUN_DEFAULT);
}

static void clear(struct daemon *d)
{
    clients_free(&d->clients);
    fleet_free(&d->fleet);
    turn_until_done(&d->loop);
    uv_loop_close(&d->loop);
    if (d->zmq_context)
        zmq_ctx_term(d->zmq_context);
    conf_free(&d->conf);
}

static int open_loop(struct daemon *d, struct err *e)
{
    int failed = uv_loop_init(&d->loop);
    if (failed < 0)
        return err_set(e, ERR_SYSTEM, "cannot make an event loop: %s", uv_strerror(failed));
    d->zmq_context = zmq_ctx_new();
    zmq_ctx_set(d->zmq_context, ZMQ_MAX_SOCKETS, MOST_SOCKETS);
    watch_signal(d, &d->term, SIGTERM);
    watch_signal(d, &d->interrupt, SIGINT);
    watch_signal(d, &d->hangup, SIGHUP);
    return 0;
}

int daemon_run(const char *config_path, struct err *e)
{
    struct daemon d = {0};
    int failed = load_configuration(&d, config_path, e);
    if (failed < 0 || open_loop(&d, e) < 0) {
        conf_free(&d.conf);
        return -1;
    }
    failed = start_parts(&d, e);
    if (failed == 0)
        failed = write_endpoints(&d, e);
    if (failed == 0)
        uv_run(&d.loop, UV_RUN_DEFAULT);
    stop(&d);
    turn_until_done(&d.loop);
    clear(&d);
    if (failed == 0 && d.failure.code != ERR_NONE)
        failed = err_move(e, &d.failure);
    err_clear(&d.failure);
    return failed;
}
