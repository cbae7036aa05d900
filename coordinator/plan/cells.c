/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Every combination of factor values: experiment's factors x guests x the guest's x images x the
 * image's. */
#include "coordinator/plan/reader.h"

#include "common/cleanup.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A longer value is named by its place in the list. */
enum { MOST_AXES = 48, MOST_NAMED_BYTES = 48 };

/* One guest with one image in one experiment: its cells are the product of the axes. */
struct grid {
    struct cell base;
    struct choice axes[MOST_AXES]; /* `at` runs through the key's values */
    size_t n_axes;
    size_t n_fixed; /* the first ones do not run: guest, and image where a factor */
};

static void add_axis(struct grid *g, const struct key_values *key, size_t at)
{
    if (g->n_axes == MOST_AXES)
        abort(); /* a test counts the catalog's keys */
    g->axes[g->n_axes++] = (struct choice){key, at};
}

static void add_factors(struct grid *g, const struct section *s, const char *except)
{
    for (size_t i = 0; i < s->n_keys; i++)
        if (s->keys[i].is_factor && strcmp(s->keys[i].row->name, except) != 0)
            add_axis(g, &s->keys[i], 0);
}

static size_t count_cells(const struct grid *g)
{
    size_t n = 1;
    for (size_t i = g->n_fixed; i < g->n_axes && n <= PLAN_MOST_CELLS; i++)
        n *= g->axes[i].key->n;
    return n;
}

/* The last axis runs fastest. False when all were there. */
static bool step(struct grid *g)
{
    for (size_t i = g->n_axes; i > g->n_fixed; i--) {
        struct choice *axis = &g->axes[i - 1];
        if (++axis->at < axis->key->n)
            return true;
        axis->at = 0;
    }
    return false;
}

static void add_cell(struct cells *to, const struct grid *g)
{
    if ((to->n & (to->n - 1)) == 0) {
        to->items = realloc(to->items, (to->n ? to->n * 2 : 1) * sizeof *to->items);
        if (!to->items)
            abort();
    }
    struct cell cell = g->base;
    cell.n_choices = g->n_axes;
    cell.choices = calloc(g->n_axes + 1, sizeof *cell.choices);
    if (!cell.choices)
        abort();
    memcpy(cell.choices, g->axes, g->n_axes * sizeof *g->axes);
    to->items[to->n++] = cell;
}

static void expand_grid(struct reader *r, struct grid *g, struct cells *ret)
{
    add_factors(g, g->base.experiment, "guest");
    add_factors(g, g->base.guest, "image");
    if (g->base.image)
        add_factors(g, g->base.image, "");
    size_t n = count_cells(g);
    if (n == 0 || ret->n > PLAN_MOST_CELLS)
        return; /* a factor without good values, or too many cells: diagnosed already */
    if (n > PLAN_MOST_CELLS - ret->n) {
        reader_diagnose(r, g->base.experiment->line,
                        "the factors make more than %d cells; expected at most that many",
                        PLAN_MOST_CELLS);
        return;
    }
    do {
        add_cell(ret, g);
    } while (step(g));
}

static void expand_guest(struct reader *r, struct grid *g, const struct section *guest,
                         struct cells *ret)
{
    const struct key_values *image = section_key(guest, "image");
    g->base.guest = guest;
    if (!guest->entry)
        return;
    if (!guest->entry->needs_image || !image->given) {
        g->base.image = !guest->entry->needs_image ? NULL
                        : r->images.n > 0          ? &r->images.items[0]
                                                   : &r->default_image;
        expand_grid(r, g, ret);
        return;
    }
    for (size_t i = 0; i < image->n; i++) {
        struct grid one = *g;
        one.base.image = sections_find(&r->images, image->values[i].text);
        if (image->is_factor)
            add_axis(&one, image, i);
        one.n_fixed = one.n_axes;
        if (one.base.image)
            expand_grid(r, &one, ret);
    }
}

static void expand_experiment(struct reader *r, size_t index, struct cells *ret)
{
    const struct section *experiment = &r->experiments.items[index];
    const struct key_values *guests = section_key(experiment, "guest");
    size_t n = guests->given ? guests->n : r->guests.n;
    for (size_t i = 0; i < n; i++) {
        const struct section *guest =
            guests->given ? sections_find(&r->guests, guests->values[i].text) : &r->guests.items[i];
        struct grid g = {.base = {.experiment = experiment, .experiment_index = index}};
        if (guest)
            expand_guest(r, &g, guest, ret);
    }
}

void cells_expand(struct reader *r, struct cells *ret)
{
    for (size_t i = 0; i < r->experiments.n; i++)
        expand_experiment(r, i, ret);
}

void cells_clear(struct cells *c)
{
    for (size_t i = 0; i < c->n; i++)
        free(c->items[i].choices);
    free(c->items);
    *c = (struct cells){0};
}

static const struct value *chosen(const struct cell *c, const struct key_values *key)
{
    for (size_t i = 0; i < c->n_choices; i++)
        if (c->choices[i].key == key)
            return &key->values[c->choices[i].at];
    return key->n > 0 ? &key->values[0] : NULL;
}

const struct value *cell_value(const struct cell *c, const char *name,
                               const struct key_row **ret_row)
{
    const struct section *all[] = {c->guest, c->image, c->experiment};
    for (size_t i = 0; i < 3; i++) {
        const struct key_values *key = all[i] ? section_key(all[i], name) : NULL;
        if (!key)
            continue;
        *ret_row = key->row;
        return chosen(c, key);
    }
    return NULL;
}

static bool belongs(const struct section *s, const struct key_values *key)
{
    return key >= s->keys && key < s->keys + s->n_keys;
}

char *cell_section_name(const struct cell *c, const struct section *s)
{
    char *text = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&text, &length);
    if (!out)
        abort();
    fputs(s->name, out);
    for (size_t i = 0; i < c->n_choices; i++) {
        const struct key_values *key = c->choices[i].key;
        if (!belongs(s, key) || strcmp(key->row->name, "image") == 0)
            continue;
        cleanup_free char *value = value_format(&key->values[c->choices[i].at], key->row);
        if (strlen(value) <= MOST_NAMED_BYTES)
            fprintf(out, " %s=%s", key->row->name, value);
        else
            fprintf(out, " %s=#%zu", key->row->name, c->choices[i].at + 1);
    }
    fclose(out);
    return text;
}
