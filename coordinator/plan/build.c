/* SPDX-License-Identifier: GPL-3.0-or-later */
/* From checked sections and cells to the proto Plan. */
#include "coordinator/plan/reader.h"

#include "common/cleanup.h"
#include "proto/settings.h"

#include <stdlib.h>
#include <string.h>

static void *fresh(size_t size)
{
    void *memory = calloc(1, size);
    if (!memory)
        abort();
    return memory;
}

/* protobuf-c frees texts with free, and takes its own empty text for absent. */
static char *own(const char *text)
{
    char *copy = strdup(text);
    if (!copy)
        abort();
    return copy;
}

static Plimsoll__Section *build_section(const struct cell *c, const char *name, const char *plugin,
                                        const struct key_row *rows)
{
    Plimsoll__Section *section = fresh(sizeof *section);
    plimsoll__section__init(section);
    section->name = own(name);
    section->plugin = own(plugin);
    size_t n = 0;
    while (rows[n].name)
        n++;
    section->settings = fresh((n + 1) * sizeof *section->settings);
    for (size_t i = 0; i < n; i++) {
        const struct key_row *row;
        const struct value *v = cell_value(c, rows[i].name, &row);
        if (v)
            section->settings[section->n_settings++] = setting_new(row, v);
    }
    return section;
}

static Plimsoll__Factor *build_factor(const char *key, const char *value)
{
    Plimsoll__Factor *factor = fresh(sizeof *factor);
    plimsoll__factor__init(factor);
    factor->key = own(key);
    factor->value = own(value);
    return factor;
}

/* The guest always stands first, factor or not: a cell is named by it. */
static void build_factors(const struct cell *c, Plimsoll__Cell *to)
{
    to->factors = fresh((c->n_choices + 1) * sizeof *to->factors);
    to->factors[to->n_factors++] = build_factor("guest", c->guest->name);
    for (size_t i = 0; i < c->n_choices; i++) {
        const struct key_values *key = c->choices[i].key;
        cleanup_free char *text = value_format(&key->values[c->choices[i].at], key->row);
        to->factors[to->n_factors++] = build_factor(key->row->name, text);
    }
}

static Plimsoll__Cell *build_cell(const struct reader *r, const struct cell *c, size_t index)
{
    Plimsoll__Cell *cell = fresh(sizeof *cell);
    plimsoll__cell__init(cell);
    cell->index = (uint32_t)index;
    cell->experiment = own(c->experiment->name);
    const struct catalog_entry *probe = c->experiment->entry;
    cell->probe = build_section(c, probe->name, probe->name, probe->keys);
    cleanup_free char *guest = cell_section_name(c, c->guest);
    cell->guest = build_section(c, guest, c->guest->entry->name, c->guest->entry->keys);
    if (c->image) {
        cleanup_free char *image = cell_section_name(c, c->image);
        cell->image = build_section(c, image, "", catalog_image_keys);
    }
    build_factors(c, cell);
    cell->repeat = fresh(sizeof *cell->repeat);
    *cell->repeat = r->repeats[c->experiment_index];
    cell->warmup = (uint32_t)section_value(c->experiment, "warmup")->integer;
    cell->deadline_ns = (uint64_t)section_value(c->experiment, "deadline")->integer;
    return cell;
}

/* The plan file's own name without its folder and ending. */
static char *default_name(const struct plan_source *s)
{
    const char *file = s->n_origins > 0 ? s->origins[0]->file : "plan";
    const char *slash = strrchr(file, '/');
    char *name = own(slash ? slash + 1 : file);
    char *dot = strrchr(name, '.');
    if (dot && dot > name)
        *dot = '\0';
    if (name_is_good(name))
        return name;
    free(name);
    return own("plan");
}

Plimsoll__Plan *plan_build(struct reader *r, const struct cells *cells)
{
    Plimsoll__Plan *plan = fresh(sizeof *plan);
    plimsoll__plan__init(plan);
    const struct value *name = section_value(&r->campaign, "name");
    plan->name = name ? own(name->text) : default_name(r->source);
    plan->title = own(section_value(&r->campaign, "title")->text);
    plan->random_order = strcmp(section_value(&r->design, "order")->text, "random") == 0;
    plan->seed = (uint64_t)section_value(&r->design, "seed")->integer;
    plan->confidence = section_value(&r->design, "confidence")->real;
    plan->any_host = strcmp(section_value(&r->hosts, "use")->text, "any") == 0;
    plan->text = own(r->source->text);
    plan->cells = fresh((cells->n + 1) * sizeof *plan->cells);
    for (size_t i = 0; i < cells->n; i++)
        plan->cells[plan->n_cells++] = build_cell(r, &cells->items[i], i);
    return plan;
}
