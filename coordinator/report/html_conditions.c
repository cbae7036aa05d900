/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Below the figures: what is not there and why, under which conditions the rest was measured, and
 * the plan. */
#include "common/cleanup.h"
#include "common/fs.h"
#include "coordinator/report/html.h"
#include "coordinator/report/markup.h"
#include "coordinator/report/notes.h"
#include "coordinator/report/table.h"

#include <inttypes.h>
#include <string.h>

enum { WORDS_BYTES = 160 };

/* Writes and frees a table whose last column holds sentences; a line in its place where it has no
 * rows. */
static void put_table(struct table *t, const char *title, const char *otherwise, FILE *out)
{
    if (table_rows(t) > 1) {
        fprintf(out, "<h3>%s</h3>\n<div class=\"wide\">\n", title);
        markup_table(t, out);
        fputs("</div>\n", out);
    } else if (otherwise) {
        fprintf(out, "<p>%s</p>\n", otherwise);
    }
    table_free(&t);
}

/* A table with the texts of its head. */
static struct table *table_with(const char *columns, const char *const *head)
{
    struct table *t = table_new(columns);
    for (; *head; head++)
        table_add(t, "%s", *head);
    return t;
}

/* ---- What is not there ---- */

static void add_reasons(struct table *t, const struct report_model *m, const struct report_group *g)
{
    cleanup_free char *words = report_group_words(m, g);
    for (size_t i = 0; i < g->n_reasons; i++) {
        const struct report_reason *r = &g->reasons[i];
        table_add(t, "%s", words);
        table_add(t, "%s", report_outcome_word(r->outcome));
        table_add(t, "%u", r->count);
        table_add(t, "%s%s", r->varies ? "such as: " : "", r->text);
    }
}

static void put_reasons(const struct report_model *m, FILE *out)
{
    static const char *const head[] = {"arm", "verdict", "attempts", "reason", NULL};
    struct table *t = table_with("llrl", head);
    FOR_GROUPS(m, g)
    add_reasons(t, m, g);
    put_table(t, "Attempts that were not simply valid", "Every attempt was valid.", out);
}

static void put_missing(const struct report_model *m, FILE *out)
{
    static const char *const head[] = {"cell", "host", "trials", "last reason", NULL};
    char words[WORDS_BYTES];
    struct table *t = table_with("llrl", head);
    for (size_t i = 0; i < m->n_missing; i++) {
        const struct report_missing *x = &m->missing[i];
        table_add(t, "%s", report_cell_words(m, x->cell, words));
        table_add(t, "%s", x->host);
        table_add(t, "%u", x->trials);
        table_add(t, "%s", x->reason);
    }
    put_table(t, "Missing", NULL, out);
}

static void put_unavailable(const struct report_model *m, FILE *out)
{
    static const char *const head[] = {"cell", "host", "reason", NULL};
    char words[WORDS_BYTES];
    struct table *t = table_with("lll", head);
    for (size_t i = 0; i < m->n_unavailable; i++) {
        const struct report_unavailable *u = &m->unavailable[i];
        table_add(t, "%s", report_cell_words(m, u->cell, words));
        table_add(t, "%s", u->host);
        table_add(t, "%s", u->reason);
    }
    put_table(t, "Not available, said beforehand", NULL, out);
}

static void put_counts(const struct report_model *m, FILE *out)
{
    static const char *const head[] = {"arm",  "valid",     "suspect",    "rejected", "failed",
                                       "lost", "cancelled", "superseded", "warm-ups", NULL};
    static const Plimsoll__Outcome shown[] = {
        PLIMSOLL__OUTCOME__OUTCOME_VALID,    PLIMSOLL__OUTCOME__OUTCOME_SUSPECT,
        PLIMSOLL__OUTCOME__OUTCOME_REJECTED, PLIMSOLL__OUTCOME__OUTCOME_FAILED,
        PLIMSOLL__OUTCOME__OUTCOME_UNKNOWN,  PLIMSOLL__OUTCOME__OUTCOME_CANCELLED,
    };
    struct table *t = table_with("lrrrrrrrr", head);
    FOR_GROUPS(m, g)
    {
        cleanup_free char *words = report_group_words(m, g);
        table_add(t, "%s", words);
        for (size_t i = 0; i < sizeof shown / sizeof *shown; i++)
            table_add(t, "%u", g->counts[shown[i]]);
        table_add(t, "%u", g->superseded);
        table_add(t, "%u", g->warmups);
    }
    put_table(t, "Attempts by arm", NULL, out);
}

void html_absences(const struct report_model *m, FILE *out)
{
    fputs(
        "<section>\n<h2>What counted and what did not</h2>\n"
        "<p>Valid and suspect attempts are in the figures; warm-ups never are. What was rejected, "
        "failed or lost was run again, up to a limit.</p>\n",
        out);
    put_counts(m, out);
    put_reasons(m, out);
    put_missing(m, out);
    put_unavailable(m, out);
    fputs("</section>\n", out);
}

/* ---- Conditions ---- */

static void put_design(const struct report_model *m, FILE *out)
{
    fprintf(out,
            "<dl>\n<dt>order</dt><dd>%s</dd>\n<dt>seed</dt><dd>%" PRIu64 "</dd>\n"
            "<dt>confidence of the intervals</dt><dd>%g%%</dd>\n<dt>state</dt><dd>",
            m->plan->random_order ? "random, blocked by host" : "as the plan says", m->seed,
            m->confidence * 100);
    markup_text(m->state, out);
    fputs("</dd>\n</dl>\n", out);
}

static void put_offers(const struct report_model *m, FILE *out)
{
    static const char *const head[] = {
        "host", "guest", "accelerator", "nested", "image", "digest of the image", "note", NULL};
    struct table *t = table_with("lllllll", head);
    for (size_t i = 0; i < m->n_hosts; i++) {
        const struct report_host *h = &m->hosts[i];
        for (size_t k = 0; k < h->prepared->n_offers; k++) {
            const Plimsoll__Offer *o = h->prepared->offers[k];
            table_add(t, "%s", h->name);
            table_add(t, "%s", o->guest);
            table_add(t, "%s", o->accelerator);
            table_add(t, "%s", !*o->accelerator ? "" : o->nested ? "yes" : "no");
            table_add(t, "%s", o->image);
            table_add(t, "%s", o->image_digest);
            table_add(t, "%s", o->available ? o->note : o->reason);
        }
    }
    put_table(t, "Guests as the hosts offered them", NULL, out);
}

static void put_telling(const struct report_model *m, FILE *out)
{
    static const char *const head[] = {"host", "fact", "value", NULL};
    struct table *t = table_with("lll", head);
    for (size_t i = 0; i < m->n_hosts; i++) {
        const struct report_host *h = &m->hosts[i];
        table_add(t, "%s", h->name);
        table_add(t, "software");
        table_add(t, "%s", *h->software ? h->software : "plimsoll");
        for (size_t k = 0; k < h->fingerprint->n_facts; k++) {
            const Plimsoll__Fact *f = h->fingerprint->facts[k];
            if (!report_fact_is_telling(f))
                continue;
            table_add(t, "%s", h->name);
            table_add(t, "%s", f->key);
            table_add(t, "%s", f->value);
        }
    }
    put_table(t, "Hosts", "No host took part.", out);
}

static void put_facts(const struct report_host *h, FILE *out)
{
    fputs("<details><summary>Everything that ", out);
    markup_name(h->name, out);
    fputs(" said of itself</summary>\n<dl>\n", out);
    for (size_t k = 0; k < h->fingerprint->n_facts; k++) {
        const Plimsoll__Fact *f = h->fingerprint->facts[k];
        fputs("<dt>", out);
        markup_text(f->key, out);
        fputs("</dt><dd>", out);
        markup_text(f->value, out);
        fputs("</dd>\n", out);
    }
    fputs("</dl></details>\n", out);
}

static void add_conditions(struct table *t, const struct report_model *m,
                           const struct report_group *g, bool common)
{
    cleanup_free char *words = report_group_words(m, g);
    for (size_t i = 0; i < g->n_conditions; i++) {
        const struct report_condition *c = &g->conditions[i];
        if (strcmp(c->key, "accelerator") == 0 || report_condition_is_common(m, c) != common)
            continue;
        table_add(t, "%s", common ? "all" : words);
        table_add(t, "%s", c->key);
        if (common)
            table_add(t, "%s", "");
        else
            table_add(t, "%u", c->count);
        table_add(t, "%s", c->value);
    }
}

static void put_trial_conditions(const struct report_model *m, FILE *out)
{
    static const char *const head[] = {"arm", "condition", "trials", "value", NULL};
    struct table *t = table_with("llrl", head);
    bool first = true;
    FOR_GROUPS(m, g)
    {
        if (first && g->n_conditions) {
            add_conditions(t, m, g, true);
            first = false;
        }
        add_conditions(t, m, g, false);
    }
    put_table(t, "Conditions of the counted trials", NULL, out);
}

void html_conditions(const struct report_model *m, FILE *out)
{
    fputs("<section>\n<h2>Conditions</h2>\n", out);
    put_design(m, out);
    put_telling(m, out);
    put_offers(m, out);
    put_trial_conditions(m, out);
    for (size_t i = 0; i < m->n_hosts; i++)
        put_facts(&m->hosts[i], out);
    fputs("</section>\n", out);
}

/* ---- The plan ---- */

void html_reproduce(const struct report_model *m, FILE *out)
{
    fputs(
        "<section>\n<h2>To do it again</h2>\n<p>Save this plan and run <code>coordctl run "
        "FILE</code> on one host, or <code>coordctl submit FILE</code> for a fleet. The same seed "
        "on hosts of the same names gives the same order.</p>\n"
        "<details><summary>The plan</summary>\n<pre>",
        out);
    markup_block(m->plan->text, out);
    fputs("</pre></details>\n</section>\n", out);
}
