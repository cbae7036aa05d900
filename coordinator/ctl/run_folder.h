/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The folder of a campaign of `coordctl run` (HACKING.md): throw-away keys and the configuration of
 * a private coordinator and agent on loopback. It stays after the run: reports and --resume read
 * it.
 */
#ifndef COORDINATOR_CTL_RUN_FOLDER_H
#define COORDINATOR_CTL_RUN_FOLDER_H

#include "common/err.h"
#include "coordinator/ctl/client.h"

struct run_folder {
    char *path;
    char *campaign; /* the id, which is the folder's name */
    char *store;
    char *endpoints;
    char *coordinator_conf;
    char *agent_conf;
    char *host;  /* the agent's name */
    int lock_fd; /* only one coordctl at a time runs it */
};

/* A new one for a plan of this name, with its keys and the coordinator's configuration. */
int run_folder_make(const char *plan_name, struct run_folder *ret, struct err *e);
/* That of an earlier run. Waits until the programs of that run have ended: a coordctl that left at
 * once leaves them cleaning. ERR_NOT_FOUND; ERR_REFUSED while another coordctl runs it. */
int run_folder_open(const char *campaign, struct run_folder *ret, struct err *e);
/* Once the coordinator has written its endpoints: the agent's configuration, and where a client
 * finds the coordinator. ERR_NOT_FOUND while there are none. */
int run_folder_connect(const struct run_folder *f, struct client_target *ret, struct err *e);
void run_folder_clear(struct run_folder *f);

#endif
