/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The report as one HTML file that needs nothing else: no network, no script, no other file. */
#include "coordinator/report/html.h"

#include "common/cleanup.h"
#include "common/units.h"
#include "coordinator/report/figure.h"
#include "coordinator/report/format.h"
#include "coordinator/report/markup.h"
#include "coordinator/report/notes.h"
#include "coordinator/report/tables.h"

#include <math.h>
#include <string.h>

enum { VALUE_BYTES = 32 };

/* ---- The head ---- */

static const char *title_of(const struct report_model *m)
{
    return *m->title ? m->title : m->name;
}

static void put_head(const struct report_model *m, FILE *out)
{
    fputs("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
          "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
          "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; "
          "style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'\">\n"
          "<meta name=\"generator\" content=\"plimsoll " PLIMSOLL_VERSION "\">\n<title>",
          out);
    markup_text(title_of(m), out);
    fprintf(out, "</title>\n<style>\n%s</style>\n</head>\n<body>\n", html_style);
}

static void put_heading(const struct report_model *m, FILE *out)
{
    char time[REPORT_TIME_BYTES];
    fputs("<header>\n<p class=\"kicker\">Plimsoll report of ", out);
    markup_name(m->name, out);
    fputs("</p>\n<h1>", out);
    markup_text(title_of(m), out);
    fputs("</h1>\n<p class=\"meta\">", out);
    markup_name(m->id, out);
    fprintf(out, " · %u trials on %zu host%s · submitted %s", m->trials, m->n_hosts,
            m->n_hosts == 1 ? "" : "s", report_time_words(m->submitted_ns, time));
    if (report_has_ended(m))
        fprintf(out, ", ended %s", report_time_words(m->ended_ns, time));
    fputs("</p>\n", out);
}

/* ---- The verdict ---- */

static void say_completeness(const struct report_model *m, FILE *out)
{
    if (!report_has_ended(m))
        fputs("The campaign has not ended; this is what there is so far.", out);
    else if (m->trials == 0)
        fputs("Nothing was measured.", out);
    else if (m->trials_missing == 0)
        fprintf(out, "Complete: %s %u trial%s a result that counts.",
                m->trials == 1 ? "the" : "all", m->trials, m->trials == 1 ? " has" : "s have");
    else
        fprintf(out, "Not complete: of %u trials %u %s missing.", m->trials, m->trials_missing,
                m->trials_missing == 1 ? "is" : "are");
}

static void say_checks(const struct report_model *m, FILE *out)
{
    unsigned checked = 0;
    for (size_t i = 0; i < m->n_checks; i++)
        checked += m->checks[i].reference->checked ? 1 : 0;
    if (m->checks_failed)
        fprintf(out, " %u of %u check%s against a published value failed.", m->checks_failed,
                checked, checked == 1 ? "" : "s");
    else if (checked)
        fprintf(out, " Checked against %u published value%s, each within its range.", checked,
                checked == 1 ? "" : "s");
}

/* The groups of an experiment with the least and the greatest median, emulated ones left out. */
static size_t extremes(const struct report_model *m, const char *experiment, const char *metric,
                       const struct report_group *ret[2])
{
    size_t n = 0;
    double least = (double)INFINITY, most = (double)-INFINITY;
    FOR_GROUPS(m, g)
    {
        const struct report_metric *found = report_metric_find(g, metric);
        if (strcmp(m->plan->cells[g->cell]->experiment, experiment) != 0 || report_is_emulated(g) ||
            !found || found->n == 0)
            continue;
        n++;
        if (found->summary.median < least)
            ret[0] = g;
        if (found->summary.median > most)
            ret[1] = g;
        least = fmin(least, found->summary.median);
        most = fmax(most, found->summary.median);
    }
    return n;
}

static void say_median(const struct report_model *m, const struct report_group *g,
                       const struct metric_row *row, FILE *out)
{
    char value[VALUE_BYTES];
    cleanup_free char *words = report_group_words(m, g);
    markup_name(words, out);
    fprintf(out, " %s",
            units_format_value(report_metric_find(g, row->name)->summary.median, row->unit, value));
}

/* The first experiment's first metric in a sentence. */
static void say_extremes(const struct report_model *m, FILE *out)
{
    const struct report_group *g[2] = {NULL, NULL};
    size_t cell = 0;
    const char *experiment = report_experiment(m, &cell);
    const struct metric_row *row = experiment ? report_metrics_of(m, experiment) : NULL;
    if (!row || !row->name || extremes(m, experiment, row->name, g) < 2 || !g[0] || !g[1])
        return;
    fputs(" Median from the least to the greatest: ", out);
    say_median(m, g[0], row, out);
    fputs(", ", out);
    say_median(m, g[1], row, out);
    fputs(report_has_emulated(m) ? " (emulated guests left out).\n" : ".\n", out);
}

static void put_verdict(const struct report_model *m, FILE *out)
{
    const char *state = m->checks_failed                                     ? " failed"
                        : m->trials_missing || strcmp(m->state, "done") != 0 ? " missing"
                                                                             : "";
    fprintf(out, "<p class=\"verdict%s\">", state);
    say_completeness(m, out);
    say_checks(m, out);
    say_extremes(m, out);
    fputs("</p>\n", out);
}

/* ---- Warnings ---- */

static void warn_checks(const struct report_model *m, FILE *out)
{
    for (size_t i = 0; i < m->n_checks; i++) {
        const struct report_check *c = &m->checks[i];
        if (!c->failed)
            continue;
        cleanup_free char *words = report_group_words(m, c->group);
        fputs("<li>Check failed: ", out);
        markup_name(c->reference->metric, out);
        fputs(" of ", out);
        markup_name(words, out);
        fprintf(out, " is %.3g times the value of ", c->ratio);
        markup_name(c->reference->set, out);
        fprintf(out, "; allowed is within %g%%.</li>\n", c->reference->within * 100);
    }
}

static void put_warnings(const struct report_model *m, FILE *out)
{
    unsigned least, most;
    report_rejected(m, &least, &most);
    if (!m->checks_failed && !report_has_emulated(m) && least == most && !*m->note)
        return;
    fputs("<ul class=\"warnings\">\n", out);
    warn_checks(m, out);
    if (*m->note) {
        fputs("<li>", out);
        markup_text(m->note, out);
        fputs("</li>\n", out);
    }
    if (report_has_emulated(m))
        fputs("<li>Figures under tcg are those of an emulated processor: they say nothing about "
              "KVM, and their ratio to a published value of a KVM guest compares two different "
              "things.</li>\n",
              out);
    if (least != most)
        fprintf(out,
                "<li>From %u to %u attempts were rejected from arm to arm; what was rejected may "
                "be part of the difference.</li>\n",
                least, most);
    fputs("</ul>\n", out);
}

/* ---- Experiments ---- */

static void put_metric(struct figures *f, const char *experiment, const struct metric_row *row)
{
    const struct report_model *m = f->m;
    FILE *out = f->out;
    struct table *t = report_metric_table(m, experiment, row);
    fputs("<h3>", out);
    markup_text(row->help ? row->help : row->name, out);
    fputs("</h3>\n", out);
    markup_table(t, out);
    table_free(&t);
    fputs("<div class=\"figures\">\n", out);
    figure_samples(f, experiment, row);
    figure_distribution(f, experiment, row);
    fputs("</div>\n", out);
}

static void put_medians(const struct report_model *m, const char *experiment,
                        enum report_medians kind, FILE *out)
{
    struct table *t = report_medians_table(m, experiment, kind);
    if (table_rows(t) > 1) {
        fprintf(out, "<h3>%s</h3>\n", report_medians_title(kind));
        markup_table(t, out);
    }
    table_free(&t);
}

static void put_experiment(struct figures *f, const char *experiment)
{
    const struct report_model *m = f->m;
    FILE *out = f->out;
    fputs("<section>\n<h2>", out);
    markup_text(experiment, out);
    fputs("</h2>\n", out);
    for (const struct metric_row *row = report_metrics_of(m, experiment); row->name; row++)
        if (report_is_headline(m, experiment, row))
            put_metric(f, experiment, row);
    put_medians(m, experiment, REPORT_PHASES, out);
    fputs("<div class=\"figures\">\n", out);
    figure_phases(f, experiment);
    fputs("</div>\n", out);
    put_medians(m, experiment, REPORT_SURROUNDINGS, out);
    fputs("</section>\n", out);
}

void report_html(const struct report_model *m, FILE *out)
{
    struct figures figures = {.m = m, .out = out};
    put_head(m, out);
    put_heading(m, out);
    put_verdict(m, out);
    put_warnings(m, out);
    fputs("</header>\n<main>\n", out);
    const char *experiment;
    for (size_t cell = 0; (experiment = report_experiment(m, &cell));)
        put_experiment(&figures, experiment);
    html_absences(m, out);
    html_conditions(m, out);
    html_reproduce(m, out);
    fputs("</main>\n<footer>Written by plimsoll " PLIMSOLL_VERSION
          ". Every sample is in the json report.</footer>\n</body>\n</html>\n",
          out);
}
