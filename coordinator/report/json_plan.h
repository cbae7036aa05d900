/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Messages as JSON: what a plan asked for and what hosts said of themselves. All return new
 * references. */
#ifndef COORDINATOR_REPORT_JSON_PLAN_H
#define COORDINATOR_REPORT_JSON_PLAN_H

#include "coordinator/report/model.h"

#include <jansson.h>

/* null where it is no finite number. */
json_t *report_json_number(double value);
/* Bytes that are not UTF-8 become `?`. */
json_t *report_json_text(const char *text);
/* Everything but "words". */
json_t *report_json_cell(const Plimsoll__Cell *c);
json_t *report_json_host(const struct report_host *h);

#endif
