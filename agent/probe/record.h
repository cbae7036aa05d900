/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What a trial gathers for its result: samples and conditions. probe.h has what probes may do with
 * it. */
#ifndef AGENT_PROBE_RECORD_H
#define AGENT_PROBE_RECORD_H

#include "agent/probe/probe.h"

#include <stddef.h>

enum { RECORD_MOST_SAMPLES = 4096, RECORD_MOST_CONDITIONS = 64 };

struct trial_record {
    const struct catalog_entry *probe; /* its metrics' units; set before the first sample */
    int64_t clock_ns;                  /* CLOCK_REALTIME of the request */
    Plimsoll__Sample **samples;
    size_t n_samples;
    Plimsoll__Factor **conditions;
    size_t n_conditions;
};

/* Hands everything to the result, which must have no samples and conditions. */
void record_give(struct trial_record *r, Plimsoll__Result *to);
/* Frees what was not given. */
void record_clear(struct trial_record *r);

#endif
