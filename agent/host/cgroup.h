/* SPDX-License-Identifier: GPL-3.0-or-later */
/* cgroup v1 (hybrid) and v2 behind one face. A path is relative and the same in every hierarchy. */
#ifndef AGENT_HOST_CGROUP_H
#define AGENT_HOST_CGROUP_H

#include "common/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum cgroup_layout { CGROUP_NONE, CGROUP_V1, CGROUP_V2 };

/* V1 where the controllers cpu, cpuset and memory are on v1 hierarchies, V2 where they are on the
 * unified one. */
enum cgroup_layout cgroup_layout(void);

/* Makes it and its parents in the hierarchies of cpu, cpuacct, cpuset, memory and pids; one that
 * exists is fine. In v2 the root and the parents hand these controllers down. ERR_UNAVAILABLE with
 * CGROUP_NONE. */
int cgroup_make(const char *path, struct err *e);
int cgroup_add(const char *path, pid_t pid, struct err *e);
int cgroup_set_cpu(const char *path, int cpu, struct err *e);
int cgroup_set_memory(const char *path, int64_t bytes, struct err *e);
/* CPU time of everything that ever ran in it. */
int cgroup_cpu_ns(const char *path, int64_t *ret_ns, struct err *e);
/* Kills every process in it and below until none is left or the deadline passes (ERR_TIMEOUT). The
 * caller itself is spared, so it must not be inside. */
int cgroup_kill(const char *path, int64_t deadline_ns, struct err *e);
/* Removes it and all below from every hierarchy; what does not exist is fine. Tries for 2 s, since
 * the kernel takes a moment to let go of processes that ended. */
int cgroup_remove(const char *path, struct err *e);
/* The controllers that v2's root hands down to the cgroups below, "cpu memory pids", the caller's
 * to free; "" with v1. systemd hands down what its units need, and liblxc all there are. */
char *cgroup_handed_down(void);
/* Takes the others back; one that a cgroup below hands on stays, as somebody uses it. */
void cgroup_hand_down_only(const char *controllers);

/* Mount point of the hierarchy, v1 or v2, that has a controller ("cpu"), or of v2 itself
 * ("cgroup2"); NULL where absent. Owned by the module. */
const char *cgroup_mount(const char *controller);

/* Mount points of the hierarchies that cgroup_make makes a path in: one for v2, several for v1. */
enum { CGROUP_IN_USE_MOST = 8 };
size_t cgroup_in_use(const char *mounts[CGROUP_IN_USE_MOST]);
/* Whether any hierarchy has it. */
bool cgroup_exists(const char *path);

#endif
