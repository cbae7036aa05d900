/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What this host can run of a campaign. On the trial thread: a VM's trial boot may take seconds. */
#ifndef AGENT_OFFER_H
#define AGENT_OFFER_H

#include "agent/trial.h"

/* One offer for each pair of guest and image, and for each guest that needs none. Never fails: what
 * cannot be found out is not available, with the reason. Free with
 * plimsoll__prepared__free_unpacked. */
Plimsoll__Prepared *offer_prepare(struct bench *b, const Plimsoll__Prepare *p, int cancel_fd);

#endif
