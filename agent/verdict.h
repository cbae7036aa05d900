/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Whether a measurement may count: what came from outside the guest makes it suspect or rejected.
 */
#ifndef AGENT_VERDICT_H
#define AGENT_VERDICT_H

#include "proto/plimsoll.pb-c.h"

/* Adds a reason, and makes the outcome worse if it was better. */
void verdict_add(Plimsoll__Result *r, Plimsoll__Outcome outcome, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Judges a measured result (valid or suspect; others stay as they are) by its own samples.
 * Processor time is related to the window from request to ready: other_cpu above a quarter of one
 * processor   suspect steal above 2% of all processors             suspect, above 10% rejected
 *   canary half as slow again after as before    suspect
 * `n_cpus` are all of the host that are online, whichever guests may use: steal is counted over
 * them. Figures of our own; what they catch is shown with each report. */
void verdict_contamination(Plimsoll__Result *r, int n_cpus);

#endif
