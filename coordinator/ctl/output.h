/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Where a verb writes what it was asked for: standard output, or a file that is replaced once the
 * new one is whole. */
#ifndef COORDINATOR_CTL_OUTPUT_H
#define COORDINATOR_CTL_OUTPUT_H

#include "common/err.h"

#include <stdbool.h>
#include <stdio.h>

struct output {
    const char *path; /* borrowed; NULL: standard output */
    char *draft;      /* beside `path`; NULL where it is written to as it stands */
    FILE *file;
};

/* A device, pipe or socket at `path` is written to, never replaced. ERR_SYSTEM otherwise. */
int output_open(struct output *o, const char *path, struct err *e);
/* Keeps what was written only where `good`; a device or pipe has it in any case. */
int output_close(struct output *o, bool good, struct err *e);

#endif
