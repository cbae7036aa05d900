/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Containers by liblxc, which only plimsoll-guestd calls: all that single applications and full
 * systems have in common. lxc.c and lxc-app.c say in what they differ. On the trial thread. */
#ifndef AGENT_GUEST_LXC_COMMON_H
#define AGENT_GUEST_LXC_COMMON_H

#include "agent/guest/common.h"

#include <stdbool.h>

struct lxc_item {
    const char *key; /* NULL ends a list */
    const char *value;
};

struct lxc_kind {
    bool has_console;                      /* a /dev/console that is written down */
    const struct lxc_item *items;          /* beside those that every container has */
    char **(*argv)(const struct guest *g); /* what its first process executes; owned */
};

int lxc_check_host(struct host *host, struct stamper *stamper, const Plimsoll__Section *section,
                   const struct image *image, int cancel_fd, struct guest_offer *ret,
                   struct err *e);
int lxc_prepare(struct guest *g, const struct lxc_kind *kind, int64_t deadline_ns, int cancel_fd,
                struct err *e);
int lxc_create(struct guest *g, int64_t deadline_ns, int cancel_fd, struct err *e);
int lxc_start(struct guest *g, int64_t deadline_ns, int cancel_fd, struct err *e);
int lxc_wait_ready(struct guest *g, int64_t deadline_ns, int cancel_fd, struct err *e);
int lxc_scope(struct guest *g, struct guest_scope *ret, struct err *e);
int lxc_stop(struct guest *g, int64_t deadline_ns, struct err *e);
int lxc_destroy(struct guest *g, struct err *e);
void lxc_texts(struct guest *g, struct guest_texts *to);
int lxc_sweep(struct host *host, unsigned *removed, struct err *e);

#endif
