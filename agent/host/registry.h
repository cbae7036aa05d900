/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The agents of a real host, alive or killed: a file RUN/agents/ID each, locked (flock) while its
 * agent lives, with lines `state = FOLDER`, `libvirt_uri = URI`, `pid = N` and `netns = net:[N]`,
 * and `kept = GUEST` for each failed guest that was left up on purpose. coordinator/leftovers.c
 * reads them too.
 */
#ifndef AGENT_HOST_REGISTRY_H
#define AGENT_HOST_REGISTRY_H

#include "common/err.h"

#include <stdbool.h>
#include <stddef.h>

struct registration;

bool registry_is_id(const char *text);

/* ERR_REFUSED when a living agent has the id (a copied state folder). */
int registry_enter(const char *run_folder, const char *id, const char *state_folder,
                   const char *libvirt_uri, struct registration **ret, struct err *e);
/* Locks a dead agent's entry and tells what it says, replacing the texts (freed before).
 * ERR_REFUSED while the agent lives, ERR_NOT_FOUND without an entry, ERR_UNAVAILABLE where it lived
 * in another network namespace that still is: only from there can all of it be removed. */
int registry_take_over(const char *run_folder, const char *id, struct registration **ret,
                       char **state_folder, char **libvirt_uri, struct err *e);
/* Adds a line about a guest that is left up on purpose. */
int registry_keep_guest(struct registration *r, const char *guest, struct err *e);
/* Removes the entry unless `keep`, and unlocks it. NULL is fine. */
void registry_leave(struct registration **r, bool keep);

/* Sorted; an array to free. A run folder without agents gives none. */
int registry_list(const char *run_folder, char (**ret_ids)[9], size_t *ret_n, struct err *e);

#endif
