/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The containers that this process made, by name. Configurations live in memory alone: a saved one
 * would be read again, and its lists would grow. */
#ifndef AGENT_GUESTD_CONTAINERS_H
#define AGENT_GUESTD_CONTAINERS_H

#include "common/err.h"
#include "proto/plimsoll.pb-c.h"

#include <sys/types.h>

/* A definition; nothing of it exists on the host yet. */
int container_create(const Plimsoll__ContainerCreate *request, struct err *e);
/* Returns when the container's first process runs (or its monitor gave up). */
int container_start(const Plimsoll__ContainerStart *request, pid_t *ret_init, struct err *e);
/* Kills everything inside; one that does not run is fine. Returns when it is down. */
int container_stop(const char *name, struct err *e);
/* Forgets it, killed before if need be; an unknown one is fine. Never removes its root. */
int container_destroy(const char *name, struct err *e);

#endif
