/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * How a campaign gets on, on standard error: on a terminal one line that changes, elsewhere plain
 * lines, not more than one in ten seconds.
 */
#ifndef COORDINATOR_CTL_PROGRESS_H
#define COORDINATOR_CTL_PROGRESS_H

#include "proto/plimsoll.pb-c.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct progress {
    bool terminal;
    bool line_open;   /* a terminal's line is shown and not ended */
    int64_t shown_ns; /* when the last plain line was written */
    char last[512];   /* the last line */
    char last_state[32];
};

void progress_start(struct progress *p);
void progress_show(struct progress *p, const Plimsoll__Campaign *c);
/* Ends the terminal's line; to be called before anything else is printed. */
void progress_end(struct progress *p);

/* "figure-1: 42 of 120 trials, host b: lxc x 16, 11 min left" */
void progress_words(const Plimsoll__Campaign *c, char *buffer, size_t size);
/* "11 min", "25 s", "2 h 5 min". The buffer must hold 48 bytes. */
const char *progress_duration(uint64_t ns, char *buffer);

#endif
