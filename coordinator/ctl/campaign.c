/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "coordinator/ctl/campaign.h"

#include "common/cleanup.h"
#include "common/clock.h"
#include "coordinator/ctl/place.h"
#include "coordinator/ctl/progress.h"
#include "coordinator/store/read.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

/* ---- Words ---- */

static const char *time_words(int64_t realtime_ns, char *buffer, size_t size)
{
    time_t seconds = (time_t)(realtime_ns / NS_PER_S);
    struct tm tm;
    localtime_r(&seconds, &tm);
    strftime(buffer, size, "%F %T", &tm);
    return buffer;
}

struct table *campaign_table(void)
{
    struct table *t = table_new("llrrrrl");
    static const char *const head[] = {"campaign", "state",    "done",     "trials",
                                       "failed",   "rejected", "submitted"};
    for (size_t i = 0; i < sizeof head / sizeof *head; i++)
        table_add(t, "%s", head[i]);
    return t;
}

void campaign_add_row(struct table *t, const Plimsoll__Campaign *c)
{
    char when[32];
    table_add(t, "%s", c->id);
    table_add(t, "%s", c->state);
    table_add(t, "%llu", (unsigned long long)c->accepted);
    table_add(t, "%llu", (unsigned long long)c->trials);
    table_add(t, "%llu", (unsigned long long)c->failed);
    table_add(t, "%llu", (unsigned long long)c->rejected);
    table_add(t, "%s", time_words(c->submitted_ns, when, sizeof when));
}

void campaign_print(const Plimsoll__Campaign *c)
{
    char when[32];
    char left[48];
    printf("%s: %s, submitted %s\n", c->id, c->state,
           time_words(c->submitted_ns, when, sizeof when));
    printf("  %llu of %llu trials are done; %llu attempts failed, %llu were rejected\n",
           (unsigned long long)c->accepted, (unsigned long long)c->trials,
           (unsigned long long)c->failed, (unsigned long long)c->rejected);
    if (c->unavailable)
        printf("  %llu cells are not available on some host; the report says why\n",
               (unsigned long long)c->unavailable);
    if (c->left_ns)
        printf("  about %s left\n", progress_duration(c->left_ns, left));
    if (*c->note) {
        fputs("  ", stdout);
        table_print_clean(c->note, stdout);
        putchar('\n');
    }
    struct table *t = table_new("lrll");
    for (size_t i = 0; i < c->n_activity; i++) {
        table_add(t, "%s", c->activity[i]->host);
        table_add(t, "%llu", (unsigned long long)c->activity[i]->trial);
        table_add(t, "%s", c->activity[i]->cell);
        table_add(t, "%s", c->activity[i]->stage);
    }
    for (size_t i = 0; i < c->n_missing; i++) {
        table_add(t, "%s", c->missing[i]->host);
        table_add(t, "%u missing", c->missing[i]->trials);
        table_add(t, "%s", c->missing[i]->cell);
        table_add(t, "%s", c->missing[i]->reason);
    }
    if (c->n_activity + c->n_missing)
        table_print(t, "  ", stdout);
    table_free(&t);
}

int campaign_exit_code(const Plimsoll__Campaign *c)
{
    static const char *const short_ends[] = {"cancelled", "incomplete", "failed"};
    if (c->trials == 0 && c->unavailable > 0)
        return EXIT_GOOD; /* announced, so not missing */
    for (size_t i = 0; i < sizeof short_ends / sizeof *short_ends; i++)
        if (strcmp(c->state, short_ends[i]) == 0)
            return EXIT_MISSING;
    return EXIT_GOOD;
}

/* ---- From a local run's store ---- */

struct reading {
    struct reader *reader;
    campaign_call *call;
    void *arg;
};

static int take_campaign(void *arg, const struct read_campaign *from, struct err *e)
{
    const struct reading *r = arg;
    struct read_counts counts;
    if (read_counts(r->reader, from->id, &counts, e) < 0)
        return -1;
    Plimsoll__Campaign c = PLIMSOLL__CAMPAIGN__INIT;
    c.id = (char *)from->id;
    c.name = (char *)from->name;
    c.state = (char *)from->state;
    c.note = (char *)from->note;
    c.submitted_ns = from->submitted_ns;
    c.trials = counts.trials;
    c.accepted = counts.accepted;
    c.failed = counts.failed;
    c.rejected = counts.rejected;
    c.unavailable = counts.unavailable;
    r->call(r->arg, &c);
    return 0;
}

int campaign_read_store(const char *store, unsigned most, campaign_call *call, void *arg,
                        struct err *e)
{
    struct reading r = {.call = call, .arg = arg};
    if (read_open(store, &r.reader, e) < 0)
        return -1;
    int result = read_campaigns(r.reader, most, take_campaign, &r, e);
    read_close(&r.reader);
    return result;
}

bool campaign_is_local(struct client_options *o, const char *id, char **ret_store,
                       char **ret_campaign)
{
    if (o->endpoint)
        return false;
    o->sought = id;
    return place_store(id, ret_store, ret_campaign, NULL) == 0;
}

/* ---- From a coordinator ---- */

int campaign_parse(const struct verb *v, int argc, char **argv, struct client_options *o,
                   const char **ret_id)
{
    char **operands;
    const struct option_row rows[] = {CLIENT_OPTION_ROWS(*o), {0}};
    if (options_parse(v, argc, argv, rows, 1, 1, &operands) < 0)
        return -1;
    *ret_id = operands[0];
    return 0;
}

struct following {
    struct progress progress;
    int exit_code;
};

static int on_changed(void *arg, const Plimsoll__Campaign *c)
{
    struct following *f = arg;
    progress_show(&f->progress, c);
    f->exit_code = campaign_exit_code(c);
    return 0;
}

int campaign_follow(struct client_session *s, const char *id)
{
    struct following f = {0};
    cleanup_err struct err e = ERR_INIT;
    progress_start(&f.progress);
    int result = client_watch(s->client, id, on_changed, &f, &e);
    progress_end(&f.progress);
    return result < 0 ? client_session_fail(s, &e) : f.exit_code;
}

Plimsoll__Envelope *campaign_ask(struct client_session *s, const char *id, int *ret_code)
{
    Plimsoll__Status status = PLIMSOLL__STATUS__INIT;
    Plimsoll__Envelope request = PLIMSOLL__ENVELOPE__INIT;
    Plimsoll__Envelope *answer = NULL;
    cleanup_err struct err e = ERR_INIT;
    status.campaign = (char *)id;
    request.kind_case = PLIMSOLL__ENVELOPE__KIND_STATUS;
    request.status = &status;
    if (client_call(s->client, &request, PLIMSOLL__ENVELOPE__KIND_CAMPAIGNS, &answer, &e) == 0 &&
        answer->campaigns->n_campaigns == 1)
        return answer;
    if (e.code == ERR_NONE)
        err_set(&e, ERR_NOT_FOUND, "the coordinator knows no campaign `%s`", id);
    *ret_code = client_session_fail(s, &e);
    client_answer_free(&answer);
    return NULL;
}
