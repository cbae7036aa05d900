/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The report as JSON; JSON.md is its reference. Lists that grow with the samples are written as
 * they are read, one small jansson object at a time, so that memory does not grow with them.
 */
#include "coordinator/report/format.h"
#include "coordinator/report/json_plan.h"

#include <jansson.h>
#include <math.h>
#include <string.h>

enum { SCHEMA = 1 };

struct writing {
    const struct report_model *m;
    FILE *out;
    bool first; /* of the list that is being written */
};

static void open_list(struct writing *w, const char *name)
{
    fprintf(w->out, ",\n\"%s\": [", name);
    w->first = true;
}

static void close_list(struct writing *w)
{
    fputs("\n]", w->out);
}

/* Takes the object. */
static void put(struct writing *w, json_t *item)
{
    fputs(w->first ? "\n" : ",\n", w->out);
    w->first = false;
    json_dumpf(item, w->out, JSON_COMPACT);
    json_decref(item);
}

static void put_member(struct writing *w, const char *name, json_t *value)
{
    fprintf(w->out, "%s\n\"%s\": ", w->first ? "" : ",", name);
    w->first = false;
    json_dumpf(value, w->out, JSON_COMPACT | JSON_ENCODE_ANY);
    json_decref(value);
}

static void set_number(json_t *to, const char *key, double value)
{
    json_object_set_new(to, key, report_json_number(value));
}

static void set_text(json_t *to, const char *key, const char *text)
{
    json_object_set_new(to, key, report_json_text(text));
}

static void set_integer(json_t *to, const char *key, int64_t value)
{
    json_object_set_new(to, key, json_integer(value));
}

static json_t *interval(struct stats_interval i)
{
    json_t *to = json_array();
    json_array_append_new(to, report_json_number(i.low));
    json_array_append_new(to, report_json_number(i.high));
    return to;
}

/* ---- The head ---- */

static json_t *campaign(const struct report_model *m)
{
    json_t *to = json_object();
    char seed[24];
    set_text(to, "id", m->id);
    set_text(to, "name", m->name);
    set_text(to, "title", m->title);
    set_text(to, "state", m->state);
    set_text(to, "note", m->note);
    set_integer(to, "submitted_ns", m->submitted_ns);
    json_object_set_new(to, "ended_ns",
                        report_has_ended(m) ? json_integer(m->ended_ns) : json_null());
    /* 64 bits unsigned: beyond what JSON's readers keep of a number */
    snprintf(seed, sizeof seed, "%llu", (unsigned long long)m->seed);
    set_text(to, "seed", seed);
    json_object_set_new(to, "random_order", json_boolean(m->plan->random_order));
    set_number(to, "confidence", m->confidence);
    set_text(to, "plan", m->plan->text);
    return to;
}

static void put_hosts(struct writing *w)
{
    open_list(w, "hosts");
    for (size_t i = 0; i < w->m->n_hosts; i++)
        put(w, report_json_host(&w->m->hosts[i]));
    close_list(w);
}

static void put_cells(struct writing *w)
{
    open_list(w, "cells");
    for (size_t i = 0; i < w->m->plan->n_cells; i++) {
        char words[160];
        json_t *cell = report_json_cell(w->m->plan->cells[i]);
        set_text(cell, "words", report_cell_words(w->m, (uint32_t)i, words));
        put(w, cell);
    }
    close_list(w);
}

/* ---- Groups ---- */

static json_t *references(const struct report_model *m, const struct report_group *g,
                          const struct report_metric *metric)
{
    json_t *to = json_array();
    for (size_t i = 0; i < m->n_checks; i++) {
        const struct report_check *c = &m->checks[i];
        if (c->group != g || c->metric != metric)
            continue;
        json_t *item = json_object();
        set_text(item, "set", c->reference->set);
        set_number(item, "value", c->reference->value);
        set_number(item, "ratio_of_means", c->ratio);
        json_object_set_new(item, "within",
                            c->reference->checked ? report_json_number(c->reference->within)
                                                  : json_null());
        json_object_set_new(item, "good",
                            c->reference->checked ? json_boolean(!c->failed) : json_null());
        json_array_append_new(to, item);
    }
    return to;
}

static json_t *metric_object(const struct report_model *m, const struct report_group *g,
                             const struct report_metric *metric)
{
    const struct stats_summary *s = &metric->summary;
    json_t *to = json_object();
    set_text(to, "metric", metric->name);
    set_text(to, "unit", metric->unit);
    set_integer(to, "n", (json_int_t)s->n);
    set_number(to, "mean", s->mean);
    set_number(to, "sd", s->sd);
    set_number(to, "median", s->median);
    set_number(to, "least", s->least);
    set_number(to, "most", s->most);
    json_object_set_new(to, "mean_interval", interval(s->mean_interval));
    json_object_set_new(to, "median_interval", interval(s->median_interval));
    json_object_set_new(to, "references", references(m, g, metric));
    return to;
}

static json_t *counts(const struct report_group *g)
{
    json_t *to = json_object();
    for (int o = 0; o <= PLIMSOLL__OUTCOME__OUTCOME_CANCELLED; o++)
        set_integer(to, report_outcome_word((Plimsoll__Outcome)o), g->counts[o]);
    set_integer(to, "warmup", g->warmups);
    set_integer(to, "superseded", g->superseded);
    return to;
}

static json_t *reasons(const struct report_group *g)
{
    json_t *to = json_array();
    for (size_t i = 0; i < g->n_reasons; i++) {
        json_t *item = json_object();
        set_text(item, "outcome", report_outcome_word(g->reasons[i].outcome));
        set_text(item, "reason", g->reasons[i].text);
        set_integer(item, "count", g->reasons[i].count);
        json_array_append_new(to, item);
    }
    return to;
}

/* The definitions and logs of one counted trial of the group: how its guests were really run. */
static int take_texts(void *arg, const struct read_result *r, struct err *e)
{
    (void)e;
    json_t *to = arg;
    for (size_t i = 0; r->accepted && i < r->n_texts; i++)
        set_text(to, r->texts[i]->name, r->texts[i]->text);
    return 0;
}

static int put_group(struct writing *w, struct reader *r, const struct report_group *g,
                     struct err *e)
{
    json_t *to = json_object();
    set_integer(to, "cell", g->cell);
    set_text(to, "accelerator", g->accelerator);
    json_object_set_new(to, "nested", json_boolean(g->nested));
    json_object_set_new(to, "counts", counts(g));
    json_object_set_new(to, "reasons", reasons(g));
    json_t *metrics = json_array();
    for (size_t i = 0; i < g->n_metrics; i++)
        json_array_append_new(metrics, metric_object(w->m, g, &g->metrics[i]));
    json_object_set_new(to, "metrics", metrics);
    json_t *example = json_object();
    json_object_set_new(to, "example", example);
    int result = 0;
    if (g->example) {
        json_t *texts = json_object();
        set_integer(example, "trial", (json_int_t)g->example);
        json_object_set_new(example, "texts", texts);
        result = read_results(r, w->m->id, g->example, READ_WITH_TEXTS | READ_ACCEPTED_ONLY,
                              take_texts, texts, e);
    }
    put(w, to);
    return result;
}

static int put_groups(struct writing *w, struct reader *r, struct err *e)
{
    open_list(w, "groups");
    for (size_t cell = 0; cell < w->m->plan->n_cells; cell++)
        for (const struct report_group *g = w->m->cells[cell]; g; g = g->next)
            if (put_group(w, r, g, e) < 0)
                return -1;
    close_list(w);
    return 0;
}

/* ---- What is not there ---- */

static void put_absences(struct writing *w)
{
    open_list(w, "unavailable");
    for (size_t i = 0; i < w->m->n_unavailable; i++) {
        const struct report_unavailable *u = &w->m->unavailable[i];
        json_t *item = json_object();
        set_integer(item, "cell", u->cell);
        set_text(item, "host", u->host);
        set_text(item, "reason", u->reason);
        put(w, item);
    }
    close_list(w);
    open_list(w, "missing");
    for (size_t i = 0; i < w->m->n_missing; i++) {
        const struct report_missing *x = &w->m->missing[i];
        json_t *item = json_object();
        set_integer(item, "cell", x->cell);
        set_text(item, "host", x->host);
        set_integer(item, "trials", x->trials);
        set_text(item, "reason", x->reason);
        put(w, item);
    }
    close_list(w);
}

/* ---- Results ---- */

static json_t *sample(const struct read_sample *s)
{
    json_t *to = json_object();
    set_text(to, "metric", s->metric);
    set_text(to, "unit", s->unit);
    set_number(to, "value", s->value);
    set_integer(to, "time_ns", s->time_ns);
    return to;
}

static int put_result(void *arg, const struct read_result *r, struct err *e)
{
    struct writing *w = arg;
    if (r->cell >= w->m->plan->n_cells)
        return 0;
    json_t *to = json_object();
    set_integer(to, "trial", (json_int_t)r->trial);
    set_integer(to, "cell", r->cell);
    set_text(to, "accelerator",
             report_accelerator(w->m, r->cell, r->host, r->conditions, r->n_conditions));
    set_text(to, "host", r->host);
    set_integer(to, "repetition", r->repetition);
    set_integer(to, "attempt", r->attempt);
    json_object_set_new(to, "warmup", json_boolean(r->warmup));
    set_text(to, "outcome", report_outcome_word(r->outcome));
    json_object_set_new(to, "accepted", json_boolean(r->accepted));
    json_object_set_new(to, "superseded", json_boolean(r->superseded));
    set_text(to, "reason", r->reason);
    set_integer(to, "clock_ns", r->n_samples ? r->samples[0].clock_ns : 0);
    set_integer(to, "stored_ns", r->stored_ns);
    json_t *conditions = json_object();
    for (size_t i = 0; i < r->n_conditions; i++)
        set_text(conditions, r->conditions[i]->key, r->conditions[i]->value);
    json_object_set_new(to, "conditions", conditions);
    json_t *samples = json_array();
    for (size_t i = 0; i < r->n_samples; i++)
        json_array_append_new(samples, sample(&r->samples[i]));
    json_object_set_new(to, "samples", samples);
    put(w, to);
    return ferror(w->out) ? err_set(e, ERR_SYSTEM, "cannot write the report") : 0;
}

static json_t *verdict_object(const struct report_model *m, const struct report_verdict *v)
{
    json_t *to = json_object();
    set_integer(to, "trials", m->trials);
    set_integer(to, "trials_missing", v->trials_missing);
    set_integer(to, "checks_failed", v->checks_failed);
    set_integer(to, "exit_code", v->exit_code);
    return to;
}

int report_json(const struct report_model *m, struct reader *r,
                const struct report_verdict *verdict, FILE *out, struct err *e)
{
    struct writing w = {.m = m, .out = out, .first = true};
    fputc('{', out);
    put_member(&w, "schema", json_integer(SCHEMA));
    put_member(&w, "software", json_string("plimsoll " PLIMSOLL_VERSION));
    put_member(&w, "campaign", campaign(m));
    put_member(&w, "verdict", verdict_object(m, verdict));
    put_hosts(&w);
    put_cells(&w);
    if (put_groups(&w, r, e) < 0)
        return -1;
    put_absences(&w);
    open_list(&w, "results");
    if (read_results(r, m->id, 0, 0, put_result, &w, e) < 0)
        return -1;
    close_list(&w);
    fputs("\n}\n", out);
    return 0;
}
