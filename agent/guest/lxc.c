// SPDX-License-Identifier: GPL-3.0-or-later
//
// A full system in a container: the image's init and all that it starts. A shim of the runner
// reports just before it becomes init; ready is when the runner's own unit reports.
#include "agent/guest/backends.h"
#include "agent/guest/lxc-common.h"
#include "common/catalog/entries.h"
#include "common/fs.h"

#include <stdlib.h>

/* What would reach through to the host is taken away: clock, modules, raw input and output. Its
 * /dev holds what every system has. */
static const struct lxc_item items[] = {
    {"lxc.autodev", "1"},
    {"lxc.mount.auto", "proc:mixed sys:mixed"},
    {"lxc.cap.drop", "mac_admin mac_override sys_time sys_module sys_rawio"},
    {"lxc.signal.halt", "SIGRTMIN+3"},
    {NULL, NULL},
};

static char **init_command(const struct guest *g)
{
    (void)g;
    char **argv = calloc(5, sizeof(*argv));
    if (!argv)
        abort();
    argv[0] = fs_path("/.plimsoll/runner");
    argv[1] = fs_path("shim");
    argv[2] = fs_path("--");
    argv[3] = fs_path("/sbin/init");
    return argv;
}

static const struct lxc_kind kind = {.has_console = true, .items = items, .argv = init_command};

static int prepare(struct guest *g, int64_t deadline_ns, int cancel_fd, struct err *e)
{
    return lxc_prepare(g, &kind, deadline_ns, cancel_fd, e);
}

const struct guest_ops guest_lxc_ops = {
    .catalog = &catalog_lxc,
    .check_host = lxc_check_host,
    .prepare = prepare,
    .create = lxc_create,
    .start = lxc_start,
    .wait_ready = lxc_wait_ready,
    .scope = lxc_scope,
    .stop = lxc_stop,
    .destroy = lxc_destroy,
    .texts = lxc_texts,
    .sweep = lxc_sweep,
};
