/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Removing what earlier lives left on the host: guests, mounts, devices, settings. */
#ifndef AGENT_CLEAN_H
#define AGENT_CLEAN_H

#include "agent/host/host.h"
#include "common/err.h"

/* One agent's own leftovers, all backends and the journal. Tries everything, reports the first
 * error and keeps the host registered then. Adds what it removed. */
int clean_host(struct host *h, unsigned *removed, struct err *e);

/* Every killed agent that is registered under h's run folder; living ones are left alone and
 * counted. `h` lends its folders and need not be open. */
int clean_dead(const struct host *h, unsigned *removed, unsigned *alive, struct err *e);

#endif
