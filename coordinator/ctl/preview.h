/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What a plan would do, before anything is started. */
#ifndef COORDINATOR_CTL_PREVIEW_H
#define COORDINATOR_CTL_PREVIEW_H

#include "coordinator/ctl/findings.h"
#include "proto/plimsoll.pb-c.h"

#include <stdint.h>
#include <stdio.h>

struct preview {
    uint64_t trials;     /* warm-ups included; of one host, or of all together under any_host */
    int64_t expected_ns; /* of these trials one after the other */
    int64_t peak_bytes;  /* of the host's memory */
    size_t unavailable;  /* cells */
};

/* `found` may be NULL: nothing is known of the host, and every cell counts as available. An
 * accelerator that is not known counts as TCG, the slower one. */
void preview_sum(const Plimsoll__Plan *plan, const struct findings *found, struct preview *ret);

/* Why this host cannot run a cell, into a buffer of 512 bytes; NULL where it can. */
const char *preview_obstacle(const Plimsoll__Cell *cell, const struct findings *found,
                             char *buffer);

/* The accelerator a cell runs under, "" for none, "kvm" or "tcg" or what was found. */
const char *preview_accelerator(const Plimsoll__Cell *cell, const struct findings *found);

void preview_print(const Plimsoll__Plan *plan, const struct findings *found, FILE *out);

#endif
