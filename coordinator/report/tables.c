/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "coordinator/report/tables.h"

#include "common/units.h"

#include <math.h>
#include <string.h>
#include <time.h>

enum { VALUE_BYTES = 32, WORDS_BYTES = 160, SETS_MOST = 4 };

static const struct metric_row no_metrics[] = {{0}};

static const struct metric_row *metrics_of_cell(const Plimsoll__Cell *cell)
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

const struct metric_row *report_metrics_of(const struct report_model *m, const char *experiment)
{
    return metrics_of_cell(first_cell(m, experiment));
}

const char *report_experiment(const struct report_model *m, size_t *cell)
{
    while (*cell < m->plan->n_cells) {
        const Plimsoll__Cell *c = m->plan->cells[(*cell)++];
        if (first_cell(m, c->experiment) == c)
            return c->experiment;
    }
    return NULL;
}

const char *report_time_words(int64_t realtime_ns, char *buffer)
{
    time_t seconds = (time_t)(realtime_ns / 1000000000);
    struct tm tm;
    gmtime_r(&seconds, &tm);
    strftime(buffer, REPORT_TIME_BYTES, "%F %T UTC", &tm);
    return buffer;
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

const struct report_check *report_check_of(const struct report_model *m,
                                           const struct report_group *g, const char *metric,
                                           const char *set)
{
    for (size_t i = 0; i < m->n_checks; i++) {
        const struct report_check *c = &m->checks[i];
        if (c->group == g && strcmp(c->reference->metric, metric) == 0 &&
            (!set || strcmp(c->reference->set, set) == 0))
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
        add_reference(t, report_check_of(m, g, row->name, sets[i]), row->unit);
    table_end_row(t);
}

static bool group_has(const struct report_group *g, const char *metric)
{
    const struct report_metric *found = report_metric_find(g, metric);
    return found && found->n > 0;
}

struct table *report_metric_table(const struct report_model *m, const char *experiment,
                                  const struct metric_row *row)
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
    return t;
}

/* ---- Medians of everything else ---- */

bool report_is_headline(const struct report_model *m, const char *experiment,
                        const struct metric_row *row)
{
    const char *sets[SETS_MOST];
    return row == report_metrics_of(m, experiment) ||
           reference_sets(m, experiment, row->name, sets) > 0;
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

static struct table *medians_of(const struct report_model *m, const char *experiment,
                                const struct metric_row *const *shown, size_t n)
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
    return t;
}

struct table *report_medians_table(const struct report_model *m, const char *experiment,
                                   enum report_medians kind)
{
    const struct metric_row *shown[COLUMNS_MOST];
    size_t n = 0;
    for (const struct metric_row *row = report_metrics_of(m, experiment);
         row->name && n < COLUMNS_MOST; row++)
        if ((row->direction == METRIC_NEITHER) == (kind == REPORT_SURROUNDINGS) &&
            !report_is_headline(m, experiment, row))
            shown[n++] = row;
    return medians_of(m, experiment, shown, n);
}

const char *report_medians_title(enum report_medians kind)
{
    return kind == REPORT_SURROUNDINGS ? "Around the measurement, medians"
                                       : "From the request, medians";
}
