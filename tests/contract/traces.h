/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What an agent's guests leave on a host, counted without the agent's help: from /proc, /sys, and
 * virsh. */
#ifndef TESTS_CONTRACT_TRACES_H
#define TESTS_CONTRACT_TRACES_H

#include "agent/host/host.h"

#include <stdbool.h>

struct traces {
    unsigned cgroups; /* of guests, below the agent's own */
    unsigned mounts;  /* under the state folder */
    unsigned links;   /* named for the agent, without its bridge */
    unsigned
        processes; /* in those cgroups, or that name the state folder or a guest, without guestd */
    unsigned domains; /* libvirt's, 0 where it does not run */
    unsigned files;   /* in guests' folders */
};

void traces_count(const struct host *h, struct traces *ret);
/* Prints what differs. */
bool traces_equal(const struct traces *before, const struct traces *after);
/* The agent's own cgroup and bridge too: nothing at all is left. */
bool traces_none_of_agent(const char *id);

#endif
