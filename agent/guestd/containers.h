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
/* Forks the container's monitor, which makes the container and ends with it; a start that fails is
 * told by that end and by liblxc's log. */
int container_start(const Plimsoll__ContainerStart *request, pid_t *ret_monitor, struct err *e);
/* The container's first process, in the host's pid namespace; ERR_NOT_FOUND when there is none. */
int container_find_init(const char *name, pid_t *ret_init, struct err *e);
/* To be told of every child that was waited for. */
void container_reaped(pid_t pid);
/* Kills everything inside; one that does not run is fine. Returns when it is down. */
int container_stop(const char *name, struct err *e);
/* Forgets it, killed before if need be; an unknown one is fine. Never removes its root. */
int container_destroy(const char *name, struct err *e);

#endif
