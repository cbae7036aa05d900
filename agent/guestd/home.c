// SPDX-License-Identifier: GPL-3.0-or-later
#include "agent/guestd/home.h"

#include "agent/host/cgroup.h"
#include "common/cleanup.h"
#include "common/fs.h"
#include "common/log.h"

#include <stdio.h>
#include <string.h>

enum { HIERARCHIES_MOST = 32 };

static char *homes[HIERARCHIES_MOST]; /* files to write "0" to */
static size_t n_homes;

/* proc(5), /proc/PID/cgroup: NUMBER:CONTROLLERS:PATH; v2 has no controllers here. v1's `tasks`
 * takes a single thread without a host-wide lock. */
static void remember_line(char *line)
{
    char *controllers = strchr(line, ':');
    char *path = controllers ? strchr(controllers + 1, ':') : NULL;
    if (!path || n_homes == HIERARCHIES_MOST)
        return;
    *path++ = '\0';
    controllers++;
    path[strcspn(path, "\n")] = '\0';
    bool v2 = controllers[0] == '\0';
    controllers[strcspn(controllers, ",")] = '\0';
    const char *mount = cgroup_mount(v2 ? "cgroup2" : controllers);
    if (mount)
        homes[n_homes++] = fs_path("%s%s/%s", mount, strcmp(path, "/") == 0 ? "" : path,
                                   v2 ? "cgroup.procs" : "tasks");
}

void home_remember(void)
{
    cleanup_file FILE *f = fopen("/proc/self/cgroup", "re");
    cleanup_free char *line = NULL;
    size_t capacity = 0;
    while (f && getline(&line, &capacity, f) > 0)
        remember_line(line);
}

void home_return(void)
{
    for (size_t i = 0; i < n_homes; i++) {
        cleanup_err struct err e = ERR_INIT;
        if (fs_write_kernel(homes[i], "0", &e) < 0)
            log_warning("%s", err_text(&e));
    }
}
