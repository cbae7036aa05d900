/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The agent's own bridge: no uplink, no addresses, nothing forwarded but between guests. */
#ifndef AGENT_HOST_BRIDGE_H
#define AGENT_HOST_BRIDGE_H

#include "common/err.h"

#include <stdbool.h>

/* Makes a bridge and brings it up. One that exists is taken over. Names have at most 15 characters.
 */
int bridge_make(const char *name, struct err *e);
/* Takes it down and deletes it; one that does not exist is fine. */
int bridge_remove(const char *name, struct err *e);
/* Whether a network device of that name is there. */
bool link_exists(const char *name);
/* Deletes a veth or TAP device (and a veth's other end); one that does not exist is fine. */
int link_remove(const char *name, struct err *e);

#endif
