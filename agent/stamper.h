/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The stamping thread's inner face, for channel.c alone: channel.h is the public one. */
#ifndef AGENT_STAMPER_H
#define AGENT_STAMPER_H

#include "agent/channel.h"

#include <stdint.h>

/* Called on the stamping thread, locked, when the descriptor is readable; `now_ns` was read first
 * thing after the wake-up. May add and remove watches, its own too. Must not block. */
typedef void stamper_readable(void *arg, int64_t now_ns);

/* Everything that both the stamping thread and the others touch is touched under this lock. It
 * hands on priority, so a holder of ordinary priority cannot hold up the stamping thread for long.
 */
void stamper_lock(struct stamper *s);
void stamper_unlock(struct stamper *s);

/* Locked. The descriptor stays the caller's; *ret_watch names the watch until it is removed. */
int stamper_watch(struct stamper *s, int fd, stamper_readable *readable, void *arg,
                  uint64_t *ret_watch, struct err *e);
/* Locked. Nothing is called for it any more, although an event of it may be on its way. Before
 * close. */
void stamper_unwatch(struct stamper *s, uint64_t watch);

#endif
