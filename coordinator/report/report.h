/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A campaign's report, written from its store: as text for a terminal, as one HTML
 * file, as csv, or as json (report/JSON.md).
 *
 * Reads with a connection of its own, so it may run on any thread beside the store's writer, and of
 * a campaign that has not ended.
 */
#ifndef COORDINATOR_REPORT_REPORT_H
#define COORDINATOR_REPORT_REPORT_H

#include "common/err.h"

#include <stdio.h>

enum report_format { REPORT_TEXT, REPORT_HTML, REPORT_CSV, REPORT_JSON };

/* "text", "html", "csv" or "json"; else ERR_INPUT. */
int report_format_parse(const char *word, enum report_format *ret, struct err *e);

/* What a program has to know of what was written. */
struct report_verdict {
    unsigned checks_failed; /* references with `within` that were out of range */
    unsigned trials_missing;
    int exit_code; /* coordctl's: 0 good, 1 a check failed, 4 trials missing */
};

/* Writes the whole report to `out`. ERR_NOT_FOUND where the store knows no such campaign. Memory:
 * eight bytes a sample. `ret` may be NULL. */
int report_write(const char *store_path, const char *campaign, enum report_format format, FILE *out,
                 struct report_verdict *ret, struct err *e);

#endif
