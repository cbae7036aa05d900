/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Asking installed programs for their versions. */
#ifndef AGENT_HOST_TOOL_H
#define AGENT_HOST_TOOL_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct tool {
    const char *const *argv; /* ended by NULL; found through PATH and the administrator's folders */
    char line[160];          /* the first line it wrote, "" when it is not installed or failed */
    char version[64];        /* the first word of that line that begins with a digit, or "" */
    pid_t pid;               /* while it runs */
    int fd;
    size_t used;
};

/* Runs all at once, without a shell, and kills what has not ended by the deadline (monotonic). */
void tool_run_all(struct tool *tools, size_t n, int64_t deadline_ns);

#endif
