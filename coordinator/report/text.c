/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The report for people: a table for each experiment and metric that matters, and its phases. */
#include "common/catalog/catalog.h"
#include "common/units.h"
#include "coordinator/report/format.h"
#include "coordinator/report/table.h"

#include <math.h>
#include <string.h>
#include <time.h>

enum { VALUE_BYTES = 32, WORDS_BYTES = 160, SETS_MOST = 4 };

static const struct metric_row no_metrics[] = {{0}};

static const struct metric_row *metrics_of(const Plimsoll__Cell *cell)
{
    const struct catalog_entry *probe =
        cell->probe ? catalog_find(CATALOG_PROBE, cell->probe->plugin) : NULL;
    return probe && probe->metrics ? probe->metrics : no_metrics;
}

static const Plimsoll__Cell *first_cell(const struct report_model *m, const char *experiment)
{
    for (size_t i = 0; i < m->plan->n_cells; i++)
        if (strcmp(m->plan->cells[i]->experiment, experiment) == 0)
            return m->plan->cells[i];
    return NULL;
}

/* ---- Published values beside ours ---- */

/* The distinct sets of references for a metric, in the plan's order. */
static size_t reference_sets(const struct report_model *m, const char *experiment,
                             const char *metric, const char **ret_sets)
{
    size_t n = 0;
    for (size_t i = 0; i < m->n_checks; i++) {
        const struct report_check *c = &m->checks[i];
        const char *of = m->plan->cells[c->group->cell]->experiment;
        if (strcmp(of, experiment) != 0 || strcmp(c->reference->metric, metric) != 0)
            continue;
        size_t known = 0;
        while (known < n && strcmp(ret_sets[known], c->reference->set) != 0)
            known++;
        if (known == n && n < SETS_MOST)
            ret_sets[n++] = c->reference->set;
    }
    return n;
}

static const struct report_check *find_check(const struct report_model *m,
                                             const struct report_group *g, const char *metric,
                                             const char *set)
{
    for (size_t i = 0; i < m->n_checks; i++) {
        const struct report_check *c = &m->checks[i];
        if (c->group == g && strcmp(c->reference->metric, metric) == 0 &&
            strcmp(c->reference->set, set) == 0)
            return c;
    }
    return NULL;
}

static void add_reference(struct table *t, const struct report_check *c, const char *unit)
{
    char value[VALUE_BYTES];
    if (!c) {
        table_add(t, "%s", "");
        table_add(t, "%s", "");
        return;
    }
    table_add(t, "%s", units_format_value(c->reference->value, unit, value));
    if (isfinite(c->ratio))
        table_add(t, "%.3g%s", c->ratio, c->failed ? " !" : "");
    else
        table_add(t, "%s", "");
}

/* ---- The table of a metric ---- */

static void add_numbers(struct table *t, const struct report_metric *metric)
{
    char value[VALUE_BYTES];
    char half[VALUE_BYTES];
    const struct stats_summary *s = &metric->summary;
    table_add(t, "%zu", s->n);
    table_add(t, "%s", units_format_value(s->median, metric->unit, value));
    units_format_value(s->mean, metric->unit, value);
    if (isfinite(s->mean_interval.high))
        table_add(t, "%s ± %s", value,
                  units_format_value(s->mean_interval.high - s->mean, metric->unit, half));
    else
        table_add(t, "%s", value);
}

static void add_group(struct table *t, const struct report_model *m, const struct report_group *g,
                      const struct metric_row *row, const char **sets, size_t n_sets)
{
    char words[WORDS_BYTES];
    const struct report_metric *metric = report_metric_find(g, row->name);
    table_add(t, "%s", report_cell_words(m, g->cell, words));
    table_add(t, "%s%s", g->accelerator, g->nested && *g->accelerator ? " nested" : "");
    if (metric && metric->n) {
        add_numbers(t, metric);
    } else {
        table_add(t, "0");
        table_add(t, "%s", "");
        table_add(t, "no figure");
    }
    for (size_t i = 0; i < n_sets; i++)
        add_reference(t, find_check(m, g, row->name, sets[i]), row->unit);
    table_end_row(t);
}

static bool group_has(const struct report_group *g, const char *metric)
{
    const struct report_metric *found = report_metric_find(g, metric);
    return found && found->n > 0;
}

static void print_metric(const struct report_model *m, const char *experiment,
                         const struct metric_row *row, FILE *out)
{
    const char *sets[SETS_MOST];
    size_t n_sets = reference_sets(m, experiment, row->name, sets);
    char columns[] = "llrrrrrrrrrrr";
    columns[5 + 2 * n_sets] = '\0';
    struct table *t = table_new(columns);
    table_add(t, "guest");
    table_add(t, "accelerator");
    table_add(t, "n");
    table_add(t, "median");
    table_add(t, "mean ± %g%% interval", m->confidence * 100);
    for (size_t i = 0; i < n_sets; i++) {
        table_add(t, "%s", sets[i]);
        table_add(t, "ratio");
    }
    for (size_t cell = 0; cell < m->plan->n_cells; cell++) {
        if (strcmp(m->plan->cells[cell]->experiment, experiment) != 0)
            continue;
        for (const struct report_group *g = m->cells[cell]; g; g = g->next)
            add_group(t, m, g, row, sets, n_sets);
    }
    if (table_rows(t) > 1) {
        fputc('\n', out);
        table_print_clean(experiment, out);
        fprintf(out, ": %s: %s\n", row->name, row->help ? row->help : "");
        table_print(t, "  ", out);
    }
    table_free(&t);
}

/* ---- Medians of everything else ---- */

static bool is_headline(const struct report_model *m, const char *experiment,
                        const struct metric_row *rows, const struct metric_row *row)
{
    const char *sets[SETS_MOST];
    return row == rows || reference_sets(m, experiment, row->name, sets) > 0;
}

enum { COLUMNS_MOST = 12 };

static bool has_any(const struct report_group *g, const struct metric_row *const *shown, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (group_has(g, shown[i]->name))
            return true;
    return false;
}

static void add_medians(struct table *t, const struct report_model *m, const struct report_group *g,
                        const struct metric_row *const *shown, size_t n)
{
    char words[WORDS_BYTES];
    char value[VALUE_BYTES];
    table_add(t, "%s", report_cell_words(m, g->cell, words));
    table_add(t, "%s", g->accelerator);
    for (size_t i = 0; i < n; i++) {
        const struct report_metric *metric = report_metric_find(g, shown[i]->name);
        bool has = metric && metric->n > 0;
        table_add(t, "%s",
                  has ? units_format_value(metric->summary.median, metric->unit, value) : "");
    }
}

static void print_medians_of(const struct report_model *m, const char *experiment,
                             const char *title, const struct metric_row *const *shown, size_t n,
                             FILE *out)
{
    char columns[COLUMNS_MOST + 3] = "ll";
    memset(columns + 2, 'r', n);
    struct table *t = table_new(columns);
    table_add(t, "guest");
    table_add(t, "accelerator");
    for (size_t i = 0; i < n; i++)
        table_add(t, "%s", shown[i]->name);
    for (size_t cell = 0; cell < m->plan->n_cells; cell++) {
        if (strcmp(m->plan->cells[cell]->experiment, experiment) != 0)
            continue;
        for (const struct report_group *g = m->cells[cell]; g; g = g->next)
            if (has_any(g, shown, n))
                add_medians(t, m, g, shown, n);
    }
    if (table_rows(t) > 1) {
        fprintf(out, "\n  %s\n", title);
        table_print(t, "  ", out);
    }
    table_free(&t);
}

/* Phases and other results, or what surrounded them (METRIC_NEITHER). */
static void print_medians(const struct report_model *m, const char *experiment,
                          const struct metric_row *rows, bool surroundings, FILE *out)
{
    const struct metric_row *shown[COLUMNS_MOST];
    size_t n = 0;
    for (const struct metric_row *row = rows; row->name && n < COLUMNS_MOST; row++)
        if ((row->direction == METRIC_NEITHER) == surroundings &&
            !is_headline(m, experiment, rows, row))
            shown[n++] = row;
    print_medians_of(m, experiment,
                     surroundings ? "Around the measurement, medians" : "From the request, medians",
                     shown, n, out);
}

static void print_experiment(const struct report_model *m, const char *experiment, FILE *out)
{
    const struct metric_row *rows = metrics_of(first_cell(m, experiment));
    for (const struct metric_row *row = rows; row->name; row++)
        if (is_headline(m, experiment, rows, row))
            print_metric(m, experiment, row, out);
    if (!rows->name)
        return;
    print_medians(m, experiment, rows, false, out);
    print_medians(m, experiment, rows, true, out);
}

/* ---- The head ---- */

static void print_time(int64_t realtime_ns, FILE *out)
{
    time_t seconds = (time_t)(realtime_ns / 1000000000);
    struct tm tm;
    char text[32];
    gmtime_r(&seconds, &tm);
    strftime(text, sizeof text, "%F %T UTC", &tm);
    fputs(text, out);
}

static void print_head(const struct report_model *m, FILE *out)
{
    table_print_clean(m->name, out);
    if (*m->title) {
        fputs(": ", out);
        table_print_clean(m->title, out);
    }
    fprintf(out, "\n%s, %s, %u trials on %zu host%s, submitted ", m->id, m->state, m->trials,
            m->n_hosts, m->n_hosts == 1 ? "" : "s");
    print_time(m->submitted_ns, out);
    if (report_has_ended(m)) {
        fputs(", ended ", out);
        print_time(m->ended_ns, out);
    }
    fputc('\n', out);
    if (*m->note) {
        table_print_clean(m->note, out);
        fputc('\n', out);
    }
}

void report_text(const struct report_model *m, FILE *out)
{
    print_head(m, out);
    for (size_t i = 0; i < m->plan->n_cells; i++) {
        const char *experiment = m->plan->cells[i]->experiment;
        if (first_cell(m, experiment) == m->plan->cells[i])
            print_experiment(m, experiment, out);
    }
    report_notes(m, out);
}
