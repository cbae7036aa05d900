/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A new process that is confined before its program begins: cgroup, one CPU, root, user. As fast as
 * posix_spawn, which can do none of that: the child shares the caller's memory until it executes
 * (vfork), so the caller's size does not matter, and it is born in its cgroup (v2) or enters it by
 * the one write that takes no host-wide lock (v1: "0" to `tasks`).
 */
#ifndef AGENT_GUEST_SPAWN_H
#define AGENT_GUEST_SPAWN_H

#include "agent/guest/guest.h"
#include "common/err.h"

#include <stdint.h>
#include <sys/types.h>

enum { SPAWN_UID = 65534 };

struct spawn_request {
    char **argv; /* argv[0] is a path in the new root */
    const char *root;
    const char *cgroup; /* made before, with its limits */
    int output;         /* standard output and error */
    int cpu;
    uid_t uid; /* and the group of the same number; no supplementary groups */
};

/* Returns when the program was executed. *ret_started_ns is the moment before that, on
 * CLOCK_MONOTONIC. The process is a child of the caller: reap it. */
int spawn_confined(const struct spawn_request *request, pid_t *ret_pid, int *ret_pidfd,
                   int64_t *ret_started_ns, struct err *e);
/* Waits until it has ended, and reaps it. */
int spawn_reap(pid_t pid, int pidfd, int64_t deadline_ns, int *ret_status, struct err *e);

/* "/.plimsoll/runner app -- COMMAND...", NULL-terminated: what a single guest runs. g->argv, else
 * the section's `command`. Owned. */
char **single_command(const struct guest *g);
void single_command_free(char ***argv);

#endif
