/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What coordctl asks of the coordinator. Whatever needs the store's file or a plan's text is done
 * on libuv's worker threads with a reader of its own; the answer is sent from the loop's thread.
 * Everything is bounded: requests under way, reports kept, the size of an answer.
 */
#ifndef COORDINATOR_CLIENTS_CLIENTS_H
#define COORDINATOR_CLIENTS_CLIENTS_H

#include "common/err.h"
#include "coordinator/fleet/fleet.h"
#include "coordinator/store/store.h"
#include "proto/server.h"

#include <uv.h>

struct clients;

struct clients_settings {
    uv_loop_t *loop;
    void *zmq_context;
    struct zap *zap;
    const struct key_pair *own;
    const char *endpoint; /* to bind for clients */
    const char *store_path;
    const char *program; /* of this very coordinator: reads plans in a child */
    struct store *store;
    struct fleet *fleet;
};

int clients_start(const struct clients_settings *settings, struct clients **ret, struct err *e);
const char *clients_endpoint(const struct clients *c);
/* The fleet's event: watchers of the campaign are told soon. */
void clients_changed(struct clients *all, const char *campaign);
/* No more requests; what is under way ends within the loop's next turns. Before the store is
 * closed. */
void clients_stop(struct clients *all);
/* Once the loop has nothing left to do. */
void clients_free(struct clients **c);

#endif
