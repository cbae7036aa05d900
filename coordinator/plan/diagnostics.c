/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "coordinator/plan/plan.h"

#include "common/value.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A file of garbage has an error on every line; nobody reads more than these. */
enum { MOST_ITEMS = 100, MOST_TEXT_BYTES = 1000 };

static char *own(char *text)
{
    if (!text)
        abort();
    return text;
}

static void append(struct plan_diagnostics *d, Plimsoll__Diagnostic *item)
{
    if (d->n == d->capacity) {
        d->capacity = d->capacity ? d->capacity * 2 : 16;
        d->items = realloc(d->items, d->capacity * sizeof *d->items);
        if (!d->items)
            abort();
    }
    d->items[d->n++] = item;
}

static void add(struct plan_diagnostics *d, bool warning, const char *file, unsigned line,
                const char *format, va_list args)
{
    d->n_errors += !warning;
    if (d->n > MOST_ITEMS)
        return;
    Plimsoll__Diagnostic *item = malloc(sizeof *item);
    if (!item)
        abort();
    plimsoll__diagnostic__init(item);
    item->file = own(strdup(file));
    item->line = line;
    item->warning = warning;
    if (d->n == MOST_ITEMS)
        item->text = own(strdup("and more errors, which are not shown"));
    else if (vasprintf(&item->text, format, args) < 0)
        abort();
    if (strlen(item->text) >= MOST_TEXT_BYTES + sizeof "...")
        memcpy(item->text + MOST_TEXT_BYTES, "...", sizeof "...");
    text_make_plain(item->text);
    append(d, item);
}

void plan_diagnose(struct plan_diagnostics *d, const char *file, unsigned line, const char *format,
                   ...)
{
    va_list args;
    va_start(args, format);
    add(d, false, file, line, format, args);
    va_end(args);
}

void plan_warn(struct plan_diagnostics *d, const char *file, unsigned line, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    add(d, true, file, line, format, args);
    va_end(args);
}

static int compare(const void *a, const void *b)
{
    const Plimsoll__Diagnostic *const *x = a, *const *y = b;
    int by_file = strcmp((*x)->file, (*y)->file);
    if (by_file != 0)
        return by_file;
    if ((*x)->line != (*y)->line)
        return (*x)->line < (*y)->line ? -1 : 1;
    return strcmp((*x)->text, (*y)->text);
}

static void print_one(const Plimsoll__Diagnostic *item, FILE *out)
{
    fprintf(out, "%s:", item->file);
    if (item->line > 0)
        fprintf(out, "%u:", item->line);
    fprintf(out, " %s%s\n", item->warning ? "warning: " : "", item->text);
}

void plan_diagnostics_print(const struct plan_diagnostics *d, void *out_FILE)
{
    if (d->n == 0)
        return;
    Plimsoll__Diagnostic **sorted = calloc(d->n, sizeof *sorted);
    if (!sorted)
        abort();
    memcpy(sorted, d->items, d->n * sizeof *sorted);
    /* The line that says there are more stays last. */
    size_t n = d->n > MOST_ITEMS ? MOST_ITEMS : d->n;
    qsort(sorted, n, sizeof *sorted, compare);
    for (size_t i = 0; i < d->n; i++)
        print_one(sorted[i], out_FILE);
    free(sorted);
}

void plan_diagnostics_clear(struct plan_diagnostics *d)
{
    for (size_t i = 0; i < d->n; i++)
        plimsoll__diagnostic__free_unpacked(d->items[i], NULL);
    free(d->items);
    *d = (struct plan_diagnostics){0};
}
