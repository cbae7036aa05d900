/* SPDX-License-Identifier: GPL-3.0-or-later */
/* How long it will still take, from what was seen. */
#include "common/cleanup.h"
#include "common/clock.h"
#include "coordinator/schedule/internal.h"

#include <math.h>
#include <stdlib.h>

void schedule_saw(struct schedule *s, uint32_t cell, int64_t duration_ns)
{
    if (duration_ns >= 0 && cell < s->plan->n_cells)
        accumulator_add(&s->seen[cell], (double)duration_ns / (double)NS_PER_S);
}

struct mean {
    double sum;
    uint64_t n;
};

static void add_to(struct mean *m, const struct accumulator *a)
{
    m->sum += a->mean * (double)a->n;
    m->n += a->n;
}

/* By cell, what a trial is expected to take: as those of the cell did, else those of its guest,
 * else all. NULL where none was seen, or memory is out. */
static double *expect_all(const struct schedule *s)
{
    uint32_t n = (uint32_t)s->plan->n_cells;
    struct mean all = {0};
    cleanup_free struct mean *by_guest = calloc(n + 1, sizeof *by_guest);
    for (uint32_t c = 0; by_guest && c < n; c++) {
        add_to(&by_guest[s->like[c]], &s->seen[c]);
        add_to(&all, &s->seen[c]);
    }
    double *expected = all.n > 0 ? calloc(n + 1, sizeof *expected) : NULL;
    for (uint32_t c = 0; expected && c < n; c++) {
        const struct mean *guest = &by_guest[s->like[c]];
        const struct mean *known = guest->n > 0 ? guest : &all;
        expected[c] = s->seen[c].n > 0 ? s->seen[c].mean : known->sum / (double)known->n;
    }
    return expected;
}

static double host_left_s(const struct schedule *s, uint32_t host, const double *expected,
                          int64_t now_ns)
{
    double left = 0;
    const struct numbers *own = &s->hosts[host].trials;
    for (size_t i = 0; i < own->n; i++) {
        const struct trial *t = &s->trials[own->item[i]];
        if (t->host != host || t->state == TRIAL_ACCEPTED || t->state == TRIAL_GIVEN_UP)
            continue;
        double one = expected[t->cell];
        if (t->state == TRIAL_LEASED)
            one = fmax(0, one - (double)(now_ns - t->leased_ns) / (double)NS_PER_S);
        left += one;
    }
    return left;
}

int64_t schedule_left_ns(const struct schedule *s, int64_t now_ns)
{
    cleanup_free double *expected = expect_all(s);
    double most = 0;
    for (uint32_t h = 0; expected && h < s->n_hosts; h++)
        most = fmax(most, host_left_s(s, h, expected, now_ns));
    return (int64_t)(fmin(most, 1e9) * (double)NS_PER_S);
}
