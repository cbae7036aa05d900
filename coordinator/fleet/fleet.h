/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The agents and the campaigns they work on. One campaign at a time; the others wait in the order
 * of their submission, so that no two share a host. All on the loop's thread.
 *
 * A campaign: preparing (every host says what it can run) -> running -> done | incomplete |
 * cancelled | failed. The store has every step before it is acted on, so that a killed coordinator
 * goes on where it was: what was being prepared is asked again, what was running is adopted from
 * the agents that still run it.
 */
#ifndef COORDINATOR_FLEET_FLEET_H
#define COORDINATOR_FLEET_FLEET_H

#include "common/err.h"
#include "coordinator/store/store.h"
#include "proto/server.h"

#include <uv.h>

struct fleet;
struct campaign;

struct fleet_events {
    /* Something of a campaign's description has changed; may come often. */
    void (*changed)(void *arg, const char *campaign);
    /* The store cannot be written: the coordinator must end. */
    void (*failed)(void *arg, const struct err *e);
};

struct fleet_settings {
    uv_loop_t *loop;
    void *zmq_context;
    struct zap *zap;
    const struct key_pair *own;
    const char *endpoint; /* to bind for agents */
    const char *keys_folder;
    const char *store_path;
    struct store *store;
    int64_t
        grace_ns; /* how long a campaign waits at first for allowed agents that are not connected */
    int64_t gone_ns;     /* a host that was not heard for so long is gone */
    int64_t patience_ns; /* how long a campaign waits for hosts that are gone, when nothing else is
                            left to do */
};

/* Copies the settings' texts. Takes up every campaign of the store that has not ended. */
int fleet_start(const struct fleet_settings *settings, const struct fleet_events *events, void *arg,
                struct fleet **ret, struct err *e);
const char *fleet_endpoint(const struct fleet *f);
/* No more messages: call before the store is closed. */
void fleet_stop(struct fleet *f);
/* After the store is closed. */
void fleet_free(struct fleet **f);

/* Queues a campaign whose row is committed. Takes the plan. */
void fleet_add(struct fleet *f, const char *id, Plimsoll__Plan **plan, int64_t submitted_ns,
               bool keep_failed);
/* Reads a campaign that has not ended from the store as it stands; any thread. */
int fleet_load(const char *store_path, const char *id, struct campaign **ret, struct err *e);
/* Queues what was loaded; drops it where that campaign is queued already. */
void fleet_take_up(struct fleet *f, struct campaign **c);
/* Frees what was loaded and not taken up. NULL is fine. */
void fleet_drop(struct campaign **c);
/* True where the campaign is queued or running. */
bool fleet_has(const struct fleet *f, const char *id);
/* `done` (NULL: nobody waits) once the store has it, so that no kill of the coordinator brings the
 * campaign back. ERR_NOT_FOUND where it is neither queued nor running: `done` is not called then.
 */
int fleet_cancel(struct fleet *f, const char *id, store_done *done, void *arg, struct err *e);

/* NULL where the campaign is neither queued nor running: ask the store. Free with free_unpacked. */
Plimsoll__Campaign *fleet_describe(const struct fleet *f, const char *id);
Plimsoll__Hosts *fleet_describe_hosts(const struct fleet *f);

/* Names of what a campaign lacks, gathered by host, cell and reason; used for stored campaigns too.
 */
struct lacking {
    const char *host, *reason;
    uint32_t cell;
};
void fleet_add_missing(Plimsoll__Campaign *to, const Plimsoll__Plan *plan,
                       const struct lacking *what);

#endif
