/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "coordinator/plan/reader.h"

#include "common/libconf.h"

#include <stdlib.h>
#include <string.h>

static size_t count_rows(const struct key_row *rows)
{
    size_t n = 0;
    while (rows && rows[n].name)
        n++;
    return n;
}

static void *new_array(size_t n, size_t size)
{
    void *array = calloc(n + 1, size);
    if (!array)
        abort();
    return array;
}

static struct key_values *find_key(const struct section *s, const char *name)
{
    for (size_t i = 0; i < s->n_keys; i++)
        if (strcmp(s->keys[i].row->name, name) == 0)
            return &s->keys[i];
    return NULL;
}

static void add_rows(struct section *s, const struct key_row *rows)
{
    for (; rows && rows->name; rows++)
        s->keys[s->n_keys++] = (struct key_values){.row = rows, .line = s->line};
}

static bool is_listed(const config_setting_t *s)
{
    return config_setting_is_list(s) || config_setting_is_array(s);
}

/* `( )` around plain values is one value of a list key, and around lists a factor. */
static bool makes_factor(const config_setting_t *s, const struct key_row *row)
{
    if (!is_listed(s))
        return false;
    if (!row->is_list)
        return true;
    return config_setting_length(s) > 0 && is_listed(config_setting_get_elem(s, 0));
}

static bool is_repeated(const struct key_values *key, const struct value *v)
{
    for (size_t i = 0; i < key->n; i++)
        if (value_equal(&key->values[i], v, key->row))
            return true;
    return false;
}

static void read_value(struct reader *r, const config_setting_t *s, struct key_values *key)
{
    struct value v = {0};
    cleanup_err struct err e = ERR_INIT;
    if (value_read(s, key->row, &v, &e) < 0) {
        reader_diagnose(r, s->line, "`%s`: %s", key->row->name, err_text(&e));
        return;
    }
    if (is_repeated(key, &v)) {
        char *text = value_format(&v, key->row);
        reader_diagnose(r, s->line, "`%s`: the value \"%s\" is repeated; expected each once",
                        key->row->name, text);
        free(text);
        value_clear(&v);
        return;
    }
    key->lines[key->n] = s->line;
    key->values[key->n++] = v;
}

static void read_factor(struct reader *r, const config_setting_t *s, struct key_values *key)
{
    int n = config_setting_length(s);
    if (n == 0)
        reader_diagnose(r, s->line, "`%s`: a factor without values; expected at least one",
                        key->row->name);
    key->is_factor = true;
    key->values = new_array((size_t)n, sizeof *key->values);
    key->lines = new_array((size_t)n, sizeof *key->lines);
    for (int i = 0; i < n; i++)
        read_value(r, config_setting_get_elem(s, (unsigned)i), key);
}

static void read_key(struct reader *r, const config_setting_t *s, const struct section_rules *rules,
                     struct key_values *key)
{
    key->given = true;
    key->line = s->line;
    if (makes_factor(s, key->row)) {
        if (rules->factors && !key->row->fixed) {
            read_factor(r, s, key);
            return;
        }
        char expected[480];
        reader_diagnose(r, s->line, "`%s` is no factor; expected %s", key->row->name,
                        value_expected(key->row, expected, sizeof expected));
        return;
    }
    key->values = new_array(1, sizeof *key->values);
    key->lines = new_array(1, sizeof *key->lines);
    read_value(r, s, key);
}

static void diagnose_unknown(struct reader *r, const config_setting_t *s, const struct section *in,
                             const char *what)
{
    struct suggestion near = {.nearest.wanted = config_setting_name(s)};
    char text[512];
    for (size_t i = 0; i < in->n_keys; i++)
        suggestion_offer(&near, in->keys[i].row->name);
    reader_diagnose(r, s->line, "unknown key `%s` in %s%s", config_setting_name(s), what,
                    suggestion_text(&near, text));
}

static void fill_fallback(struct reader *r, const struct section_rules *rules, struct section *s,
                          struct key_values *key)
{
    char expected[480];
    if (key->given || (rules->skip && strcmp(key->row->name, rules->skip) == 0))
        return;
    if (key->row->required) {
        reader_diagnose(r, s->line, "`%s` is missing in %s; expected %s", key->row->name,
                        rules->what, value_expected(key->row, expected, sizeof expected));
    } else if (key->row->fallback) {
        key->values = new_array(1, sizeof *key->values);
        key->lines = new_array(1, sizeof *key->lines);
        value_fallback(key->row, &key->values[0]);
        key->lines[0] = s->line;
        key->n = 1;
    }
}

void section_read(struct reader *r, const config_setting_t *group,
                  const struct section_rules *rules, struct section *ret)
{
    int n = group ? config_setting_length(group) : 0;
    struct section s = {.name = group ? config_setting_name(group) : NULL,
                        .line = group ? group->line : 1};
    s.keys = new_array(count_rows(rules->rows) + count_rows(rules->more), sizeof *s.keys);
    add_rows(&s, rules->rows);
    add_rows(&s, rules->more);
    for (int i = 0; i < n; i++) {
        const config_setting_t *item = config_setting_get_elem(group, (unsigned)i);
        const char *name = config_setting_name(item);
        if (rules->skip && strcmp(name, rules->skip) == 0)
            continue;
        struct key_values *key = find_key(&s, name);
        if (key)
            read_key(r, item, rules, key);
        else if (!rules->skip_unknown)
            diagnose_unknown(r, item, &s, rules->what);
    }
    for (size_t i = 0; i < s.n_keys; i++)
        fill_fallback(r, rules, &s, &s.keys[i]);
    *ret = s;
}

void section_clear(struct section *s)
{
    for (size_t i = 0; i < s->n_keys; i++) {
        for (size_t j = 0; j < s->keys[i].n; j++)
            value_clear(&s->keys[i].values[j]);
        free(s->keys[i].values);
        free(s->keys[i].lines);
    }
    free(s->keys);
    *s = (struct section){0};
}

const struct key_values *section_key(const struct section *s, const char *name)
{
    return find_key(s, name);
}

const struct value *section_value(const struct section *s, const char *name)
{
    const struct key_values *key = find_key(s, name);
    return key && key->n > 0 ? &key->values[0] : NULL;
}

struct section *sections_find(const struct sections *s, const char *name)
{
    for (size_t i = 0; i < s->n; i++)
        if (s->items[i].name && strcmp(s->items[i].name, name) == 0)
            return &s->items[i];
    return NULL;
}
