/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The words below a report's tables: what is not there and why, what to beware of, under which
 * conditions. */
#include "coordinator/report/notes.h"

#include "common/cleanup.h"
#include "common/fs.h"
#include "coordinator/report/format.h"
#include "coordinator/report/table.h"

#include <math.h>
#include <string.h>

enum { WORDS_BYTES = 160 };

static void head(const char *text, FILE *out)
{
    fprintf(out, "\n%s\n", text);
}

char *report_group_words(const struct report_model *m, const struct report_group *g)
{
    char words[WORDS_BYTES];
    report_cell_words(m, g->cell, words);
    return *g->accelerator ? fs_path("%s (%s)", words, g->accelerator) : fs_path("%s", words);
}

static void print_group_name(const struct report_model *m, const struct report_group *g, FILE *out)
{
    cleanup_free char *words = report_group_words(m, g);
    table_print_clean(words, out);
}

bool report_is_emulated(const struct report_group *g)
{
    return strcmp(g->accelerator, "tcg") == 0;
}

bool report_has_emulated(const struct report_model *m)
{
    FOR_GROUPS(m, g)
    if (report_is_emulated(g))
        return true;
    return false;
}

static void note_tcg(const struct report_model *m, FILE *out)
{
    if (report_has_emulated(m))
        fputs(
            "\nFigures under tcg are those of an emulated processor: they say nothing about KVM, "
            "and their ratio\nto a published value of a KVM guest compares two different things.\n",
            out);
}

static void note_unavailable(const struct report_model *m, FILE *out)
{
    if (m->n_unavailable == 0)
        return;
    head("Not available", out);
    for (size_t i = 0; i < m->n_unavailable; i++) {
        const struct report_unavailable *u = &m->unavailable[i];
        char words[WORDS_BYTES];
        fputs("  ", out);
        table_print_clean(report_cell_words(m, u->cell, words), out);
        fprintf(out, " on %s: ", u->host);
        table_print_clean(u->reason, out);
        fputc('\n', out);
    }
}

static void note_missing(const struct report_model *m, FILE *out)
{
    if (m->n_missing == 0)
        return;
    head("Missing", out);
    for (size_t i = 0; i < m->n_missing; i++) {
        const struct report_missing *x = &m->missing[i];
        char words[WORDS_BYTES];
        fprintf(out, "  %u trial%s of ", x->trials, x->trials == 1 ? "" : "s");
        table_print_clean(report_cell_words(m, x->cell, words), out);
        fprintf(out, " on %s", x->host);
        if (*x->reason) {
            fputs(": ", out);
            table_print_clean(x->reason, out);
        }
        fputc('\n', out);
    }
}

static bool any_reason(const struct report_model *m)
{
    FOR_GROUPS(m, g)
    if (g->n_reasons)
        return true;
    return false;
}

static void print_reasons(const struct report_model *m, const struct report_group *g, FILE *out)
{
    for (size_t i = 0; i < g->n_reasons; i++) {
        const struct report_reason *r = &g->reasons[i];
        fputs("  ", out);
        print_group_name(m, g, out);
        fprintf(out, ": %u %s%s: ", r->count, report_outcome_word(r->outcome),
                r->varies ? ", such as" : "");
        table_print_clean(r->text, out);
        fputc('\n', out);
    }
}

void report_rejected(const struct report_model *m, unsigned *ret_least, unsigned *ret_most)
{
    unsigned least = ~0u;
    unsigned most = 0;
    FOR_GROUPS(m, g)
    {
        unsigned rejected = g->counts[PLIMSOLL__OUTCOME__OUTCOME_REJECTED];
        least = rejected < least ? rejected : least;
        most = rejected > most ? rejected : most;
    }
    *ret_least = least < most ? least : most;
    *ret_most = most;
}

/* Attempts that were not simply valid, with a warning where one arm lost more than another: what
 * was thrown away may then be part of the difference. */
static void note_verdicts(const struct report_model *m, FILE *out)
{
    if (!any_reason(m))
        return;
    head(
        "Attempts that were not simply valid (suspect ones are counted, the others were run again)",
        out);
    unsigned least, most;
    report_rejected(m, &least, &most);
    FOR_GROUPS(m, g)
    print_reasons(m, g, out);
    if (most != least)
        fprintf(out,
                "  Warning: from %u to %u attempts were rejected from arm to arm; what was "
                "rejected may be part of the difference.\n",
                least, most);
}

static void note_checks(const struct report_model *m, FILE *out)
{
    for (size_t i = 0; i < m->n_checks; i++) {
        const struct report_check *c = &m->checks[i];
        if (!c->reference->checked)
            continue;
        fprintf(out, "\nCheck %s: %s of ", c->failed ? "FAILED" : "good", c->reference->metric);
        print_group_name(m, c->group, out);
        if (isfinite(c->ratio))
            fprintf(out, " is %.3g times %s's value, allowed is within %g%%\n", c->ratio,
                    c->reference->set, c->reference->within * 100);
        else
            fputs(" was not measured\n", out);
    }
}

/* ---- Conditions ---- */

static bool has_ending(const char *text, const char *ending)
{
    size_t n = strlen(text);
    size_t k = strlen(ending);
    return n >= k && strcmp(text + n - k, ending) == 0;
}

bool report_fact_is_telling(const Plimsoll__Fact *f)
{
    static const char *const endings[] = {"version", "release", "model", "governor", "layout"};
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++)
        if (has_ending(f->key, endings[i]))
            return *f->value && strcmp(f->value, "absent") != 0;
    return false;
}

static void note_hosts(const struct report_model *m, FILE *out)
{
    head(m->n_hosts ? "Hosts" : "No host took part", out);
    for (size_t i = 0; i < m->n_hosts; i++) {
        const struct report_host *h = &m->hosts[i];
        fputs("  ", out);
        table_print_clean(h->name, out);
        fprintf(out, ": %s", *h->software ? h->software : "plimsoll");
        for (size_t k = 0; k < h->fingerprint->n_facts; k++) {
            const Plimsoll__Fact *f = h->fingerprint->facts[k];
            if (!report_fact_is_telling(f))
                continue;
            fputs("; ", out);
            table_print_clean(f->key, out);
            fputc(' ', out);
            table_print_clean(f->value, out);
        }
        fputc('\n', out);
        for (size_t k = 0; k < h->prepared->n_offers; k++) {
            const Plimsoll__Offer *o = h->prepared->offers[k];
            if (!*o->note)
                continue;
            fprintf(out, "  %s, %s: ", h->name, o->guest);
            table_print_clean(o->note, out);
            fputc('\n', out);
        }
    }
}

bool report_condition_is_common(const struct report_model *m, const struct report_condition *wanted)
{
    FOR_GROUPS(m, g)
    {
        bool has = g->n_conditions == 0;
        for (size_t i = 0; i < g->n_conditions; i++) {
            const struct report_condition *c = &g->conditions[i];
            if (strcmp(c->key, wanted->key) != 0)
                continue;
            if (strcmp(c->value, wanted->value) != 0)
                return false;
            has = true;
        }
        if (!has)
            return false;
    }
    return true;
}

/* The group's conditions that all have, or those that not all have; a line where there are any. */
static void print_conditions(const struct report_model *m, const struct report_group *g,
                             bool common, FILE *out)
{
    unsigned n = 0;
    for (size_t i = 0; i < g->n_conditions; i++) {
        const struct report_condition *c = &g->conditions[i];
        if (strcmp(c->key, "accelerator") == 0 || report_condition_is_common(m, c) != common)
            continue;
        if (n++ == 0) {
            fputs("  ", out);
            if (common)
                fputs("all", out);
            else
                print_group_name(m, g, out);
        }
        fputs(n == 1 ? ": " : "; ", out);
        table_print_clean(c->key, out);
        fputc(' ', out);
        table_print_clean(c->value, out);
    }
    if (n)
        fputc('\n', out);
}

static void note_conditions(const struct report_model *m, FILE *out)
{
    bool first = true;
    FOR_GROUPS(m, g)
    {
        if (!g->n_conditions)
            continue;
        if (first) {
            head("Conditions of the counted trials", out);
            print_conditions(m, g, true, out);
        }
        first = false;
        print_conditions(m, g, false, out);
    }
}

void report_notes(const struct report_model *m, FILE *out)
{
    note_tcg(m, out);
    note_checks(m, out);
    note_unavailable(m, out);
    note_missing(m, out);
    note_verdicts(m, out);
    note_hosts(m, out);
    note_conditions(m, out);
}
