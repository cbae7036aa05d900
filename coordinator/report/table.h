/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A table of texts in columns as wide as their widest, for people. UTF-8; control characters of
 * what is put in are shown as `?`, so that nothing a peer sent can steer a terminal. */
#ifndef COORDINATOR_REPORT_TABLE_H
#define COORDINATOR_REPORT_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

struct table;

/* One letter a column: `l` or `r`, the side its texts stand at. */
struct table *table_new(const char *columns);
/* The next cell of the current row, row by row; the first row is the head. */
void table_add(struct table *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Fills the current row with empty cells. */
void table_end_row(struct table *t);
/* Leaves out columns that are empty below the head; without a row there, prints nothing. */
void table_print(const struct table *t, const char *indent, FILE *out);
/* The head included. */
size_t table_rows(const struct table *t);
/* For other forms: `l` and `r` a column, as they were given; a text by row and column; whether
 * anything stands in a column below the head. */
const char *table_columns(const struct table *t);
const char *table_cell(const struct table *t, size_t row, size_t column);
bool table_column_is_used(const struct table *t, size_t column);
void table_free(struct table **t);

/* A text with its control characters shown as `?`. */
void table_print_clean(const char *text, FILE *out);

#endif
