/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The coordinator as a whole: configuration, parts in their order, signals. */
#ifndef COORDINATOR_DAEMON_H
#define COORDINATOR_DAEMON_H

#include "common/catalog/catalog.h"
#include "common/err.h"

/* The rows of coordinator.conf. */
extern const struct key_row daemon_keys[];

/* Runs until SIGTERM or SIGINT (0), or until it cannot go on (-1). */
int daemon_run(const char *config_path, struct err *e);

#endif
