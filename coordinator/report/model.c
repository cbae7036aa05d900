/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "coordinator/report/model.h"

#include "common/cleanup.h"
#include "common/fs.h"
#include "coordinator/plan/plan.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What the reading carries beside the model. */
struct building {
    struct report_model *m;
    uint32_t *trial_cell; /* by trial - 1 */
    size_t n_trials, capacity;
};

/* Room for one more of `size` bytes behind `n`, zeroed; the array doubles. NULL when memory is out.
 */
static void *grow(void *array_pointer, size_t n, size_t size)
{
    void **array = array_pointer;
    if ((n & (n - 1)) == 0) {
        void *larger = reallocarray(*array, n ? 2 * n : 1, size);
        if (!larger)
            return NULL;
        *array = larger;
    }
    return memset((char *)*array + n * size, 0, size);
}

static int out_of_memory(struct err *e)
{
    return err_set(e, ERR_SYSTEM, "out of memory");
}

static char *copy(const char *text)
{
    return fs_path("%s", text ? text : "");
}

const char *report_outcome_word(Plimsoll__Outcome o)
{
    switch (o) {
    case PLIMSOLL__OUTCOME__OUTCOME_VALID:
        return "valid";
    case PLIMSOLL__OUTCOME__OUTCOME_SUSPECT:
        return "suspect";
    case PLIMSOLL__OUTCOME__OUTCOME_REJECTED:
        return "rejected";
    case PLIMSOLL__OUTCOME__OUTCOME_FAILED:
        return "failed";
    case PLIMSOLL__OUTCOME__OUTCOME_CANCELLED:
        return "cancelled";
    default:
        return "lost";
    }
}

bool report_has_ended(const struct report_model *m)
{
    return m->ended_ns != 0;
}

const char *report_cell_words(const struct report_model *m, uint32_t cell, char *buffer)
{
    char words[128];
    const Plimsoll__Cell *c = m->plan->cells[cell];
    plan_cell_words(c, words);
    snprintf(buffer, 160, "%s", words);
    return buffer;
}

const struct report_metric *report_metric_find(const struct report_group *g, const char *name)
{
    for (size_t i = 0; i < g->n_metrics; i++)
        if (strcmp(g->metrics[i].name, name) == 0)
            return &g->metrics[i];
    return NULL;
}

/* ---- Groups ---- */

static const Plimsoll__Offer *find_offer(const struct report_host *h, const Plimsoll__Cell *cell)
{
    for (size_t i = 0; i < h->prepared->n_offers; i++) {
        const Plimsoll__Offer *o = h->prepared->offers[i];
        bool same_image = !cell->image || !*o->image || strcmp(o->image, cell->image->name) == 0;
        if (cell->guest && strcmp(o->guest, cell->guest->name) == 0 && same_image)
            return o;
    }
    return NULL;
}

static const Plimsoll__Offer *offer_of(const struct report_model *m, uint32_t cell,
                                       const char *host)
{
    for (size_t i = 0; i < m->n_hosts; i++)
        if (strcmp(m->hosts[i].name, host) == 0)
            return find_offer(&m->hosts[i], m->plan->cells[cell]);
    return NULL;
}

const char *report_accelerator(const struct report_model *m, uint32_t cell, const char *host,
                               Plimsoll__Factor *const *conditions, size_t n_conditions)
{
    for (size_t i = 0; i < n_conditions; i++)
        if (strcmp(conditions[i]->key, "accelerator") == 0)
            return conditions[i]->value;
    const Plimsoll__Offer *o = offer_of(m, cell, host);
    return o ? o->accelerator : "";
}

static struct report_group *group_of(struct report_model *m, uint32_t cell, const char *accelerator)
{
    struct report_group **at = &m->cells[cell];
    for (; *at; at = &(*at)->next)
        if (strcmp((*at)->accelerator, accelerator) == 0)
            return *at;
    struct report_group *g = calloc(1, sizeof *g);
    if (!g)
        return NULL;
    g->cell = cell;
    g->accelerator = copy(accelerator);
    *at = g;
    return g;
}

/* Whether two reasons are the same but for their figures ("90% slower", "152% slower"). */
static bool same_reason(const char *a, const char *b)
{
    static const char figures[] = "0123456789.";
    for (;;) {
        size_t skip_a = strspn(a, figures);
        size_t skip_b = strspn(b, figures);
        if ((skip_a == 0) != (skip_b == 0))
            return false;
        a += skip_a;
        b += skip_b;
        if (*a != *b)
            return false;
        if (!*a)
            return true;
        a++;
        b++;
    }
}

static int count_reason(struct report_group *g, Plimsoll__Outcome outcome, const char *text)
{
    for (size_t i = 0; i < g->n_reasons; i++) {
        struct report_reason *r = &g->reasons[i];
        if (r->outcome == outcome && same_reason(r->text, text)) {
            r->varies = r->varies || strcmp(r->text, text) != 0;
            r->count++;
            return 0;
        }
    }
    struct report_reason *r = grow(&g->reasons, g->n_reasons, sizeof *r);
    if (!r)
        return -1;
    *r = (struct report_reason){.outcome = outcome, .text = copy(text), .count = 1};
    g->n_reasons++;
    return 0;
}

/* Conditions that differ from result to result (a digest of a log, a delay) must not grow the
 * model. */
enum { CONDITION_VALUES_MOST = 64 };

static int count_condition(struct report_group *g, const Plimsoll__Factor *f)
{
    for (size_t i = 0; i < g->n_conditions; i++) {
        struct report_condition *c = &g->conditions[i];
        if (strcmp(c->key, f->key) == 0 && strcmp(c->value, f->value) == 0) {
            c->count++;
            return 0;
        }
    }
    if (g->n_conditions == CONDITION_VALUES_MOST)
        return 0;
    struct report_condition *c = grow(&g->conditions, g->n_conditions, sizeof *c);
    if (!c)
        return -1;
    *c = (struct report_condition){copy(f->key), copy(f->value), 1};
    g->n_conditions++;
    return 0;
}

static int add_value(struct report_group *g, const struct read_sample *s)
{
    struct report_metric *metric = (struct report_metric *)report_metric_find(g, s->metric);
    if (!metric) {
        metric = grow(&g->metrics, g->n_metrics, sizeof *metric);
        if (!metric)
            return -1;
        metric->name = copy(s->metric);
        metric->unit = copy(s->unit);
        g->n_metrics++;
    }
    if (!isfinite(s->value))
        return 0;
    if (metric->n == metric->capacity) {
        size_t capacity = metric->capacity ? metric->capacity * 2 : 16;
        double *larger = reallocarray(metric->values, capacity, sizeof *larger);
        if (!larger)
            return -1;
        metric->values = larger;
        metric->capacity = capacity;
    }
    metric->values[metric->n++] = s->value;
    return 0;
}

/* ---- Reading ---- */

static int take_campaign(void *arg, const struct read_campaign *c, struct err *e)
{
    (void)e;
    struct report_model *m = arg;
    m->id = copy(c->id);
    m->name = copy(c->name);
    m->title = copy(c->title);
    m->state = copy(c->state);
    m->note = copy(c->note);
    m->submitted_ns = c->submitted_ns;
    m->ended_ns = c->ended_ns;
    m->seed = c->seed;
    return 0;
}

static ProtobufCMessage *copy_message(const ProtobufCMessage *message)
{
    size_t length = protobuf_c_message_get_packed_size(message);
    cleanup_free uint8_t *packed = malloc(length ? length : 1);
    if (!packed)
        return NULL;
    protobuf_c_message_pack(message, packed);
    return protobuf_c_message_unpack(message->descriptor, NULL, length, packed);
}

static int take_host(void *arg, const struct read_host *h, struct err *e)
{
    struct report_model *m = arg;
    struct report_host *to = grow(&m->hosts, m->n_hosts, sizeof *to);
    if (!to)
        return out_of_memory(e);
    m->n_hosts++;
    to->name = copy(h->name);
    to->group = copy(h->group);
    to->software = copy(h->software);
    to->fingerprint = (Plimsoll__Fingerprint *)copy_message(&h->fingerprint->base);
    to->prepared = (Plimsoll__Prepared *)copy_message(&h->prepared->base);
    return to->fingerprint && to->prepared ? 0 : out_of_memory(e);
}

static int count_missing(struct report_model *m, const struct read_trial *t)
{
    m->trials_missing++;
    for (size_t i = 0; i < m->n_missing; i++) {
        struct report_missing *x = &m->missing[i];
        if (x->cell != t->cell || strcmp(x->host, t->host) != 0)
            continue;
        x->trials++;
        if (*t->last_reason) {
            free(x->reason);
            x->reason = copy(t->last_reason);
        }
        return 0;
    }
    struct report_missing *x = grow(&m->missing, m->n_missing, sizeof *x);
    if (!x)
        return -1;
    *x = (struct report_missing){t->cell, copy(t->host), copy(t->last_reason), 1};
    m->n_missing++;
    return 0;
}

static int take_trial(void *arg, const struct read_trial *t, struct err *e)
{
    struct building *b = arg;
    if (t->cell >= b->m->plan->n_cells)
        return err_set(e, ERR_SYSTEM, "the store's trial %llu is of a cell that its plan lacks",
                       (unsigned long long)t->trial);
    b->m->trials++;
    if (t->trial == b->n_trials + 1) {
        uint32_t *cell = grow(&b->trial_cell, b->n_trials, sizeof *cell);
        if (!cell)
            return out_of_memory(e);
        *cell = t->cell;
        b->n_trials++;
    }
    bool missing = t->state == READ_TRIAL_GIVEN_UP ||
                   (report_has_ended(b->m) && t->state != READ_TRIAL_ACCEPTED);
    return missing && count_missing(b->m, t) < 0 ? out_of_memory(e) : 0;
}

static int take_values(struct report_group *g, const struct read_result *r)
{
    if (!g->example)
        g->example = r->trial;
    for (size_t i = 0; i < r->n_samples; i++)
        if (add_value(g, &r->samples[i]) < 0)
            return -1;
    for (size_t i = 0; i < r->n_conditions; i++)
        if (count_condition(g, r->conditions[i]) < 0)
            return -1;
    return 0;
}

static int take_result(void *arg, const struct read_result *r, struct err *e)
{
    struct report_model *m = arg;
    if (r->cell >= m->plan->n_cells)
        return 0;
    const char *accelerator =
        report_accelerator(m, r->cell, r->host, r->conditions, r->n_conditions);
    struct report_group *g = group_of(m, r->cell, accelerator);
    if (!g)
        return out_of_memory(e);
    if (r->superseded) {
        g->superseded++;
        return 0;
    }
    if (r->warmup) {
        g->warmups++;
        if (r->accepted)
            return 0;
    } else {
        g->counts[r->outcome <= PLIMSOLL__OUTCOME__OUTCOME_CANCELLED ? r->outcome : 0]++;
    }
    if (r->outcome != PLIMSOLL__OUTCOME__OUTCOME_VALID &&
        count_reason(g, r->outcome, *r->reason ? r->reason : "no reason was given") < 0)
        return out_of_memory(e);
    return r->accepted && take_values(g, r) < 0 ? out_of_memory(e) : 0;
}

static int take_attempt(void *arg, const struct read_attempt *a, struct err *e)
{
    struct building *b = arg;
    if (!*a->lost || a->trial == 0 || a->trial > b->n_trials)
        return 0;
    uint32_t cell = b->trial_cell[a->trial - 1];
    struct report_group *g = group_of(b->m, cell, report_accelerator(b->m, cell, a->host, NULL, 0));
    if (!g || count_reason(g, PLIMSOLL__OUTCOME__OUTCOME_UNKNOWN, a->lost) < 0)
        return out_of_memory(e);
    g->counts[PLIMSOLL__OUTCOME__OUTCOME_UNKNOWN]++;
    return 0;
}

/* A group for each accelerator that a host offered, so that a cell without results still stands in
 * the report; and a line for each host that cannot run the cell. */
static int take_offer(struct report_model *m, uint32_t cell, const struct report_host *host)
{
    const Plimsoll__Offer *o = find_offer(host, m->plan->cells[cell]);
    if (!o)
        return 0;
    if (o->available) {
        struct report_group *g = group_of(m, cell, o->accelerator);
        if (!g)
            return -1;
        g->nested = o->nested;
        return 0;
    }
    struct report_unavailable *u = grow(&m->unavailable, m->n_unavailable, sizeof *u);
    if (!u)
        return -1;
    *u = (struct report_unavailable){cell, host->name, o->reason};
    m->n_unavailable++;
    return 0;
}

static int take_offers(struct report_model *m, struct err *e)
{
    m->cells = calloc(m->plan->n_cells + 1, sizeof *m->cells);
    if (!m->cells)
        return out_of_memory(e);
    for (uint32_t cell = 0; cell < m->plan->n_cells; cell++)
        for (size_t h = 0; h < m->n_hosts; h++)
            if (take_offer(m, cell, &m->hosts[h]) < 0)
                return out_of_memory(e);
    return 0;
}

/* ---- After the reading ---- */

static int add_check(struct report_model *m, const Plimsoll__Reference *r,
                     const struct report_group *g)
{
    struct report_check *c = grow(&m->checks, m->n_checks, sizeof *c);
    if (!c)
        return -1;
    const struct report_metric *metric = report_metric_find(g, r->metric);
    double mean = metric && metric->n ? metric->summary.mean : (double)NAN;
    *c = (struct report_check){r, g, metric, stats_ratio(mean, r->value), false};
    c->failed = r->checked && isfinite(mean) && fabs(mean - r->value) > r->within * fabs(r->value);
    m->checks_failed += c->failed;
    m->n_checks++;
    return 0;
}

static int check_references(struct report_model *m, struct err *e)
{
    for (size_t i = 0; i < m->plan->n_references; i++) {
        const Plimsoll__Reference *r = m->plan->references[i];
        if (r->cell >= m->plan->n_cells)
            continue;
        for (const struct report_group *g = m->cells[r->cell]; g; g = g->next)
            if (add_check(m, r, g) < 0)
                return out_of_memory(e);
    }
    return 0;
}

static void summarise(struct report_model *m)
{
    for (size_t cell = 0; cell < m->plan->n_cells; cell++)
        for (struct report_group *g = m->cells[cell]; g; g = g->next)
            for (size_t i = 0; i < g->n_metrics; i++) {
                struct report_metric *metric = &g->metrics[i];
                stats_summarise(metric->values, metric->n, m->confidence, &metric->summary);
            }
}

static int build(struct reader *r, const char *id, struct building *b, struct err *e)
{
    struct report_model *m = b->m;
    if (read_campaign(r, id, take_campaign, m, e) < 0 || read_plan(r, id, &m->plan, e) < 0)
        return -1;
    m->confidence = m->plan->confidence > 0 && m->plan->confidence < 1 ? m->plan->confidence : 0.95;
    if (read_hosts(r, id, take_host, m, e) < 0 || take_offers(m, e) < 0 ||
        read_trials(r, id, take_trial, b, e) < 0 ||
        read_results(r, id, 0, 0, take_result, m, e) < 0 ||
        read_attempts(r, id, take_attempt, b, e) < 0)
        return -1;
    summarise(m);
    return check_references(m, e);
}

int report_model_build(struct reader *r, const char *campaign, struct report_model **ret,
                       struct err *e)
{
    struct building b = {.m = calloc(1, sizeof *b.m)};
    if (!b.m)
        return out_of_memory(e);
    int result = build(r, campaign, &b, e);
    free(b.trial_cell);
    if (result < 0)
        report_model_free(&b.m);
    else
        *ret = b.m;
    return result;
}

/* ---- The end ---- */

static void free_group(struct report_group *g)
{
    for (size_t i = 0; i < g->n_metrics; i++) {
        free(g->metrics[i].name);
        free(g->metrics[i].unit);
        free(g->metrics[i].values);
    }
    for (size_t i = 0; i < g->n_reasons; i++)
        free(g->reasons[i].text);
    for (size_t i = 0; i < g->n_conditions; i++) {
        free(g->conditions[i].key);
        free(g->conditions[i].value);
    }
    free(g->metrics);
    free(g->reasons);
    free(g->conditions);
    free(g->accelerator);
    free(g);
}

static void free_host(struct report_host *h)
{
    free(h->name);
    free(h->group);
    free(h->software);
    if (h->fingerprint)
        plimsoll__fingerprint__free_unpacked(h->fingerprint, NULL);
    if (h->prepared)
        plimsoll__prepared__free_unpacked(h->prepared, NULL);
}

static void free_cells(struct report_model *m)
{
    for (size_t cell = 0; m->cells && cell < m->plan->n_cells; cell++)
        while (m->cells[cell]) {
            struct report_group *g = m->cells[cell];
            m->cells[cell] = g->next;
            free_group(g);
        }
    free(m->cells);
}

void report_model_free(struct report_model **model)
{
    struct report_model *m = *model;
    if (!m)
        return;
    *model = NULL;
    free_cells(m);
    for (size_t i = 0; i < m->n_hosts; i++)
        free_host(&m->hosts[i]);
    for (size_t i = 0; i < m->n_missing; i++) {
        free(m->missing[i].host);
        free(m->missing[i].reason);
    }
    free(m->hosts);
    free(m->unavailable);
    free(m->missing);
    free(m->checks);
    if (m->plan)
        plimsoll__plan__free_unpacked(m->plan, NULL);
    free(m->id);
    free(m->name);
    free(m->title);
    free(m->state);
    free(m->note);
    free(m);
}
