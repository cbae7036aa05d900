/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Leases: copies, comparison, and the one that is kept on disk while its trial runs. */
#ifndef AGENT_LEASE_H
#define AGENT_LEASE_H

#include "common/err.h"
#include "proto/plimsoll.pb-c.h"

#include <stdbool.h>

/* Free with plimsoll__lease__free_unpacked. */
Plimsoll__Lease *lease_copy(const Plimsoll__Lease *from);
/* NULL equals nothing. */
bool lease_equal(const Plimsoll__Lease *a, const Plimsoll__Lease *b);

/* Not synced: it must outlive a kill, and a crash of the whole machine ends the trial anyhow. */
int lease_save(const char *path, const Plimsoll__Lease *lease, struct err *e);
/* NULL where there is none, or nothing that can be read. */
Plimsoll__Lease *lease_load(const char *path);

#endif
