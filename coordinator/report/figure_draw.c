/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "coordinator/report/figure_draw.h"

#include "coordinator/report/gnuplot.h"
#include "coordinator/report/markup.h"
#include "coordinator/report/notes.h"
#include "coordinator/report/svg.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { WIDTH = 480, LABEL_CHARACTERS = 40, AXIS_HEIGHT = 30 };

/* ---- Arms ---- */

/* Cuts what would not fit beside the figure's own numbers. */
static void shorten(char *label)
{
    static const char dots[] = "...";
    size_t characters = 0;
    char *cut = NULL;
    for (char *at = label; *at; at++) {
        if (((unsigned char)*at & 0xc0) == 0x80)
            continue;
        characters++;
        if (characters == LABEL_CHARACTERS - 2)
            cut = at;
    }
    if (cut && characters > LABEL_CHARACTERS)
        memcpy(cut, dots, sizeof dots);
}

static void add_arm(const struct report_model *m, const struct report_group *g,
                    const struct report_metric *metric, struct figure_arms *to)
{
    if (to->n == FIGURE_ARMS_MOST) {
        to->beyond++;
        return;
    }
    struct figure_arm *arm = &to->items[to->n++];
    *arm = (struct figure_arm){g, metric, report_group_words(m, g)};
    shorten(arm->label);
    to->values += metric->n;
    to->least = fmin(to->least, metric->summary.least);
    to->most = fmax(to->most, metric->summary.most);
}

void figure_arms_find(const struct report_model *m, const char *experiment, const char *metric,
                      struct figure_arms *ret)
{
    *ret = (struct figure_arms){.least = (double)INFINITY, .most = (double)-INFINITY};
    FOR_GROUPS(m, g)
    {
        const struct report_metric *found = report_metric_find(g, metric);
        if (found && found->n && strcmp(m->plan->cells[g->cell]->experiment, experiment) == 0)
            add_arm(m, g, found, ret);
    }
}

void figure_arms_clear(struct figure_arms *arms)
{
    for (size_t i = 0; i < arms->n; i++)
        free(arms->items[i].label);
    arms->n = 0;
}

unsigned figure_arm_ink(size_t arm)
{
    return INK_ARMS + (unsigned)(arm % ARM_INKS);
}

size_t figure_share(const struct figure_arms *arms, const struct figure_arm *arm)
{
    if (arms->values <= FIGURE_VALUES_MOST)
        return arm->metric->n;
    size_t share = FIGURE_VALUES_MOST / arms->n;
    return arm->metric->n < share ? arm->metric->n : share;
}

size_t figure_place(size_t i, size_t drawn, size_t n)
{
    return drawn < 2 ? 0 : (size_t)((double)i * (double)(n - 1) / (double)(drawn - 1) + 0.5);
}

/* ---- Drawing ---- */

void figure_begin(struct figure *fig, const struct figures *f, double height, double rows)
{
    *fig = (struct figure){0};
    fig->script = open_memstream(&fig->text, &fig->length);
    if (!fig->script)
        abort();
    double whole = height + AXIS_HEIGHT;
    fprintf(fig->script,
            "set terminal svg size %d,%g dynamic noenhanced font 'sans-serif,14' name 'f%u'\n"
            "set encoding utf8\nset border 0\nunset key\nunset ytics\n"
            "set lmargin at screen 0.005\nset rmargin at screen 0.995\n"
            "set tmargin at screen %g\nset bmargin at screen %g\n"
            "set grid xtics lt 1 lw 1 dt solid lc rgb '#000003'\n"
            "set yrange [0:%g]\nset style fill solid 1 noborder\n",
            WIDTH, whole, f->drawn, 1 - 4 / whole, AXIS_HEIGHT / whole, rows);
}

size_t figure_text(struct figure *fig, const char *text)
{
    if (fig->n_texts == sizeof fig->texts / sizeof *fig->texts)
        abort();
    fig->texts[fig->n_texts] = text;
    return fig->n_texts++;
}

static int draw(struct figure *fig, struct figures *f, const char *title, struct err *e)
{
    char *svg = NULL;
    if (gnuplot_run(fig->text, fig->length, &svg, e) < 0)
        return -1;
    const struct svg_page page = {title, fig->texts, fig->n_texts, f->drawn == 0};
    int result = svg_adopt(svg, &page, f->out, e);
    free(svg);
    return result;
}

bool figure_end(struct figure *fig, struct figures *f, const char *title)
{
    struct err e = ERR_INIT;
    if (fclose(fig->script) != 0)
        abort();
    if (draw(fig, f, title, &e) == 0) {
        f->drawn++;
    } else {
        f->failed = true;
        fputs("<p class=\"note\">There are no figures here: ", f->out);
        markup_text(err_text(&e), f->out);
        fputs(", where this report was written. The tables have what they would show.</p>\n",
              f->out);
        err_clear(&e);
    }
    free(fig->text);
    return !f->failed;
}

void figure_key_entry(struct figures *f, unsigned ink, const char *text)
{
    fprintf(f->out, "<li><i class=\"k%u\"></i>", ink);
    markup_name(text, f->out);
    fputs("</li>", f->out);
}
