/* SPDX-License-Identifier: GPL-3.0-or-later */
/* How long it will still take, from what was seen. */
#include "common/clock.h"
#include "coordinator/schedule/internal.h"

#include <math.h>
#include <string.h>

void schedule_saw(struct schedule *s, uint32_t cell, int64_t duration_ns)
{
    if (duration_ns >= 0 && cell < s->plan->n_cells)
        accumulator_add(&s->seen[cell], (double)duration_ns / (double)NS_PER_S);
}

static const char *guest_of(const struct schedule *s, uint32_t cell)
{
    const Plimsoll__Section *guest = s->plan->cells[cell]->guest;
    return guest && guest->name ? guest->name : "";
}

/* The mean over cells of one guest, or of all (`guest` NULL); 0: nothing was seen. */
static double mean_over(const struct schedule *s, const char *guest)
{
    double sum = 0;
    size_t n = 0;
    for (uint32_t c = 0; c < s->plan->n_cells; c++) {
        if (guest && strcmp(guest_of(s, c), guest) != 0)
            continue;
        sum += s->seen[c].mean * (double)s->seen[c].n;
        n += s->seen[c].n;
    }
    return n > 0 ? sum / (double)n : 0;
}

static double expected_s(const struct schedule *s, uint32_t cell, double of_all)
{
    if (s->seen[cell].n > 0)
        return s->seen[cell].mean;
    double of_guest = mean_over(s, guest_of(s, cell));
    return of_guest > 0 ? of_guest : of_all;
}

static double host_left_s(const struct schedule *s, uint32_t host, double of_all, int64_t now_ns)
{
    double left = 0;
    const struct numbers *own = &s->hosts[host].trials;
    for (size_t i = 0; i < own->n; i++) {
        const struct trial *t = &s->trials[own->item[i]];
        if (t->host != host || t->state == TRIAL_ACCEPTED || t->state == TRIAL_GIVEN_UP)
            continue;
        double one = expected_s(s, t->cell, of_all);
        if (t->state == TRIAL_LEASED)
            one = fmax(0, one - (double)(now_ns - t->leased_ns) / (double)NS_PER_S);
        left += one;
    }
    return left;
}

int64_t schedule_left_ns(const struct schedule *s, int64_t now_ns)
{
    double of_all = mean_over(s, NULL);
    double most = 0;
    if (of_all <= 0)
        return 0;
    for (uint32_t h = 0; h < s->n_hosts; h++)
        most = fmax(most, host_left_s(s, h, of_all, now_ns));
    return (int64_t)(fmin(most, 1e9) * (double)NS_PER_S);
}
