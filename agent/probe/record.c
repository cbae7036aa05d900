/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agent/probe/record.h"

#include "common/log.h"

#include <stdlib.h>
#include <string.h>

static void *need(void *memory)
{
    if (!memory)
        abort();
    return memory;
}

static const char *unit_of(const struct catalog_entry *probe, const char *metric)
{
    for (const struct metric_row *row = probe->metrics; row->name; row++)
        if (strcmp(row->name, metric) == 0)
            return row->unit;
    /* A probe's own file and its catalog entry disagree. */
    abort();
}

void trial_add_sample(struct trial_record *r, const char *metric, double value, int64_t time_ns)
{
    const char *unit = unit_of(r->probe, metric);
    if (r->n_samples == RECORD_MOST_SAMPLES) {
        log_warning("more than %d samples in a trial: %s is dropped", RECORD_MOST_SAMPLES, metric);
        return;
    }
    Plimsoll__Sample *s = need(malloc(sizeof *s));
    plimsoll__sample__init(s);
    s->metric = need(strdup(metric));
    s->unit = need(strdup(unit));
    s->value = value;
    s->time_ns = time_ns;
    s->clock_ns = r->clock_ns;
    r->samples = need(reallocarray(r->samples, r->n_samples + 1, sizeof(Plimsoll__Sample *)));
    r->samples[r->n_samples++] = s;
}

void trial_add_condition(struct trial_record *r, const char *key, const char *value)
{
    if (r->n_conditions == RECORD_MOST_CONDITIONS)
        abort();
    Plimsoll__Factor *f = need(malloc(sizeof *f));
    plimsoll__factor__init(f);
    f->key = need(strdup(key));
    f->value = need(strdup(value));
    r->conditions =
        need(reallocarray(r->conditions, r->n_conditions + 1, sizeof(Plimsoll__Factor *)));
    r->conditions[r->n_conditions++] = f;
}

void record_give(struct trial_record *r, Plimsoll__Result *to)
{
    to->samples = r->samples;
    to->n_samples = r->n_samples;
    to->conditions = r->conditions;
    to->n_conditions = r->n_conditions;
    *r = (struct trial_record){0};
}

void record_clear(struct trial_record *r)
{
    Plimsoll__Result owner = PLIMSOLL__RESULT__INIT;
    record_give(r, &owner);
    for (size_t i = 0; i < owner.n_samples; i++)
        plimsoll__sample__free_unpacked(owner.samples[i], NULL);
    for (size_t i = 0; i < owner.n_conditions; i++)
        plimsoll__factor__free_unpacked(owner.conditions[i], NULL);
    free(owner.samples);
    free(owner.conditions);
}
