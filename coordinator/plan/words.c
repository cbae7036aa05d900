/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "coordinator/plan/plan.h"

#include "common/lexer.h"

#include <stdio.h>
#include <string.h>

enum { WORDS_BYTES = 128 };

uint32_t plan_repeat(const Plimsoll__Cell *cell, const char *accelerator)
{
    const Plimsoll__Repeat *r = cell->repeat;
    if (!r)
        return 0;
    if (strcmp(accelerator, "tcg") == 0 && r->tcg > 0)
        return r->tcg;
    if ((strcmp(accelerator, "kvm") == 0 || strncmp(accelerator, "kvm/", 4) == 0) && r->kvm > 0)
        return r->kvm;
    return r->default_count;
}

static const char *find_factor(const Plimsoll__Cell *cell, const char *key)
{
    for (size_t i = 0; i < cell->n_factors; i++)
        if (strcmp(cell->factors[i]->key, key) == 0)
            return cell->factors[i]->value;
    return NULL;
}

const char *plan_cell_words(const Plimsoll__Cell *cell, char *buffer)
{
    const char *guest = find_factor(cell, "guest");
    const char *guests = find_factor(cell, "guests");
    if (!guest)
        guest = cell->guest ? cell->guest->name : "?";
    int n =
        snprintf(buffer, WORDS_BYTES, "%s%s%s", guest, guests ? " x " : "", guests ? guests : "");
    for (size_t i = 0; i < cell->n_factors && n < WORDS_BYTES; i++) {
        const Plimsoll__Factor *f = cell->factors[i];
        if (strcmp(f->key, "guest") != 0 && strcmp(f->key, "guests") != 0)
            n += snprintf(buffer + n, (size_t)(WORDS_BYTES - n), " %s=%s", f->key, f->value);
    }
    utf8_trim(buffer);
    return buffer;
}
