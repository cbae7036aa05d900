// SPDX-License-Identifier: GPL-3.0-or-later
//
// A process of the host, chrooted into the guest's root, as an unprivileged user. What is compared
// with it is a container, so it has a cgroup with the same limits and nothing else of one.
#include "agent/guest/backends.h"
#include "agent/guest/common.h"
#include "agent/guest/spawn.h"
#include "agent/host/cgroup.h"
#include "common/catalog/entries.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/fs.h"
#include "proto/settings.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static const int64_t KILL_NS = 5 * NS_PER_S;

struct guest_state {
    struct guest_root root;
    char *cgroup;
    char *console_path;
    int console;
    char **argv;
    pid_t pid; /* 0 before the start and after it was reaped */
    int pidfd;
    int status; /* as waitpid gives it */
};

static int check_host(struct host *host, struct stamper *stamper, const Plimsoll__Section *section,
                      const struct image *image, int cancel_fd, struct guest_offer *ret,
                      struct err *e)
{
    (void)stamper, (void)section, (void)image, (void)cancel_fd, (void)e;
    cleanup_free char *obstacle = root_obstacle(host);
    ret->available = true;
    if (!host->allow_process)
        offer_refuse(ret, "the agent's configuration does not allow it (allow_process)");
    else if (obstacle)
        offer_refuse(ret, "%s", obstacle);
    return 0;
}

static int open_console(struct guest *g, struct guest_state *s, struct err *e)
{
    s->console_path = fs_path("%s/console.log", g->folder);
    s->console = open(s->console_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    return s->console < 0 ? err_system(e, errno, "cannot make %s", s->console_path) : 0;
}

static int prepare(struct guest *g, int64_t deadline_ns, int cancel_fd, struct err *e)
{
    if (!g->host->allow_process)
        return err_set(e, ERR_REFUSED, "the agent's configuration does not allow processes");
    struct guest_state *s = calloc(1, sizeof(*s));
    if (!s)
        return err_system(e, ENOMEM, "cannot prepare %s", g->name);
    s->console = -1;
    s->pidfd = -1;
    s->cgroup = guest_cgroup(g);
    s->argv = single_command(g);
    g->state = s;
    if (guest_may_go_on(deadline_ns, cancel_fd, e) < 0 || agent_cgroup_make(g->host, e) < 0 ||
        root_prepare(g, &s->root, e) < 0 || root_add_proc(g, &s->root, e) < 0)
        return -1;
    return open_console(g, s, e);
}

static int create(struct guest *g, int64_t deadline_ns, int cancel_fd, struct err *e)
{
    struct guest_state *s = g->state;
    if (guest_may_go_on(deadline_ns, cancel_fd, e) < 0 || cgroup_make(s->cgroup, e) < 0 ||
        cgroup_set_memory(s->cgroup, settings_integer(g->section, "memory", 256 << 20), e) < 0)
        return -1;
    return cgroup_set_cpu(s->cgroup, g->cpu, e);
}

static int start(struct guest *g, int64_t deadline_ns, int cancel_fd, struct err *e)
{
    struct guest_state *s = g->state;
    if (guest_may_go_on(deadline_ns, cancel_fd, e) < 0)
        return -1;
    struct spawn_request request = {
        .argv = s->argv,
        .root = s->root.path,
        .cgroup = s->cgroup,
        .output = s->console,
        .cpu = g->cpu,
        .uid = SPAWN_UID,
    };
    int64_t started_ns = 0;
    if (spawn_confined(&request, &s->pid, &s->pidfd, &started_ns, e) < 0)
        return -1;
    channel_stamp(g->channel, STAMP_STARTED, started_ns);
    return 0;
}

static int wait_ready(struct guest *g, int64_t deadline_ns, int cancel_fd, struct err *e)
{
    return guest_wait_ready(g, g->state->pidfd, deadline_ns, cancel_fd, e);
}

static int scope(struct guest *g, struct guest_scope *ret, struct err *e)
{
    if (!g->state || !g->state->pid)
        return err_set(e, ERR_NOT_FOUND, "%s does not run", g->name);
    *ret = (struct guest_scope){.cgroup = fs_path("%s", g->state->cgroup), .leader = g->state->pid};
    return 0;
}

static int reap(struct guest_state *s, int64_t deadline_ns, struct err *e)
{
    if (!s->pid)
        return 0;
    if (spawn_reap(s->pid, s->pidfd, deadline_ns, &s->status, e) < 0)
        return -1;
    s->pid = 0;
    return 0;
}

static int stop(struct guest *g, int64_t deadline_ns, struct err *e)
{
    struct guest_state *s = g->state;
    if (!s)
        return 0;
    if (s->pid) /* first by itself: its cgroup may be half made */
        syscall(SYS_pidfd_send_signal, s->pidfd, SIGKILL, NULL, 0);
    if (cgroup_kill(s->cgroup, deadline_ns, e) < 0)
        return -1;
    return reap(s, deadline_ns, e);
}

static int destroy(struct guest *g, struct err *e)
{
    struct guest_state *s = g->state;
    if (!s)
        return 0;
    struct err first = ERR_INIT;
    struct err next = ERR_INIT;
    stop(g, clock_monotonic_ns() + KILL_NS, &first);
    if (cgroup_remove(s->cgroup, &next) < 0 && first.code == ERR_NONE)
        err_move(&first, &next);
    err_clear(&next);
    channel_free(&g->channel);
    if (root_release(g, &s->root, &next) < 0 && first.code == ERR_NONE)
        err_move(&first, &next);
    err_clear(&next);
    if (first.code != ERR_NONE)
        return err_move(e, &first);
    if (s->console >= 0)
        close(s->console);
    if (s->pidfd >= 0)
        close(s->pidfd);
    free(s->console_path);
    free(s->cgroup);
    single_command_free(&s->argv);
    free(s);
    g->state = NULL;
    return 0;
}

static void add_definition(struct guest *g, struct guest_texts *to)
{
    cleanup_free char *text = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&text, &length);
    if (!out)
        return;
    fprintf(out, "root = %s on an overlay\nuid = %d\ncpu = %d\nmemory = %lld\ncgroup = %s\n",
            g->image->root, SPAWN_UID, g->cpu,
            (long long)settings_integer(g->section, "memory", 256 << 20), g->state->cgroup);
    for (char **argument = g->state->argv; *argument; argument++)
        fprintf(out, "argument = %s\n", *argument);
    fclose(out);
    guest_add_text(to, "process.conf", text, length);
}

static void texts(struct guest *g, struct guest_texts *to)
{
    if (!g->state)
        return;
    add_definition(g, to);
    if (g->state->console_path)
        guest_add_file(to, "console", g->state->console_path);
}

static int sweep(struct host *host, unsigned *removed, struct err *e)
{
    return agent_cgroup_sweep(host, removed, e);
}

const struct guest_ops guest_process_ops = {
    .catalog = &catalog_process,
    .check_host = check_host,
    .prepare = prepare,
    .create = create,
    .start = start,
    .wait_ready = wait_ready,
    .scope = scope,
    .stop = stop,
    .destroy = destroy,
    .texts = texts,
    .sweep = sweep,
};
