/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Text and tables as HTML. Whatever comes from a plan, a host or a guest goes through here: it can
 * end no element or attribute, and reorder no text around it. Characters that steer (C0, C1,
 * bidirectional controls) and bytes that are no UTF-8 are shown as U+FFFD.
 */
#ifndef COORDINATOR_REPORT_MARKUP_H
#define COORDINATOR_REPORT_MARKUP_H

#include "coordinator/report/table.h"

#include <stdio.h>

/* One line, also within a quoted attribute. */
void markup_text(const char *text, FILE *out);
/* With its line feeds and tabs, for <pre>. */
void markup_block(const char *text, FILE *out);
/* A name within a sentence: whatever its script, what stands around it stays where it is. */
void markup_name(const char *text, FILE *out);
/* A <table> that scrolls by itself where it is too wide; nothing where there is only a head. */
void markup_table(const struct table *t, FILE *out);

#endif
