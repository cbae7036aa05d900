/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The tables of a report, and what stands in which of them, for every form that shows tables. */
#ifndef COORDINATOR_REPORT_TABLES_H
#define COORDINATOR_REPORT_TABLES_H

#include "common/catalog/catalog.h"
#include "coordinator/report/model.h"
#include "coordinator/report/table.h"

/* The plan's experiments in its order: start with `*cell` 0; NULL after the last. */
const char *report_experiment(const struct report_model *m, size_t *cell);
/* What the experiment's probe measures, ended by a row without a name. */
const struct metric_row *report_metrics_of(const struct report_model *m, const char *experiment);
/* Whether the metric has a table of its own: the probe's first one, and those with published
 * values. `row` is one of report_metrics_of. */
bool report_is_headline(const struct report_model *m, const char *experiment,
                        const struct metric_row *row);
/* The published value beside a group's; `set` NULL: of the first set that has one. NULL: none. */
const struct report_check *report_check_of(const struct report_model *m,
                                           const struct report_group *g, const char *metric,
                                           const char *set);

/* A row for each group of the experiment; the caller frees. */
struct table *report_metric_table(const struct report_model *m, const char *experiment,
                                  const struct metric_row *row);

/* All metrics that are no headlines: of the guest, or of what surrounded it (METRIC_NEITHER). */
enum report_medians { REPORT_PHASES, REPORT_SURROUNDINGS };
struct table *report_medians_table(const struct report_model *m, const char *experiment,
                                   enum report_medians kind);
const char *report_medians_title(enum report_medians kind);

enum { REPORT_TIME_BYTES = 40 };
/* "2026-11-23 09:15:00 UTC"; the buffer must hold REPORT_TIME_BYTES. */
const char *report_time_words(int64_t realtime_ns, char *buffer);

#endif
