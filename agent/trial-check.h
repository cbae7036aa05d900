/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Is an assignment, or one guest of a campaign, something that this agent could run? Nothing is
 * touched. */
#ifndef AGENT_TRIAL_CHECK_H
#define AGENT_TRIAL_CHECK_H

#include "agent/host/host.h"
#include "common/err.h"
#include "proto/plimsoll.pb-c.h"

/* Sections present, known to this build, and right by the catalog's rows; backends that the
 * configuration forbids are refused. */
int trial_check(const struct host *h, const Plimsoll__Assign *a, struct err *e);
int trial_check_guest(const struct host *h, const Plimsoll__Section *guest,
                      const Plimsoll__Section *image, struct err *e);

/* Only what the configuration says. */
int trial_check_allowed(const struct host *h, const char *backend, struct err *e);

#endif
