/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the backends without a hypervisor share: a root on an overlay, a cgroup, waiting for a mark
 * or for the guest's end. On the trial thread. */
#ifndef AGENT_GUEST_COMMON_H
#define AGENT_GUEST_COMMON_H

#include "agent/guest/guest.h"

#include <stddef.h>

/* ---- The root: the image read-only below, the guest's own changes above ---- */

enum { ROOT_MOUNTS_MOST = 4 };

struct guest_root {
    uint64_t mounts[ROOT_MOUNTS_MOST]; /* the journal's entries */
    size_t n_mounts;
    char *path; /* where the overlay is mounted */
};

/* Mounts the overlay with the runner and the channel's folder bound into /.plimsoll, and makes
 * g->channel listen there. On failure what was done stays noted in `r` for root_release. */
int root_prepare(struct guest *g, struct guest_root *r, struct err *e);
/* A /proc of its own, for guests that are not a container. */
int root_add_proc(struct guest *g, struct guest_root *r, struct err *e);
/* Unmounts; any number of times. Tries everything and reports the first error. */
int root_release(struct guest *g, struct guest_root *r, struct err *e);

/* Whether overlays can be mounted and cgroups made here: a reason why not (owned), or NULL. */
char *root_obstacle(const struct host *host);

/* ---- The agent's cgroup and a guest's below it ---- */

/* "plimsoll-ID", made through the journal at first use. */
int agent_cgroup_make(struct host *host, struct err *e);
char *agent_cgroup(const struct host *host);
/* "plimsoll-ID/NAME" */
char *guest_cgroup(const struct guest *g);
/* Kills and removes everything below the agent's cgroup and removes it; *removed grows by one if it
 * was there. Guestd's processes (also those that are in no cgroup yet) go first. */
int agent_cgroup_sweep(struct host *host, unsigned *removed, struct err *e);

/* ---- Time ---- */

/* ERR_TIMEOUT or ERR_CANCELLED when it is time to give up. */
int guest_may_go_on(int64_t deadline_ns, int cancel_fd, struct err *e);

/* Waits for STAMP_READY, or until the process behind `pidfd` (-1: it has ended already) ends
 * without having said it: then ERR_SYSTEM. */
int guest_wait_ready(struct guest *g, int pidfd, int64_t deadline_ns, int cancel_fd, struct err *e);

/* An ERR_UNAVAILABLE turned into an offer. */
void offer_refuse(struct guest_offer *o, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
