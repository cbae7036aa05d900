/* SPDX-License-Identifier: GPL-3.0-or-later */
/* coordctl show: one trial with all its attempts, samples, definitions and logs. */
#include "common/cleanup.h"
#include "common/lexer.h"
#include "common/units.h"
#include "coordinator/ctl/campaign.h"
#include "coordinator/plan/plan.h"
#include "coordinator/report/model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int run(int argc, char **argv);

extern const struct verb verb_show;
const struct verb verb_show = {
    .name = "show",
    .arguments = "ID TRIAL",
    .summary = "Show one trial: its attempts, samples, conditions, and what its guest said",
    .help = "  --no-texts              leave out definitions and logs\n" CLIENT_OPTION_HELP
            "`coordctl report ID --format csv` has the trials' numbers.\n",
    .run = run,
};

static void print_samples(const Plimsoll__Attempt *a)
{
    struct table *t = table_new("lrr");
    char value[32];
    for (size_t i = 0; i < a->n_samples; i++) {
        const Plimsoll__Sample *s = a->samples[i];
        table_add(t, "%s", s->metric);
        table_add(t, "%s", units_format_value(s->value, s->unit, value));
        table_add(t, "%.9g %s", s->value, s->unit);
    }
    table_print(t, "  ", stdout);
    table_free(&t);
}

/* Logs are many lines: line ends and tabs stay, other control characters do not reach a terminal.
 */
static void print_text(const Plimsoll__Text *text)
{
    printf("\n  ---- %s ----\n", text->name);
    bool line_start = true;
    for (const char *s = text->text; *s; s++) {
        if (*s == '\r')
            continue;
        if (line_start)
            fputs("  | ", stdout);
        line_start = *s == '\n';
        putchar(utf8_is_control(s) && *s != '\n' && *s != '\t' ? '?' : *s);
    }
    if (!line_start)
        putchar('\n');
}

static void print_attempt(const Plimsoll__Attempt *a, bool with_texts)
{
    printf("\nattempt %u on %s: %s%s%s", a->attempt, a->host, report_outcome_word(a->outcome),
           a->accepted ? ", accepted" : "", a->superseded ? ", superseded" : "");
    if (*a->reason) {
        fputs(": ", stdout);
        table_print_clean(a->reason, stdout);
    }
    putchar('\n');
    print_samples(a);
    struct table *t = table_new("ll");
    for (size_t i = 0; i < a->n_conditions; i++) {
        table_add(t, "%s", a->conditions[i]->key);
        table_add(t, "%s", a->conditions[i]->value);
    }
    table_print(t, "  ", stdout);
    table_free(&t);
    for (size_t i = 0; with_texts && i < a->n_texts; i++)
        print_text(a->texts[i]);
}

static void print_head(const char *campaign, uint64_t trial, const Plimsoll__Cell *cell,
                       bool warmup)
{
    char words[128];
    printf("%s, trial %llu%s: %s\n", campaign, (unsigned long long)trial,
           warmup ? ", a warm-up" : "", cell ? plan_cell_words(cell, words) : "of no known cell");
}

/* ---- From a local store ---- */

struct showing {
    const char *campaign;
    const Plimsoll__Plan *plan;
    uint64_t trial;
    bool with_texts;
    bool found;
};

static int show_trial(void *arg, const struct read_trial *t, struct err *e)
{
    (void)e;
    struct showing *s = arg;
    if (t->trial != s->trial)
        return 0;
    s->found = true;
    print_head(s->campaign, t->trial, t->cell < s->plan->n_cells ? s->plan->cells[t->cell] : NULL,
               t->warmup);
    return 0;
}

static int show_lost(void *arg, const struct read_attempt *a, struct err *e)
{
    (void)e;
    const struct showing *s = arg;
    if (a->trial != s->trial || !*a->lost)
        return 0;
    printf("\nattempt %u on %s: lost: ", a->attempt, a->host);
    table_print_clean(a->lost, stdout);
    putchar('\n');
    return 0;
}

static int show_result(void *arg, const struct read_result *r, struct err *e)
{
    const struct showing *s = arg;
    Plimsoll__Sample *samples = calloc(r->n_samples + 1, sizeof *samples);
    Plimsoll__Sample **pointers = calloc(r->n_samples + 1, sizeof(Plimsoll__Sample *));
    if (samples && pointers) {
        Plimsoll__Attempt a = PLIMSOLL__ATTEMPT__INIT;
        for (size_t i = 0; i < r->n_samples; i++) {
            plimsoll__sample__init(&samples[i]);
            samples[i].metric = (char *)r->samples[i].metric;
            samples[i].unit = (char *)r->samples[i].unit;
            samples[i].value = r->samples[i].value;
            pointers[i] = &samples[i];
        }
        a.attempt = r->attempt;
        a.host = (char *)r->host;
        a.outcome = r->outcome;
        a.accepted = r->accepted;
        a.superseded = r->superseded;
        a.reason = (char *)r->reason;
        a.samples = pointers;
        a.n_samples = r->n_samples;
        a.conditions = (Plimsoll__Factor **)r->conditions;
        a.n_conditions = r->n_conditions;
        a.texts = (Plimsoll__Text **)r->texts;
        a.n_texts = r->n_texts;
        print_attempt(&a, s->with_texts);
    }
    bool good = samples && pointers;
    free(samples);
    free(pointers);
    return good ? 0 : err_set(e, ERR_SYSTEM, "out of memory");
}

static int read_all(struct reader *r, struct showing *s, struct err *e)
{
    Plimsoll__Plan *plan = NULL;
    if (read_plan(r, s->campaign, &plan, e) < 0)
        return -1;
    s->plan = plan;
    int result = read_trials(r, s->campaign, show_trial, s, e);
    if (result == 0 && !s->found)
        result = err_set(e, ERR_NOT_FOUND, "%s has no trial %llu", s->campaign,
                         (unsigned long long)s->trial);
    if (result == 0)
        result = read_results(r, s->campaign, s->trial, READ_WITH_TEXTS, show_result, s, e);
    if (result == 0)
        result = read_attempts(r, s->campaign, show_lost, s, e);
    plimsoll__plan__free_unpacked(plan, NULL);
    return result;
}

static int show_local(const char *store, struct showing *s)
{
    struct reader *r = NULL;
    cleanup_err struct err e = ERR_INIT;
    int result = read_open(store, &r, &e);
    if (result == 0) {
        result = read_all(r, s, &e);
        read_close(&r);
    }
    if (result == 0)
        return EXIT_GOOD;
    fprintf(stderr, "coordctl show: %s\n", err_text(&e));
    return EXIT_USAGE;
}

/* ---- From a coordinator ---- */

static int show_remote(const struct client_options *o, const struct showing *s)
{
    struct client_session session;
    int code = client_session_open(&session, &verb_show, o);
    if (code != EXIT_GOOD)
        return code;
    cleanup_err struct err e = ERR_INIT;
    cleanup_answer Plimsoll__Envelope *answer = NULL;
    Plimsoll__Show show = PLIMSOLL__SHOW__INIT;
    Plimsoll__Envelope request = PLIMSOLL__ENVELOPE__INIT;
    show.campaign = (char *)s->campaign;
    show.trial = s->trial;
    request.kind_case = PLIMSOLL__ENVELOPE__KIND_SHOW;
    request.show = &show;
    if (client_call(session.client, &request, PLIMSOLL__ENVELOPE__KIND_SHOWN, &answer, &e) < 0) {
        code = client_session_fail(&session, &e);
    } else {
        const Plimsoll__Shown *shown = answer->shown;
        print_head(shown->campaign, shown->trial, shown->cell, shown->warmup);
        for (size_t i = 0; i < shown->n_attempts; i++)
            print_attempt(shown->attempts[i], s->with_texts);
    }
    client_session_close(&session);
    return code;
}

static int run(int argc, char **argv)
{
    bool no_texts = false;
    unsigned long long trial = 0;
    struct client_options o = {0};
    char **operands;
    cleanup_free char *store = NULL;
    cleanup_free char *campaign = NULL;
    const struct option_row rows[] = {
        {.name = "no-texts", .flag = &no_texts}, CLIENT_OPTION_ROWS(o), {0}};
    if (options_parse(&verb_show, argc, argv, rows, 2, 2, &operands) < 0 ||
        options_number(&verb_show, "TRIAL", operands[1], UINT32_MAX, &trial) < 0)
        return EXIT_USAGE;
    struct showing s = {.campaign = operands[0], .trial = trial, .with_texts = !no_texts};
    if (!campaign_is_local(&o, operands[0], &store, &campaign))
        return show_remote(&o, &s);
    s.campaign = campaign;
    return show_local(store, &s);
}
