/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Which host runs what, and in what order. */
#include "common/cleanup.h"
#include "coordinator/schedule/internal.h"
#include "coordinator/schedule/rng.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A trial with the place it was drawn. */
struct placed {
    double place;
    uint32_t cell, repetition;
    bool warmup;
};

struct placing {
    struct placed *item;
    size_t n, capacity;
};

static int place(struct placing *p, double at, uint32_t cell, uint32_t repetition, bool warmup)
{
    if (p->n == p->capacity) {
        size_t capacity = p->capacity * 2 + 64;
        struct placed *larger = realloc(p->item, capacity * sizeof *larger);
        if (!larger)
            return -1;
        p->item = larger;
        p->capacity = capacity;
    }
    p->item[p->n++] = (struct placed){at, cell, repetition, warmup};
    return 0;
}

/* Warm-ups fall into [-1, 0), counted trials into [0, 1); in the listed order a cell has an
 * interval of its own. */
static int place_cell(struct placing *p, const struct schedule *s, uint32_t host, uint32_t cell,
                      struct rng *rng)
{
    uint32_t warmups = s->plan->cells[cell]->warmup;
    uint32_t counted = schedule_repeat(s, host, cell);
    if ((size_t)warmups + counted + p->n > SCHEDULE_MOST_TRIALS)
        return -1;
    for (uint32_t k = 0; k < warmups; k++) {
        double at = s->plan->random_order ? (k + rng_real(rng)) / warmups - 1 : 2.0 * cell;
        if (place(p, at, cell, k, true) < 0)
            return -1;
    }
    for (uint32_t k = 0; k < counted; k++) {
        double at = s->plan->random_order ? (k + rng_real(rng)) / counted : 2.0 * cell + 1;
        if (place(p, at, cell, k, false) < 0)
            return -1;
    }
    return 0;
}

static int compare_places(const void *a, const void *b)
{
    const struct placed *x = a;
    const struct placed *y = b;
    if (x->place != y->place)
        return x->place < y->place ? -1 : 1;
    if (x->cell != y->cell)
        return x->cell < y->cell ? -1 : 1;
    return x->repetition < y->repetition ? -1 : 1;
}

static int append_all(struct schedule *s, uint32_t host, const struct placing *p, struct err *e)
{
    for (size_t i = 0; i < p->n; i++) {
        struct trial t = {.cell = p->item[i].cell,
                          .repetition = p->item[i].repetition,
                          .warmup = p->item[i].warmup,
                          .host = host,
                          .position = (uint32_t)i};
        if (schedule_append(s, t, e) < 0)
            return -1;
    }
    return 0;
}

/* `owner` says which host has a cell, by cell; NULL: every host has every cell. */
static int draw_host(struct schedule *s, uint32_t host, const int *owner, struct err *e)
{
    struct rng rng;
    struct placing p = {0};
    int failed = 0;
    rng_seed(&rng, s->plan->seed, s->hosts[host].name);
    for (uint32_t c = 0; c < s->plan->n_cells && failed == 0; c++)
        if (schedule_offers(s, host, c) && (!owner || owner[c] == (int)host))
            failed = place_cell(&p, s, host, c, &rng);
    if (failed < 0)
        err_set(e, ERR_INPUT, "the campaign has more than %d trials", SCHEDULE_MOST_TRIALS);
    else {
        if (p.n > 0)
            qsort(p.item, p.n, sizeof *p.item, compare_places);
        failed = append_all(s, host, &p, e);
    }
    free(p.item);
    return failed;
}

/* The offering host with the fewest trials so far; the first by name of equals; -1: none. */
static int least_loaded(const struct schedule *s, const uint64_t *load, uint32_t cell)
{
    int best = -1;
    for (uint32_t h = 0; h < s->n_hosts; h++)
        if (schedule_offers(s, h, cell) && (best < 0 || load[h] < load[best]))
            best = (int)h;
    return best;
}

/* Shares the cells out in shuffled order, so that neighbours in the plan do not go to the hosts by
 * turns. */
static int share_cells(const struct schedule *s, int *owner)
{
    cleanup_free uint64_t *load = calloc(s->n_hosts + 1, sizeof *load);
    cleanup_free uint32_t *order = calloc(s->plan->n_cells + 1, sizeof *order);
    if (!load || !order)
        return -1;
    struct rng rng;
    rng_seed(&rng, s->plan->seed, "");
    for (uint32_t i = 0; i < s->plan->n_cells; i++) {
        uint32_t j = (uint32_t)rng_below(&rng, i + 1);
        order[i] = order[j];
        order[j] = i;
    }
    for (size_t i = 0; i < s->plan->n_cells; i++) {
        uint32_t cell = order[i];
        owner[cell] = least_loaded(s, load, cell);
        if (owner[cell] >= 0)
            load[owner[cell]] +=
                schedule_repeat(s, (uint32_t)owner[cell], cell) + s->plan->cells[cell]->warmup;
    }
    return 0;
}

/* "guest `kvm`: KVM does not work here; ..." of the first host, each guest once. */
static int nothing_to_run(const struct schedule *s, struct err *e)
{
    char text[512] = "";
    size_t used = 0;
    const Plimsoll__Prepared *p = s->n_hosts > 0 ? s->hosts[0].prepared : NULL;
    for (size_t i = 0; p && i < p->n_offers && used < sizeof text - 1; i++) {
        int n = snprintf(text + used, sizeof text - used, "%s%s: %s", i > 0 ? "; " : "",
                         p->offers[i]->guest, p->offers[i]->reason);
        used += n > 0 ? (size_t)n : 0;
    }
    return err_set(e, ERR_UNAVAILABLE, "no host can run any cell%s%s", text[0] ? ": " : "", text);
}

int schedule_draw(struct schedule *s, struct err *e)
{
    cleanup_free int *owner = NULL;
    if (s->plan->any_host) {
        owner = calloc(s->plan->n_cells + 1, sizeof *owner);
        if (!owner || share_cells(s, owner) < 0)
            return err_system(e, ENOMEM, "cannot make a schedule");
    }
    for (uint32_t h = 0; h < s->n_hosts; h++)
        if (draw_host(s, h, owner, e) < 0)
            return -1;
    return s->n_trials > 0 ? 0 : nothing_to_run(s, e);
}
