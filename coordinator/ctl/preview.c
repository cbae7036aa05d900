/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "coordinator/ctl/preview.h"

#include "common/catalog/catalog.h"
#include "common/units.h"
#include "coordinator/plan/plan.h"
#include "proto/settings.h"

#include <stdio.h>
#include <string.h>

/* Canary spins, preparing and cleaning up around a trial. */
static const int64_t around_trial_ns = 250000000;

static const struct catalog_entry *entry_of(const Plimsoll__Cell *cell)
{
    return catalog_find(CATALOG_BACKEND, cell->guest->plugin);
}

/* What the plan itself says, NULL where it leaves it open. */
static const char *wanted_accelerator(const Plimsoll__Cell *cell)
{
    const char *key = entry_of(cell)->accelerator_key;
    const char *wanted = key ? settings_text(cell->guest, key) : NULL;
    return wanted && strcmp(wanted, "auto") != 0 ? wanted : NULL;
}

const char *preview_accelerator(const Plimsoll__Cell *cell, const struct findings *found)
{
    if (!entry_of(cell)->has_accelerator)
        return "";
    const char *wanted = wanted_accelerator(cell);
    if (wanted)
        return wanted;
    const struct finding *f = found ? findings_of(found, cell->guest->plugin) : NULL;
    return f && *f->accelerator ? f->accelerator : "tcg";
}

const char *preview_obstacle(const Plimsoll__Cell *cell, const struct findings *found, char *buffer)
{
    const struct finding *f = found ? findings_of(found, cell->guest->plugin) : NULL;
    if (!f)
        return NULL;
    if (!f->available) {
        snprintf(buffer, 512, "%s", *f->reason ? f->reason : "the host lacks what it needs");
        return buffer;
    }
    const char *wanted = wanted_accelerator(cell);
    if (!wanted || strcmp(wanted, "kvm") != 0 || strncmp(f->accelerator, "kvm", 3) == 0)
        return NULL;
    snprintf(buffer, 512, "the plan wants KVM, and this host has %s",
             *f->accelerator ? f->accelerator : "none");
    return buffer;
}

static int64_t peak_bytes(const Plimsoll__Cell *cell)
{
    const struct catalog_entry *entry = entry_of(cell);
    int64_t bytes = entry->overhead_bytes;
    for (const struct key_row *row = entry->keys; row->name; row++)
        if (row->host_memory)
            bytes += settings_integer(cell->guest, row->name, 0);
    return bytes;
}

static int64_t trial_ns(const Plimsoll__Cell *cell, const char *accelerator)
{
    const struct catalog_entry *entry = entry_of(cell);
    bool translated = strcmp(accelerator, "tcg") == 0 && entry->expected_tcg_ns > 0;
    return around_trial_ns + (translated ? entry->expected_tcg_ns : entry->expected_ns);
}

void preview_sum(const Plimsoll__Plan *plan, const struct findings *found, struct preview *ret)
{
    char buffer[512];
    *ret = (struct preview){0};
    for (size_t i = 0; i < plan->n_cells; i++) {
        const Plimsoll__Cell *cell = plan->cells[i];
        if (preview_obstacle(cell, found, buffer)) {
            ret->unavailable++;
            continue;
        }
        const char *accelerator = preview_accelerator(cell, found);
        uint64_t trials = (uint64_t)plan_repeat(cell, accelerator) + cell->warmup;
        ret->trials += trials;
        /* 4,096 cells of 100,100 trials of a minute stay below 2^63 ns times 3. */
        double total =
            (double)ret->expected_ns + (double)trials * (double)trial_ns(cell, accelerator);
        ret->expected_ns = total < 9e18 ? (int64_t)total : INT64_MAX;
        if (peak_bytes(cell) > ret->peak_bytes)
            ret->peak_bytes = peak_bytes(cell);
    }
}

static const char *format_time(int64_t ns, char *buffer)
{
    int64_t s = ns / 1000000000;
    if (s < 1)
        snprintf(buffer, 32, "under a second");
    else if (s < 120)
        snprintf(buffer, 32, "about %lld s", (long long)s);
    else if (s < 7200)
        snprintf(buffer, 32, "about %lld min", (long long)(s + 30) / 60);
    else
        snprintf(buffer, 32, "about %lld h", (long long)(s + 1800) / 3600);
    return buffer;
}

static void print_repeat(const Plimsoll__Cell *cell, const struct findings *found, FILE *out)
{
    const Plimsoll__Repeat *r = cell->repeat;
    const struct finding *f = found ? findings_of(found, cell->guest->plugin) : NULL;
    bool open = entry_of(cell)->has_accelerator && !wanted_accelerator(cell) && !f;
    if (open && (r->kvm > 0 || r->tcg > 0))
        fprintf(out, "%u trials under KVM, %u under TCG", plan_repeat(cell, "kvm"),
                plan_repeat(cell, "tcg"));
    else
        fprintf(out, "%u trials", plan_repeat(cell, preview_accelerator(cell, found)));
    if (cell->warmup > 0)
        fprintf(out, ", and %u to warm up", cell->warmup);
}

static void print_cells(const Plimsoll__Plan *plan, const struct findings *found, FILE *out)
{
    const char *experiment = "";
    for (size_t i = 0; i < plan->n_cells; i++) {
        const Plimsoll__Cell *cell = plan->cells[i];
        char words[128], obstacle[512];
        if (strcmp(experiment, cell->experiment) != 0)
            fprintf(out, "  %s, measured by %s\n", cell->experiment, cell->probe->plugin);
        experiment = cell->experiment;
        fprintf(out, "    %-24s  ", plan_cell_words(cell, words));
        if (preview_obstacle(cell, found, obstacle)) {
            fprintf(out, "not on this host: %s\n", obstacle);
            continue;
        }
        print_repeat(cell, found, out);
        const char *accelerator = found ? preview_accelerator(cell, found) : "";
        fprintf(out, "%s%s\n", *accelerator ? "; accelerator " : "", accelerator);
    }
}

static void print_sums(const Plimsoll__Plan *plan, const struct findings *found, FILE *out)
{
    char time[32], memory[32];
    struct preview sum;
    preview_sum(plan, found, &sum);
    fprintf(out, "cells     %zu", plan->n_cells);
    if (sum.unavailable > 0)
        fprintf(out, ", of which %zu not on this host", sum.unavailable);
    fprintf(out, "\ntrials    %llu %s\n", (unsigned long long)sum.trials,
            plan->any_host ? "in all" : "on each host");
    fprintf(out, "hosts     %s\n",
            plan->any_host ? "any: cells spread over identical hosts"
                           : "all: every host runs every cell");
    fprintf(out, "duration  %s%s\n", format_time(sum.expected_ns, time),
            plan->any_host ? ", divided by the number of hosts" : "");
    fprintf(out, "memory    at most %s a host\n",
            units_format_value((double)sum.peak_bytes, "B", memory));
    if (plan->n_references > 0)
        fprintf(out, "reference %zu published value%s\n", plan->n_references,
                plan->n_references == 1 ? "" : "s");
}

void preview_print(const Plimsoll__Plan *plan, const struct findings *found, FILE *out)
{
    fprintf(out, "%s%s%s\n", plan->name, *plan->title ? ": " : "", plan->title);
    print_cells(plan, found, out);
    print_sums(plan, found, out);
}
