// SPDX-License-Identifier: GPL-3.0-or-later
//
// One application in a container of its own: the runner reports and executes the command, which is
// process 1.
#include "agent/guest/backends.h"
#include "agent/guest/lxc-common.h"
#include "agent/guest/spawn.h"
#include "common/catalog/entries.h"

/* No terminals, no /dev of its own (the image has the nodes), and of the pseudo file systems /proc
 * alone. */
static const struct lxc_item items[] = {
    {"lxc.autodev", "0"},
    {"lxc.mount.auto", "proc:mixed"},
    {NULL, NULL},
};

static const struct lxc_kind kind = {.items = items, .argv = single_command};

static int prepare(struct guest *g, int64_t deadline_ns, int cancel_fd, struct err *e)
{
    return lxc_prepare(g, &kind, deadline_ns, cancel_fd, e);
}

const struct guest_ops guest_lxc_app_ops = {
    .catalog = &catalog_lxc_app,
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
