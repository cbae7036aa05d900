/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Published values: each is matched by any keys of a cell, and by these to exactly one. */
#include "coordinator/plan/reader.h"

#include "common/cleanup.h"
#include "common/libconf.h"
#include "common/units.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_REFERENCES = 1024, MOST_SHOWN_CELLS = 6 };

static bool is_fixed_key(const char *name)
{
    return key_row_find(catalog_reference_keys, name) != NULL;
}

static const char *special_value(const struct cell *c, const char *name)
{
    if (strcmp(name, "guest") == 0)
        return c->guest->name;
    if (strcmp(name, "image") == 0)
        return c->image ? c->image->name : "";
    if (strcmp(name, "backend") == 0)
        return c->guest->entry->name;
    if (strcmp(name, "probe") == 0)
        return c->experiment->entry->name;
    return NULL;
}

enum match { MATCH_NO_KEY, MATCH_BAD_VALUE, MATCH_OTHER, MATCH_SAME };

/* `e` is set with MATCH_BAD_VALUE. */
static enum match match_key(const struct cell *c, const config_setting_t *s, struct err *e)
{
    const char *name = config_setting_name(s);
    const char *special = special_value(c, name);
    const struct key_row *row = NULL;
    if (special) {
        const char *wanted = config_setting_get_string(s);
        if (!wanted) {
            err_set(e, ERR_INPUT, "expected a name in quotes, found %s", libconf_type(s));
            return MATCH_BAD_VALUE;
        }
        return strcmp(special, wanted) == 0 ? MATCH_SAME : MATCH_OTHER;
    }
    const struct value *have = cell_value(c, name, &row);
    if (!row)
        return MATCH_NO_KEY;
    struct value wanted = {0};
    if (value_read(s, row, &wanted, e) < 0)
        return MATCH_BAD_VALUE;
    bool same = have && value_equal(have, &wanted, row);
    value_clear(&wanted);
    return same ? MATCH_SAME : MATCH_OTHER;
}

static bool cell_matches(const struct cell *c, const config_setting_t *group,
                         const struct section *fixed)
{
    const struct value *experiment = section_value(fixed, "experiment");
    if (experiment && strcmp(experiment->text, c->experiment->name) != 0)
        return false;
    for (int i = 0; i < config_setting_length(group); i++) {
        const config_setting_t *s = config_setting_get_elem(group, (unsigned)i);
        if (!is_fixed_key(config_setting_name(s)) && match_key(c, s, NULL) != MATCH_SAME)
            return false;
    }
    return true;
}

static void offer_keys(struct suggestion *near, const struct cells *cells)
{
    static const char *const special[] = {"guest", "image", "backend", "probe"};
    for (size_t i = 0; i < sizeof special / sizeof *special; i++)
        suggestion_offer(near, special[i]);
    for (const struct key_row *row = catalog_reference_keys; row->name; row++)
        suggestion_offer(near, row->name);
    for (size_t i = 0; i < cells->n; i++)
        for (size_t j = 0; j < cells->items[i].n_choices; j++)
            nearest_offer(&near->nearest, cells->items[i].choices[j].key->row->name);
}

/* A guest, image, backend or probe that no cell has. */
static bool check_special(struct reader *r, const struct cells *cells, const config_setting_t *s)
{
    const char *name = config_setting_name(s);
    const char *wanted = config_setting_get_string(s);
    struct suggestion near = {.nearest.wanted = wanted};
    for (size_t i = 0; i < cells->n; i++) {
        const char *have = special_value(&cells->items[i], name);
        if (strcmp(have, wanted) == 0)
            return true;
        nearest_offer(&near.nearest, have);
    }
    const char *found = near.nearest.found;
    reader_diagnose(r, s->line, "no cell has the %s \"%.60s\"%s%s%s", name, wanted,
                    found ? "; did you mean `" : "; expected one of an experiment's cells",
                    found ? found : "", found ? "`?" : "");
    return false;
}

/* A key that no cell has, or a value that no cell's key takes. True when the key is good. */
static bool check_key(struct reader *r, const struct cells *cells, const config_setting_t *s)
{
    if (cells->n > 0 && config_setting_get_string(s) &&
        special_value(&cells->items[0], config_setting_name(s)))
        return check_special(r, cells, s);
    bool known = false;
    cleanup_err struct err e = ERR_INIT;
    for (size_t i = 0; i < cells->n; i++) {
        enum match m = match_key(&cells->items[i], s, &e);
        if (m == MATCH_SAME || m == MATCH_OTHER)
            return true;
        known = known || m == MATCH_BAD_VALUE;
    }
    const char *name = config_setting_name(s);
    struct suggestion near = {.nearest.wanted = name};
    char text[512];
    offer_keys(&near, cells);
    if (known)
        reader_diagnose(r, s->line, "`%s`: %s", name, err_text(&e));
    else
        reader_diagnose(r, s->line, "unknown key `%s`: no cell has it%s", name,
                        suggestion_text(&near, text));
    return false;
}

static void diagnose_several(struct reader *r, const struct cells *cells, unsigned line,
                             const size_t *found, size_t n)
{
    char *text = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&text, &length);
    if (!out)
        abort();
    for (size_t i = 0; i < n && i < MOST_SHOWN_CELLS; i++) {
        const struct cell *c = &cells->items[found[i]];
        cleanup_free char *guest = cell_section_name(c, c->guest);
        fprintf(out, "%s%s: %s", i > 0 ? ", " : "", c->experiment->name, guest);
    }
    fputs(n > MOST_SHOWN_CELLS ? ", ..." : "", out);
    fclose(out);
    reader_diagnose(r, line, "matches %zu cells (%s); expected keys that name one of them", n,
                    text);
    free(text);
}

/* The one cell, or -1 after a diagnosis. */
static int64_t find_cell(struct reader *r, const struct cells *cells, const config_setting_t *group,
                         const struct section *fixed)
{
    cleanup_free size_t *found = calloc(cells->n + 1, sizeof *found);
    if (!found)
        abort();
    size_t n = 0;
    for (size_t i = 0; i < cells->n; i++)
        if (cell_matches(&cells->items[i], group, fixed))
            found[n++] = i;
    if (n == 1)
        return (int64_t)found[0];
    if (n == 0)
        reader_diagnose(r, group->line,
                        "matches no cell of the plan; expected values that one cell has");
    else
        diagnose_several(r, cells, group->line, found, n);
    return -1;
}

static const struct metric_row *find_metric(struct reader *r, const struct cell *c,
                                            const struct key_values *key)
{
    struct suggestion near = {.nearest.wanted = key->values[0].text};
    for (const struct metric_row *m = c->experiment->entry->metrics; m->name; m++) {
        if (strcmp(m->name, key->values[0].text) == 0)
            return m;
        suggestion_offer(&near, m->name);
    }
    char text[512];
    reader_diagnose(r, key->line, "the probe `%s` has no metric `%s`%s", c->experiment->entry->name,
                    key->values[0].text, suggestion_text(&near, text));
    return NULL;
}

static int parse_number(const char *text, const char *ending, double *ret, struct err *e)
{
    char *end;
    double number = strtod(text, &end);
    if (end == text || strcmp(end, ending) != 0 || !isfinite(number) || strpbrk(text, "xXnN"))
        return err_set(e, ERR_INPUT, "expected a number%s%s, found \"%s\"", *ending ? " with " : "",
                       ending, text);
    *ret = number;
    return 0;
}

/* Into the SI base unit. */
static int parse_quantity(const char *text, const char *unit, double *ret, struct err *e)
{
    int64_t whole = 0;
    if (strcmp(unit, "s") == 0) {
        if (units_parse_duration(text, &whole, e) < 0)
            return -1;
        *ret = (double)whole / 1e9;
        return 0;
    }
    if (strcmp(unit, "B") != 0)
        return parse_number(text, "", ret, e);
    if (units_parse_size(text, &whole, e) < 0)
        return -1;
    *ret = (double)whole;
    return 0;
}

static bool read_numbers(struct reader *r, const struct section *fixed, const char *unit,
                         Plimsoll__Reference *to)
{
    cleanup_err struct err e = ERR_INIT;
    const struct key_values *value = section_key(fixed, "value");
    const struct key_values *within = section_key(fixed, "within");
    if (parse_quantity(value->values[0].text, unit, &to->value, &e) < 0) {
        reader_diagnose(r, value->line, "`value`: %s", err_text(&e));
        return false;
    }
    if (!within->given)
        return true;
    if (within->n == 0)
        return false; /* of another type: diagnosed as it was read */
    if (parse_number(within->values[0].text, "%", &to->within, &e) < 0 || to->within <= 0 ||
        to->within > 1000) {
        reader_diagnose(r, within->line,
                        "`within`: expected a percentage above 0 and up to 1000, as \"20%%\", "
                        "found \"%s\"",
                        within->values[0].text);
        return false;
    }
    to->within /= 100;
    to->checked = true;
    return true;
}

static bool is_twice(const Plimsoll__Plan *plan, const Plimsoll__Reference *ref)
{
    for (size_t i = 0; i < plan->n_references; i++) {
        const Plimsoll__Reference *other = plan->references[i];
        if (other && other->cell == ref->cell && strcmp(other->set, ref->set) == 0 &&
            strcmp(other->metric, ref->metric) == 0)
            return true;
    }
    return false;
}

static void add_reference(struct reader *r, const config_setting_t *group, const char *set,
                          const char *metric, const Plimsoll__Reference *numbers,
                          Plimsoll__Plan *plan)
{
    Plimsoll__Reference *ref = malloc(sizeof *ref);
    if (!ref)
        abort();
    *ref = *numbers;
    ref->set = strdup(set);
    ref->metric = strdup(metric);
    if (!ref->set || !ref->metric)
        abort();
    if (is_twice(plan, ref) || plan->n_references == MOST_REFERENCES) {
        reader_diagnose(r, group->line, "%s; expected %s",
                        is_twice(plan, ref) ? "a second value for the same cell and metric"
                                            : "too many references",
                        is_twice(plan, ref) ? "one in each set" : "at most 1024");
        plimsoll__reference__free_unpacked(ref, NULL);
        return;
    }
    plan->references[plan->n_references++] = ref;
}

static void read_reference(struct reader *r, const struct cells *cells, const char *set,
                           const config_setting_t *group, Plimsoll__Plan *plan)
{
    if (!config_setting_is_group(group)) {
        reader_diagnose(r, group->line, "a reference is %s; expected a group, { metric = ... }",
                        libconf_type(group));
        return;
    }
    struct section fixed;
    const struct section_rules rules = {
        .rows = catalog_reference_keys, .what = "the reference", .skip_unknown = true};
    section_read(r, group, &rules, &fixed);
    bool good = section_value(&fixed, "metric") && section_value(&fixed, "value");
    for (int i = 0; i < config_setting_length(group); i++) {
        const config_setting_t *s = config_setting_get_elem(group, (unsigned)i);
        if (!is_fixed_key(config_setting_name(s)))
            good = check_key(r, cells, s) && good;
    }
    int64_t at = good ? find_cell(r, cells, group, &fixed) : -1;
    const struct metric_row *metric =
        at < 0 ? NULL : find_metric(r, &cells->items[at], section_key(&fixed, "metric"));
    Plimsoll__Reference numbers = PLIMSOLL__REFERENCE__INIT;
    numbers.cell = (uint32_t)at;
    if (metric && read_numbers(r, &fixed, metric->unit, &numbers))
        add_reference(r, group, set, metric->name, &numbers, plan);
    section_clear(&fixed);
}

void references_read(struct reader *r, const struct cells *cells, Plimsoll__Plan *plan)
{
    const config_setting_t *all =
        config_setting_get_member(config_root_setting(&r->config), "reference");
    if (!all || !config_setting_is_group(all))
        return;
    plan->references = calloc(MOST_REFERENCES + 1, sizeof(Plimsoll__Reference *));
    if (!plan->references)
        abort();
    for (int i = 0; i < config_setting_length(all); i++) {
        const config_setting_t *set = config_setting_get_elem(all, (unsigned)i);
        const char *name = config_setting_name(set);
        if (config_setting_is_group(set)) {
            read_reference(r, cells, name, set, plan);
            continue;
        }
        if (!config_setting_is_list(set))
            reader_diagnose(r, set->line, "the references `%s` are %s; expected a list, ({ ... })",
                            name, libconf_type(set));
        for (int j = 0; config_setting_is_list(set) && j < config_setting_length(set); j++)
            read_reference(r, cells, name, config_setting_get_elem(set, (unsigned)j), plan);
    }
}
