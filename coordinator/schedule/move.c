/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Under hosts.use = "any": another, identical host takes over from one that is gone. */
#include "common/cleanup.h"
#include "coordinator/schedule/internal.h"

#include <stdlib.h>
#include <string.h>

static size_t pending_on(const struct schedule *s, uint32_t host)
{
    size_t n = 0;
    for (size_t i = 0; i < s->n_trials; i++)
        n += s->trials[i].host == host && s->trials[i].state == TRIAL_PENDING;
    return n;
}

/* Same group, and the same accelerator and image: the cell's samples must stay comparable. */
static bool can_take(const struct schedule *s, uint32_t from, uint32_t to, uint32_t cell)
{
    const Plimsoll__Offer *a = s->hosts[from].offers[cell];
    const Plimsoll__Offer *b = s->hosts[to].offers[cell];
    return from != to && a && schedule_offers(s, to, cell) &&
           strcmp(s->hosts[from].identity, s->hosts[to].identity) == 0 &&
           strcmp(a->accelerator, b->accelerator) == 0 &&
           strcmp(a->image_digest, b->image_digest) == 0;
}

static int choose_taker(const struct schedule *s, uint32_t from, uint32_t cell, const bool *alive)
{
    int best = -1;
    size_t least = 0;
    for (uint32_t h = 0; h < s->n_hosts; h++) {
        if (!alive[h] || !can_take(s, from, h, cell))
            continue;
        size_t load = pending_on(s, h);
        if (best < 0 || load < least) {
            best = (int)h;
            least = load;
        }
    }
    return best;
}

static bool has_warmup(const struct schedule *s, uint32_t host, uint32_t cell)
{
    const struct numbers *own = &s->hosts[host].trials;
    for (size_t i = 0; i < own->n; i++) {
        const struct trial *t = &s->trials[own->item[i]];
        if (t->host == host && t->cell == cell && t->warmup)
            return true;
    }
    return false;
}

/* A warm-up is one of a cell and a host: those of the old host do not warm the new one. */
static int add_warmups(struct schedule *s, uint32_t host, uint32_t cell)
{
    if (has_warmup(s, host, cell))
        return 0;
    for (uint32_t k = 0; k < s->plan->cells[cell]->warmup; k++) {
        struct trial t = {.cell = cell,
                          .repetition = k,
                          .warmup = true,
                          .host = host,
                          .position = (uint32_t)s->hosts[host].trials.n};
        if (schedule_append(s, t, NULL) < 0)
            return -1;
    }
    return 0;
}

static bool hand_over(struct schedule *s, uint32_t index, uint32_t to)
{
    struct numbers *list = &s->hosts[to].trials;
    if (list->n == list->capacity) {
        size_t capacity = list->capacity * 2 + 16;
        uint32_t *larger = realloc(list->item, capacity * sizeof *larger);
        if (!larger)
            return false;
        list->item = larger;
        list->capacity = capacity;
    }
    list->item[list->n++] = index;
    s->trials[index].host = to;
    return true;
}

static size_t move_cell(struct schedule *s, uint32_t from, uint32_t cell, uint32_t to)
{
    size_t moved = 0;
    size_t n = s->n_trials;
    for (uint32_t i = 0; i < n; i++) {
        const struct trial *t = &s->trials[i];
        if (t->host == from && t->cell == cell && t->state == TRIAL_PENDING)
            moved += hand_over(s, i, to);
    }
    return add_warmups(s, to, cell) < 0 ? 0 : moved;
}

static bool has_pending(const struct schedule *s, uint32_t host, uint32_t cell)
{
    for (size_t i = 0; i < s->n_trials; i++)
        if (s->trials[i].host == host && s->trials[i].cell == cell &&
            s->trials[i].state == TRIAL_PENDING)
            return true;
    return false;
}

size_t schedule_move(struct schedule *s, uint32_t from, const bool *alive)
{
    size_t moved = 0;
    if (!s->plan->any_host)
        return 0;
    for (uint32_t c = 0; c < s->plan->n_cells; c++) {
        if (!has_pending(s, from, c))
            continue;
        int to = choose_taker(s, from, c, alive);
        if (to >= 0)
            moved += move_cell(s, from, c, (uint32_t)to);
    }
    return moved;
}
