/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "coordinator/report/table.h"

#include "common/lexer.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

struct table {
    char *columns;
    size_t n_columns;
    char **cells; /* row by row */
    size_t n_cells, capacity;
};

struct table *table_new(const char *columns)
{
    struct table *t = calloc(1, sizeof *t);
    if (!t || !(t->columns = strdup(columns)))
        abort();
    t->n_columns = strlen(columns);
    return t;
}

static void clean(char *text)
{
    for (; *text; text++)
        if (utf8_is_control(text))
            *text = '?';
}

void table_print_clean(const char *text, FILE *out)
{
    char *copy = strdup(text);
    if (!copy)
        abort();
    clean(copy);
    fputs(copy, out);
    free(copy);
}

void table_add(struct table *t, const char *format, ...)
{
    if (t->n_cells == t->capacity) {
        t->capacity = t->capacity ? 2 * t->capacity : 64;
        t->cells = reallocarray(t->cells, t->capacity, sizeof *t->cells);
        if (!t->cells)
            abort();
    }
    va_list args;
    va_start(args, format);
    char *text = NULL;
    if (vasprintf(&text, format, args) < 0)
        abort();
    va_end(args);
    clean(text);
    t->cells[t->n_cells++] = text;
}

void table_end_row(struct table *t)
{
    while (t->n_cells % t->n_columns != 0)
        table_add(t, "%s", "");
}

/* Code points: good enough for what people name things here. */
static size_t width(const char *text)
{
    size_t n = 0;
    for (; *text; text++)
        n += ((unsigned char)*text & 0xc0) != 0x80;
    return n;
}

/* 0: nothing stands below the head. */
static size_t column_width(const struct table *t, size_t column)
{
    size_t most = 0;
    bool used = false;
    for (size_t i = column; i < t->n_cells; i += t->n_columns) {
        size_t w = width(t->cells[i]);
        most = w > most ? w : most;
        used = used || (i >= t->n_columns && w > 0);
    }
    return used ? most : 0;
}

static void print_row(const struct table *t, size_t row, const size_t *widths, FILE *out)
{
    size_t owed = 0; /* spaces are written only before something */
    bool first = true;
    for (size_t column = 0; column < t->n_columns; column++) {
        if (widths[column] == 0)
            continue;
        const char *text = t->cells[row * t->n_columns + column];
        size_t padding = widths[column] - width(text);
        owed += first ? 0 : 2;
        first = false;
        if (t->columns[column] == 'r')
            owed += padding;
        if (*text)
            fprintf(out, "%*s%s", (int)owed, "", text);
        owed = *text ? 0 : owed + width(text);
        if (t->columns[column] == 'l')
            owed += padding;
    }
    fputc('\n', out);
}

void table_print(const struct table *t, const char *indent, FILE *out)
{
    size_t *widths = calloc(t->n_columns + 1, sizeof *widths);
    if (!widths)
        abort();
    bool any = false;
    for (size_t column = 0; column < t->n_columns; column++) {
        widths[column] = column_width(t, column);
        any = any || widths[column] > 0;
    }
    size_t rows = any ? t->n_cells / t->n_columns : 0;
    for (size_t row = 0; row < rows; row++) {
        fputs(indent, out);
        print_row(t, row, widths, out);
    }
    free(widths);
}

size_t table_rows(const struct table *t)
{
    return t->n_cells / t->n_columns;
}

const char *table_columns(const struct table *t)
{
    return t->columns;
}

const char *table_cell(const struct table *t, size_t row, size_t column)
{
    return t->cells[row * t->n_columns + column];
}

bool table_column_is_used(const struct table *t, size_t column)
{
    return column_width(t, column) > 0;
}

void table_free(struct table **table)
{
    struct table *t = *table;
    if (!t)
        return;
    *table = NULL;
    for (size_t i = 0; i < t->n_cells; i++)
        free(t->cells[i]);
    free(t->cells);
    free(t->columns);
    free(t);
}
