/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agent/verdict.h"

#include "common/cleanup.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The protocol's empty string is not ours to free. */
static void replace_reason(Plimsoll__Result *r, char *reason)
{
    if (r->reason != (char *)protobuf_c_empty_string)
        free(r->reason);
    r->reason = reason;
}

void verdict_add(Plimsoll__Result *r, Plimsoll__Outcome outcome, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    cleanup_free char *why = NULL;
    if (vasprintf(&why, format, args) < 0)
        why = NULL;
    va_end(args);
    char *reason = NULL;
    if (!why || asprintf(&reason, "%s%s%s", r->reason, r->reason[0] ? "; " : "", why) < 0)
        abort();
    replace_reason(r, reason);
    /* The protocol counts from good to bad. */
    if (r->outcome < outcome)
        r->outcome = outcome;
}

static const Plimsoll__Sample *find(const Plimsoll__Result *r, const char *metric)
{
    for (size_t i = 0; i < r->n_samples; i++)
        if (strcmp(r->samples[i]->metric, metric) == 0)
            return r->samples[i];
    return NULL;
}

static void judge_steal(Plimsoll__Result *r, double share)
{
    if (share > 0.10)
        verdict_add(r, PLIMSOLL__OUTCOME__OUTCOME_REJECTED,
                    "%.0f%% of the processors' time was stolen from this host", share * 100);
    else if (share > 0.02)
        verdict_add(r, PLIMSOLL__OUTCOME__OUTCOME_SUSPECT,
                    "%.0f%% of the processors' time was stolen from this host", share * 100);
}

void verdict_contamination(Plimsoll__Result *r, int n_cpus)
{
    const Plimsoll__Sample *start = find(r, "start");
    if (r->outcome > PLIMSOLL__OUTCOME__OUTCOME_SUSPECT || !start || start->value <= 0)
        return;
    const Plimsoll__Sample *other = find(r, "other_cpu");
    const Plimsoll__Sample *steal = find(r, "steal");
    const Plimsoll__Sample *before = find(r, "canary_before");
    const Plimsoll__Sample *after = find(r, "canary_after");
    if (other && other->value / start->value > 0.25)
        verdict_add(r, PLIMSOLL__OUTCOME__OUTCOME_SUSPECT,
                    "others used %.0f%% of a processor meanwhile",
                    100 * other->value / start->value);
    if (steal)
        judge_steal(r, steal->value / (start->value * n_cpus));
    if (before && after && after->value > 1.5 * before->value)
        verdict_add(r, PLIMSOLL__OUTCOME__OUTCOME_SUSPECT,
                    "the host was %.0f%% slower after the trial than before",
                    100 * (after->value / before->value - 1));
}
