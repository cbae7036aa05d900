/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The parts of the HTML report; html.c puts them together. */
#ifndef COORDINATOR_REPORT_HTML_H
#define COORDINATOR_REPORT_HTML_H

#include "coordinator/report/model.h"

#include <stdio.h>

/* style.css, ended by a NUL. */
extern const char html_style[];

/* What was not measured or not counted, by arm, each with its reason. */
void html_absences(const struct report_model *m, FILE *out);
/* The hosts, images and settings that the figures hold for. */
void html_conditions(const struct report_model *m, FILE *out);
/* The plan's text and what to do with it. */
void html_reproduce(const struct report_model *m, FILE *out);

#endif
