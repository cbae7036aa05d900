/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "coordinator/schedule/variants.h"

#include "common/cleanup.h"
#include "common/digest.h"

#include <stdlib.h>
#include <string.h>

/* What a section says, in short. */
struct variant {
    const Plimsoll__Section *section;
    char digest[DIGEST_TEXT_BYTES];
    uint32_t number; /* among those of its name */
};

struct variants {
    struct variant *item;
    size_t n;
};

static int digest_section(const Plimsoll__Section *section, char ret_text[DIGEST_TEXT_BYTES])
{
    size_t length = plimsoll__section__get_packed_size(section);
    cleanup_free uint8_t *packed = malloc(length + 1);
    if (!packed)
        return -1;
    plimsoll__section__pack(section, packed);
    digest_bytes(packed, length, ret_text);
    return 0;
}

/* The index of the cell's variant, which is added where it is new; SIZE_MAX when memory is out. */
static size_t find_or_add(struct variants *v, const Plimsoll__Section *section)
{
    struct variant new = {.section = section};
    if (digest_section(section, new.digest) < 0)
        return SIZE_MAX;
    for (size_t i = 0; i < v->n; i++) {
        if (strcmp(v->item[i].digest, new.digest) == 0)
            return i;
        new.number += strcmp(v->item[i].section->name, section->name) == 0;
    }
    v->item[v->n] = new;
    return v->n++;
}

size_t variants_list(const Plimsoll__Plan *plan, Plimsoll__Section **ret, size_t most)
{
    cleanup_free struct variant *items = calloc(plan->n_cells + 1, sizeof *items);
    struct variants v = {items, 0};
    for (size_t i = 0; items && i < plan->n_cells && v.n < most; i++)
        if (plan->cells[i]->guest && find_or_add(&v, plan->cells[i]->guest) == SIZE_MAX)
            break;
    for (size_t i = 0; i < v.n; i++)
        ret[i] = (Plimsoll__Section *)items[i].section;
    return v.n;
}

uint32_t *variants_of_cells(const Plimsoll__Plan *plan)
{
    cleanup_free struct variant *items = calloc(plan->n_cells + 1, sizeof *items);
    cleanup_free uint32_t *numbers = calloc(plan->n_cells + 1, sizeof *numbers);
    struct variants v = {items, 0};
    for (size_t i = 0; items && numbers && i < plan->n_cells; i++) {
        if (!plan->cells[i]->guest)
            continue;
        size_t at = find_or_add(&v, plan->cells[i]->guest);
        if (at == SIZE_MAX)
            return NULL;
        numbers[i] = items[at].number;
    }
    return items ? steal(numbers) : NULL;
}
