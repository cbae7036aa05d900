/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What stands in the files by which the kernel and the distribution describe a host. No input or
 * output, so that any bytes may be tried on it. What is returned is to be freed; NULL: the text
 * does not say. */
#ifndef AGENT_HOST_FACTS_H
#define AGENT_HOST_FACTS_H

#include <stdbool.h>
#include <stdint.h>

/* The value of the first line `key<spaces>:<space>value`, as /proc/cpuinfo and /proc/meminfo have
 * them. */
char *facts_colon_value(const char *text, const char *key);
/* Lines that begin with `key`. */
long facts_count_lines(const char *text, const char *key);
/* Cuts out "[always] madvise never" -> "always", within `text`; a file without brackets is its own
 * choice. */
char *facts_chosen(char *text);
/* MemTotal of /proc/meminfo in steps of 64 MiB, like "16384MiB": firmware and crash kernels take a
 * little more or less from host to host. */
char *facts_memory(const char *meminfo);
/* The words of the kernel's command line that change what is measured; the rest (disks, consoles)
 * differs between identical hosts and may be nobody's business. */
char *facts_boot_settings(const char *command_line);
/* PRETTY_NAME of os-release(5). */
char *facts_distribution(const char *os_release);

struct facts_cgroup_mount {
    char mount[1024];
    char options[256]; /* of the hierarchy; on v1 its controllers are among them */
    bool v2;
};
/* One line of mountinfo, proc(5). False: it mounts no cgroups. */
bool facts_cgroup_mount(const char *line, struct facts_cgroup_mount *ret);

/* Time since boot that the host's CPUs were busy and were withheld, from /proc/stat's first line.
 * False: it is not such a line, or counts more than `ret` can hold. */
bool facts_host_time(const char *stat, int64_t tick_ns, int64_t *ret_busy_ns,
                     int64_t *ret_steal_ns);
/* A cgroup's CPU time, from v2's cpu.stat or v1's cpuacct.usage. False: the text does not say. */
bool facts_cgroup_time(const char *text, bool v2, int64_t *ret_ns);

#endif
