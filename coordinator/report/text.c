/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The report for people at a terminal: the tables, then the words. */
#include "common/cleanup.h"
#include "common/fs.h"
#include "coordinator/report/format.h"
#include "coordinator/report/table.h"
#include "coordinator/report/tables.h"

/* Prints and frees a table with a line on top, unless it has a head only. */
static void print_table(struct table *t, const char *indent, const char *title, FILE *out)
{
    if (table_rows(t) > 1) {
        fprintf(out, "\n%s", indent);
        table_print_clean(title, out);
        fputc('\n', out);
        table_print(t, "  ", out);
    }
    table_free(&t);
}

static void print_metric(const struct report_model *m, const char *experiment,
                         const struct metric_row *row, FILE *out)
{
    cleanup_free char *title =
        fs_path("%s: %s: %s", experiment, row->name, row->help ? row->help : "");
    print_table(report_metric_table(m, experiment, row), "", title, out);
}

static void print_experiment(const struct report_model *m, const char *experiment, FILE *out)
{
    const struct metric_row *rows = report_metrics_of(m, experiment);
    for (const struct metric_row *row = rows; row->name; row++)
        if (report_is_headline(m, experiment, row))
            print_metric(m, experiment, row, out);
    for (int kind = REPORT_PHASES; kind <= REPORT_SURROUNDINGS; kind++)
        print_table(report_medians_table(m, experiment, (enum report_medians)kind), "  ",
                    report_medians_title((enum report_medians)kind), out);
}

/* ---- The head ---- */

static void print_head(const struct report_model *m, FILE *out)
{
    char time[REPORT_TIME_BYTES];
    table_print_clean(m->name, out);
    if (*m->title) {
        fputs(": ", out);
        table_print_clean(m->title, out);
    }
    fprintf(out, "\n%s, %s, %u trials on %zu host%s, submitted ", m->id, m->state, m->trials,
            m->n_hosts, m->n_hosts == 1 ? "" : "s");
    fputs(report_time_words(m->submitted_ns, time), out);
    if (report_has_ended(m)) {
        fputs(", ended ", out);
        fputs(report_time_words(m->ended_ns, time), out);
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
    const char *experiment;
    for (size_t cell = 0; (experiment = report_experiment(m, &cell));)
        print_experiment(m, experiment, out);
    report_notes(m, out);
}
