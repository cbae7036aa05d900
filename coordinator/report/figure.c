/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "coordinator/report/figure.h"

#include "common/units.h"
#include "coordinator/report/axis.h"
#include "coordinator/report/figure_draw.h"
#include "coordinator/report/tables.h"

#include <math.h>
#include <string.h>

enum { VALUE_BYTES = 32, ROW_HEIGHT = 50, DISTRIBUTION_HEIGHT = 230 };

/* The parts of a row, from its bottom, a row being 1 high. */
static const double label_at = 0.8, marks_at = 0.34, mark_half = 0.24, jitter = 0.15;

static double row_of(const struct figure_arms *arms, size_t arm)
{
    return (double)(arms->n - 1 - arm);
}

/* What was left out of a figure, if anything; ends its caption. */
static void close_figure(struct figures *f, const struct figure_arms *arms)
{
    if (arms->values > FIGURE_VALUES_MOST) {
        size_t drawn = 0;
        for (size_t i = 0; i < arms->n; i++)
            drawn += figure_share(arms, &arms->items[i]);
        fprintf(f->out,
                " Of %zu values %zu are drawn, evenly by rank, each arm's least and greatest among "
                "them.",
                arms->values, drawn);
    }
    if (arms->beyond)
        fprintf(f->out, " The first %zu of %zu arms.", arms->n, arms->n + arms->beyond);
    fputs("</figcaption>\n</figure>\n", f->out);
}

/* An arm's name above its row, and a number at the row's other end. */
static void label_row(struct figure *fig, const struct figure_arms *arms, size_t arm, double value,
                      const char *unit)
{
    char number[VALUE_BYTES];
    double y = row_of(arms, arm) + label_at;
    fprintf(fig->script,
            "set label \"@%zu@\" at graph 0, first %g left textcolor rgb '#000001'\n"
            "set label \"%s\" at graph 1, first %g right textcolor rgb '#000001'\n",
            figure_text(fig, arms->items[arm].label), y, units_format_value(value, unit, number),
            y);
}

/* ---- Samples ---- */

/* Spread over the row so that equal values stay apart: multiples of the golden ratio, which fill an
 * interval evenly however many there are. */
static double offset_of(size_t i)
{
    double turns = (double)i * 0.6180339887498949;
    return (turns - floor(turns) - 0.5) * 2 * jitter;
}

static void put_dots(struct figure *fig, const struct figure_arms *arms, size_t arm)
{
    const struct figure_arm *a = &arms->items[arm];
    size_t drawn = figure_share(arms, a);
    double y = row_of(arms, arm) + marks_at;
    fprintf(fig->script, "$dots%zu << EOD\n", arm);
    for (size_t i = 0; i < drawn; i++)
        fprintf(fig->script, "%.9g %.4f\n", a->metric->values[figure_place(i, drawn, a->metric->n)],
                y + offset_of(i));
    fputs("EOD\n", fig->script);
}

/* Medians as upright strokes, their intervals as lines through them. */
static void put_medians(struct figure *fig, const struct figure_arms *arms)
{
    fputs("$medians << EOD\n", fig->script);
    for (size_t i = 0; i < arms->n; i++)
        fprintf(fig->script, "%.17g %g 0 %g\n", arms->items[i].metric->summary.median,
                row_of(arms, i) + marks_at - mark_half, 2 * mark_half);
    fputs("EOD\n$intervals << EOD\n", fig->script);
    for (size_t i = 0; i < arms->n; i++) {
        const struct stats_interval *s = &arms->items[i].metric->summary.median_interval;
        if (isfinite(s->low) && isfinite(s->high))
            fprintf(fig->script, "%.17g %g %.17g 0\n", s->low, row_of(arms, i) + marks_at,
                    s->high - s->low);
        else
            fputs("NaN NaN NaN NaN\n", fig->script);
    }
    fputs("EOD\n", fig->script);
}

/* The first published value of each arm; how many there are. */
static unsigned put_published(struct figure *fig, const struct figures *f,
                              const struct figure_arms *arms, const char *metric)
{
    unsigned n = 0;
    fputs("$published << EOD\n", fig->script);
    for (size_t i = 0; i < arms->n; i++) {
        const struct report_check *c = report_check_of(f->m, arms->items[i].group, metric, NULL);
        n += c != NULL;
        if (c)
            fprintf(fig->script, "%.17g %g\n", c->reference->value, row_of(arms, i) + marks_at);
        else
            fputs("NaN NaN\n", fig->script);
    }
    fputs("EOD\n", fig->script);
    return n;
}

static void include_published(const struct figures *f, struct figure_arms *arms, const char *metric)
{
    for (size_t i = 0; i < arms->n; i++) {
        const struct report_check *c = report_check_of(f->m, arms->items[i].group, metric, NULL);
        if (!c)
            continue;
        arms->least = fmin(arms->least, c->reference->value);
        arms->most = fmax(arms->most, c->reference->value);
    }
}

static unsigned script_samples(struct figure *fig, const struct figures *f,
                               struct figure_arms *arms, const struct metric_row *row)
{
    include_published(f, arms, row->name);
    struct axis axis = axis_of(arms->least, arms->most, row->unit);
    axis_script(&axis, fig->script);
    for (size_t i = 0; i < arms->n; i++) {
        label_row(fig, arms, i, arms->items[i].metric->summary.median, row->unit);
        put_dots(fig, arms, i);
    }
    put_medians(fig, arms);
    unsigned published = put_published(fig, f, arms, row->name);
    fputs("plot ", fig->script);
    for (size_t i = 0; i < arms->n; i++)
        fprintf(fig->script, "$dots%zu with points pt 7 ps 0.55 lc rgb '#0000%02x' title '@%zu@', ",
                i, figure_arm_ink(i), i);
    fputs("$intervals with vectors nohead lw 2 lc rgb '#000001' title 'intervals', "
          "$medians with vectors nohead lw 3 lc rgb '#000001' title 'medians', "
          "$published with points pt 12 ps 1.1 lw 1.5 lc rgb '#000001' title 'published'\n",
          fig->script);
    return published;
}

void figure_samples(struct figures *f, const char *experiment, const struct metric_row *row)
{
    struct figure fig;
    struct figure_arms arms;
    figure_arms_find(f->m, experiment, row->name, &arms);
    if (arms.n && !f->failed) {
        figure_begin(&fig, f, (double)arms.n * ROW_HEIGHT, (double)arms.n);
        unsigned published = script_samples(&fig, f, &arms, row);
        if (figure_end(&fig, f, "Every sample, and the medians")) {
            fprintf(f->out,
                    "<figcaption>A dot is a sample; the upright stroke is the median, the line "
                    "through it its %g%% interval, which fewer than 6 values do not have.%s",
                    f->m->confidence * 100, published ? " A diamond is the published value." : "");
            close_figure(f, &arms);
        }
    }
    figure_arms_clear(&arms);
}

/* ---- Distribution ---- */

static void put_steps(struct figure *fig, const struct figure_arms *arms, size_t arm,
                      const struct axis *axis)
{
    const struct figure_arm *a = &arms->items[arm];
    size_t drawn = figure_share(arms, a);
    fprintf(fig->script, "$steps%zu << EOD\n%.9g 0\n", arm, axis->low);
    for (size_t i = 0; i < drawn; i++) {
        size_t place = figure_place(i, drawn, a->metric->n);
        fprintf(fig->script, "%.9g %.6g\n", a->metric->values[place],
                (double)(place + 1) / (double)a->metric->n);
    }
    fprintf(fig->script, "%.9g 1\nEOD\n", axis->high);
}

static void script_distribution(struct figure *fig, const struct figure_arms *arms,
                                const struct metric_row *row)
{
    struct axis axis = axis_of(arms->least, arms->most, row->unit);
    axis_script(&axis, fig->script);
    fputs("set lmargin at screen 0.115\n"
          "set ytics scale 0 ('0%%' 0, '25%%' 0.25, '50%%' 0.5, '75%%' 0.75, '100%%' 1) "
          "textcolor rgb '#000002'\nset grid ytics\n",
          fig->script);
    for (size_t i = 0; i < arms->n; i++)
        put_steps(fig, arms, i, &axis);
    for (size_t i = 0; i < arms->n; i++)
        fprintf(fig->script, "%s$steps%zu with steps lw 2 dt %zu lc rgb '#0000%02x' title '@%zu@'",
                i ? ", " : "plot ", i, 1 + i / ARM_INKS, figure_arm_ink(i),
                figure_text(fig, arms->items[i].label));
    fputc('\n', fig->script);
}

static void put_arm_key(struct figures *f, const struct figure_arms *arms)
{
    fputs("<ul class=\"key\">", f->out);
    for (size_t i = 0; i < arms->n; i++)
        figure_key_entry(f, figure_arm_ink(i), arms->items[i].label);
    fputs("</ul>\n", f->out);
}

void figure_distribution(struct figures *f, const char *experiment, const struct metric_row *row)
{
    struct figure fig;
    struct figure_arms arms;
    figure_arms_find(f->m, experiment, row->name, &arms);
    if (arms.n && !f->failed) {
        figure_begin(&fig, f, DISTRIBUTION_HEIGHT, 1.02);
        script_distribution(&fig, &arms, row);
        if (figure_end(&fig, f, "Distribution")) {
            put_arm_key(f, &arms);
            fputs("<figcaption>The part of the samples that is at most so large.", f->out);
            close_figure(f, &arms);
        }
    }
    figure_arms_clear(&arms);
}

/* ---- Phases ---- */

enum { PHASES_MOST = 8 };

/* In the order in which they are reached: the probe's first metric is the last of them. */
static size_t phases_of(const struct report_model *m, const char *experiment,
                        const struct metric_row *ret[PHASES_MOST])
{
    const struct metric_row *rows = report_metrics_of(m, experiment);
    size_t n = 0;
    if (!rows->name || strcmp(rows->name, "start") != 0)
        return 0;
    for (const struct metric_row *row = rows + 1; row->name && n + 1 < PHASES_MOST; row++)
        if (row->direction != METRIC_NEITHER)
            ret[n++] = row;
    ret[n++] = rows;
    return n;
}

/* The end of a phase as a part of the whole; NaN where no mark stamped it. */
static double end_of(const struct figure_arm *arm, const struct metric_row *phase)
{
    const struct report_metric *found = report_metric_find(arm->group, phase->name);
    return found && found->n ? found->summary.median / arm->metric->summary.median : (double)NAN;
}

/* Each phase reaches from the last one that was stamped. */
static bool put_bars(struct figure *fig, const struct figure_arms *arms, size_t phase,
                     const struct metric_row *const *phases)
{
    bool any = false;
    fprintf(fig->script, "$phase%zu << EOD\n", phase);
    for (size_t i = 0; i < arms->n; i++) {
        double from = 0;
        double to = end_of(&arms->items[i], phases[phase]);
        for (size_t k = 0; k < phase; k++)
            from = fmax(from, end_of(&arms->items[i], phases[k]));
        double y = row_of(arms, i) + marks_at;
        if (!(to > from))
            continue;
        any = true;
        fprintf(fig->script, "%.6g %g %.6g %.6g %g %g\n", (from + to) / 2, y, from, to, y - 0.2,
                y + 0.2);
    }
    fputs(any ? "EOD\n" : "NaN NaN NaN NaN NaN NaN\nEOD\n", fig->script);
    return any;
}

static void script_phases(struct figure *fig, const struct figure_arms *arms,
                          const struct metric_row *const *phases, size_t n, bool *ret_used)
{
    fputs("set xrange [0:1]\nset xtics nomirror scale 0 ('0%%' 0, '25%%' 0.25, '50%%' 0.5, "
          "'75%%' 0.75, '100%%' 1) textcolor rgb '#000002'\n",
          fig->script);
    for (size_t i = 0; i < arms->n; i++)
        label_row(fig, arms, i, arms->items[i].metric->summary.median, phases[n - 1]->unit);
    for (size_t i = 0; i < n; i++)
        ret_used[i] = put_bars(fig, arms, i, phases);
    const char *before = "plot ";
    for (size_t i = 0; i < n; i++) {
        if (!ret_used[i])
            continue;
        fprintf(fig->script, "%s$phase%zu with boxxyerror lc rgb '#0000%02x' title '%s'", before, i,
                INK_PHASES + (unsigned)i, i + 1 == n ? "ready" : phases[i]->name);
        before = ", ";
    }
    fputc('\n', fig->script);
}

static void put_phase_key(struct figures *f, const struct metric_row *const *phases, size_t n,
                          const bool *used)
{
    fputs("<ul class=\"key\">", f->out);
    for (size_t i = 0; i < n; i++)
        if (used[i])
            figure_key_entry(f, INK_PHASES + (unsigned)i, i + 1 == n ? "ready" : phases[i]->name);
    fputs("</ul>\n", f->out);
}

void figure_phases(struct figures *f, const char *experiment)
{
    struct figure fig;
    struct figure_arms arms;
    const struct metric_row *phases[PHASES_MOST];
    bool used[PHASES_MOST];
    size_t n = phases_of(f->m, experiment, phases);
    if (n == 0 || f->failed)
        return;
    figure_arms_find(f->m, experiment, phases[n - 1]->name, &arms);
    if (arms.n) {
        figure_begin(&fig, f, (double)arms.n * ROW_HEIGHT, (double)arms.n);
        script_phases(&fig, &arms, phases, n, used);
        arms.values = 0; /* nothing is thinned */
        if (figure_end(&fig, f, "From request to ready")) {
            put_phase_key(f, phases, n, used);
            fputs("<figcaption>Medians, as parts of each arm's median from request to ready; a "
                  "part is named by what it ends with. A phase that nothing stamped is absent.",
                  f->out);
            close_figure(f, &arms);
        }
    }
    figure_arms_clear(&arms);
}
