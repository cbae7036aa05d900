/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The report as comma-separated values: a line a sample (RFC 4180, with LF). */
#include "coordinator/report/format.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct writing {
    const struct report_model *m;
    FILE *out;
};

/* A leading =, +, - or @ would be a formula to a spreadsheet: it is quoted away with a '. */
static void put(const char *text, FILE *out)
{
    bool formula = strchr("=+-@\t\r", *text) && *text;
    if (!formula && !strpbrk(text, "\",\n\r")) {
        fputs(text, out);
        return;
    }
    fputs(formula ? "\"'" : "\"", out);
    for (; *text; text++) {
        if (*text == '"')
            fputc('"', out);
        fputc(*text, out);
    }
    fputc('"', out);
}

/* Text columns from first to last, each followed by its comma. */
static void put_all(const char *const *texts, size_t n, FILE *out)
{
    for (size_t i = 0; i < n; i++) {
        put(texts[i], out);
        fputc(',', out);
    }
}

static int write_result(void *arg, const struct read_result *r, struct err *e)
{
    const struct writing *w = arg;
    if (r->cell >= w->m->plan->n_cells)
        return 0;
    char words[160];
    const char *accelerator =
        report_accelerator(w->m, r->cell, r->host, r->conditions, r->n_conditions);
    const char *const before[] = {w->m->id, w->m->plan->cells[r->cell]->experiment,
                                  report_cell_words(w->m, r->cell, words), accelerator, r->host};
    for (size_t i = 0; i < r->n_samples; i++) {
        const struct read_sample *s = &r->samples[i];
        const char *const after[] = {report_outcome_word(r->outcome), s->metric, s->unit};
        put_all(before, sizeof before / sizeof *before, w->out);
        fprintf(w->out, "%" PRIu32 ",%" PRIu64 ",%" PRIu32 ",%" PRIu32 ",%d,%d,%d,", r->cell,
                r->trial, r->repetition, r->attempt, r->warmup, r->accepted, r->superseded);
        put_all(after, sizeof after / sizeof *after, w->out);
        fprintf(w->out, "%.17g,%" PRId64 ",%" PRId64 "\n", s->value, s->time_ns, s->clock_ns);
    }
    return ferror(w->out) ? err_set(e, ERR_SYSTEM, "cannot write the report") : 0;
}

int report_csv(const struct report_model *m, struct reader *r, FILE *out, struct err *e)
{
    struct writing w = {m, out};
    fputs(
        "campaign,experiment,guest,accelerator,host,cell,trial,repetition,attempt,warmup,accepted,"
        "superseded,outcome,metric,unit,value,time_ns,clock_ns\n",
        out);
    return read_results(r, m->id, 0, 0, write_result, &w, e);
}
