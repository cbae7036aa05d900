// SPDX-License-Identifier: GPL-3.0-or-later
#include "agent/guest/common.h"

#include "agent/guestd/client.h"
#include "agent/host/cgroup.h"
#include "agent/host/journal.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/fs.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>

static const int64_t SWEEP_NS = 10 * NS_PER_S;

/* A guest that has ended can have reported just before; its mark is then on the way to the stamper.
 */
static const int64_t LAST_MARK_NS = NS_PER_S / 2;

char *agent_cgroup(const struct host *host)
{
    return fs_path("plimsoll-%s", host->id);
}

char *guest_cgroup(const struct guest *g)
{
    return fs_path("plimsoll-%s/%s", g->host->id, g->name);
}

int agent_cgroup_make(struct host *host, struct err *e)
{
    cleanup_free char *path = agent_cgroup(host);
    uint64_t entry;
    if (cgroup_exists(path))
        return 0;
    return journal_cgroup(host->journal, path, &entry, e);
}

int agent_cgroup_sweep(struct host *host, unsigned *removed, struct err *e)
{
    cleanup_free char *path = agent_cgroup(host);
    guestd_kill_family(host->id);
    if (!cgroup_exists(path))
        return 0;
    if (cgroup_kill(path, clock_monotonic_ns() + SWEEP_NS, e) < 0 || cgroup_remove(path, e) < 0)
        return -1;
    (*removed)++;
    return 0;
}

int guest_may_go_on(int64_t deadline_ns, int cancel_fd, struct err *e)
{
    struct pollfd p = {.fd = cancel_fd, .events = POLLIN};
    if (poll(&p, 1, 0) > 0)
        return err_set(e, ERR_CANCELLED, "cancelled");
    if (deadline_ns && clock_monotonic_ns() >= deadline_ns)
        return err_set(e, ERR_TIMEOUT, "out of time");
    return 0;
}

/* One descriptor that is readable when either is: channel_wait takes only one. -1 fds are left out.
 */
static int watch_both(int a, int b, struct err *e)
{
    int fd = epoll_create1(EPOLL_CLOEXEC);
    if (fd < 0)
        return err_system(e, errno, "cannot wait for the guest");
    struct epoll_event event = {.events = EPOLLIN};
    if (epoll_ctl(fd, EPOLL_CTL_ADD, a, &event) < 0 ||
        (b >= 0 && epoll_ctl(fd, EPOLL_CTL_ADD, b, &event) < 0)) {
        err_system(e, errno, "cannot wait for the guest");
        close(fd);
        return -1;
    }
    return fd;
}

static bool is_readable(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    return fd >= 0 && poll(&p, 1, 0) > 0;
}

/* It has ended; what it said before may still be on the way. */
static int wait_for_last_mark(struct guest *g, int64_t deadline_ns, int cancel_fd, struct err *e)
{
    struct err waiting = ERR_INIT;
    int64_t last_ns = clock_monotonic_ns() + LAST_MARK_NS;
    bool cut = deadline_ns && deadline_ns < last_ns;
    if (channel_wait(g->channel, STAMP_READY, cut ? deadline_ns : last_ns, cancel_fd, &waiting) ==
        0)
        return 0;
    if (waiting.code != ERR_TIMEOUT)
        return err_move(e, &waiting);
    err_clear(&waiting);
    return err_set(e, ERR_SYSTEM, "the guest ended before it was ready");
}

int guest_wait_ready(struct guest *g, int pidfd, int64_t deadline_ns, int cancel_fd, struct err *e)
{
    if (pidfd < 0)
        return wait_for_last_mark(g, deadline_ns, cancel_fd, e);
    struct err waiting = ERR_INIT;
    cleanup_close int both = watch_both(pidfd, cancel_fd, e);
    if (both < 0)
        return -1;
    if (channel_wait(g->channel, STAMP_READY, deadline_ns, both, &waiting) == 0)
        return 0;
    if (waiting.code != ERR_CANCELLED || is_readable(cancel_fd) || !is_readable(pidfd))
        return err_move(e, &waiting);
    err_clear(&waiting);
    return wait_for_last_mark(g, deadline_ns, cancel_fd, e);
}

void offer_refuse(struct guest_offer *o, const char *format, ...)
{
    char reason[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(reason, sizeof(reason), format, arguments);
    va_end(arguments);
    free(o->reason);
    o->reason = fs_path("%s", reason);
    o->available = false;
}
