/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The forms of a report; report.c chooses. */
#ifndef COORDINATOR_REPORT_FORMAT_H
#define COORDINATOR_REPORT_FORMAT_H

#include "coordinator/report/model.h"
#include "coordinator/report/report.h"

/* The tables, then the words. */
void report_text(const struct report_model *m, FILE *out);
/* What must be known before the tables' figures are compared with anything. */
void report_notes(const struct report_model *m, FILE *out);
/* One file with figures, tables and the plan. */
void report_html(const struct report_model *m, FILE *out);
/* A line a sample, warm-ups and rejected ones included, as their columns say. */
int report_csv(const struct report_model *m, struct reader *r, FILE *out, struct err *e);
/* JSON.md */
int report_json(const struct report_model *m, struct reader *r,
                const struct report_verdict *verdict, FILE *out, struct err *e);

#endif
