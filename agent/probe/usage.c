/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agent/probe/usage.h"

#include "agent/host/cgroup.h"
#include "agent/host/facts.h"
#include "common/cleanup.h"
#include "common/clock.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

int64_t usage_process_ns(pid_t pid)
{
    clockid_t id;
    struct timespec t;
    if (pid <= 0 || clock_getcpuclockid(pid, &id) != 0 || clock_gettime(id, &t) < 0)
        return -1;
    return (int64_t)t.tv_sec * NS_PER_S + t.tv_nsec;
}

static int64_t agent_ns(pid_t helper)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    int64_t helper_ns = usage_process_ns(helper);
    return (int64_t)t.tv_sec * NS_PER_S + t.tv_nsec + (helper_ns > 0 ? helper_ns : 0);
}

static void read_host(struct usage *u)
{
    char text[512];
    cleanup_close int fd = open("/proc/stat", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (n <= 0)
        return;
    text[n] = '\0';
    facts_host_time(text, NS_PER_S / sysconf(_SC_CLK_TCK), &u->busy_ns, &u->steal_ns);
}

void usage_read(struct usage *u, pid_t helper, const char *guest_cgroup, pid_t guest_leader)
{
    *u = (struct usage){.time_ns = clock_monotonic_ns(), .guest_ns = -1};
    u->agent_ns = agent_ns(helper);
    read_host(u);
    if (!guest_cgroup || cgroup_cpu_ns(guest_cgroup, &u->guest_ns, NULL) < 0)
        u->guest_ns = usage_process_ns(guest_leader);
}
