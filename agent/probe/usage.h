/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Whose processor time it was: counters read at both ends of a window. */
#ifndef AGENT_PROBE_USAGE_H
#define AGENT_PROBE_USAGE_H

#include <stdint.h>
#include <sys/types.h>

struct usage {
    int64_t time_ns;  /* of the reading */
    int64_t agent_ns; /* the agent's threads and its helper */
    int64_t busy_ns;  /* all processors: user, nice, system, irq, softirq */
    int64_t steal_ns;
    int64_t guest_ns; /* -1: not known */
};

/* /proc/stat counts in hundredths of a second: busy_ns and steal_ns mean nothing in shorter
 * windows. */
void usage_read(struct usage *u, pid_t helper, const char *guest_cgroup, pid_t guest_leader);

/* CPU time of a process with all its threads, as its clock tells it (clock_getcpuclockid(3)); -1:
 * gone. */
int64_t usage_process_ns(pid_t pid);

#endif
