/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The canary: the same short piece of work before and after each trial. A host that is slower at it
 * than before was disturbed, or is throttled, whatever its counters say. */
#ifndef AGENT_PROBE_CANARY_H
#define AGENT_PROBE_CANARY_H

#include <stdint.h>

/* Spins on `cpu`, if the thread may go there, and returns how long it took, some 2 ms. */
int64_t canary_spin_ns(int cpu);

#endif
