/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What killed agents left on this host. The agent's own program removes it (`plimsoll-agent
 * --clean`); this finds out, from the entries that agents make of themselves
 * (agent/host/registry.h) and without waking anything, whether there is a reason to start it.
 */
#ifndef COORDINATOR_LEFTOVERS_H
#define COORDINATOR_LEFTOVERS_H

#include <stdbool.h>
#include <stdio.h>

/* Whether an agent of this user is registered in the run folder (fs_run_folder) but does not run.
 * One that left failed guests up on purpose does not count, nor does one of another network
 * namespace that still is: only from there can all of it be removed. */
bool leftovers_found(const char *run_folder);

/* Runs plimsoll-agent --clean, which also removes guests that were left up on purpose, and waits
 * for its end. What it removed, and what it could not do, is told on standard error. */
void leftovers_clean(void);

/* The two together: what every program of ours does when it starts. */
void leftovers_clean_if_found(void);

/* Tells which guests the agent with this id left up on purpose, and how to remove them. Returns
 * whether there are any. */
bool leftovers_tell_kept(const char *run_folder, const char *agent_id, FILE *out);

#endif
