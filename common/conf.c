/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "common/conf.h"

#include "common/cleanup.h"
#include "common/fs.h"
#include "common/libconf.h"
#include "common/value.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

struct conf {
    const struct key_row *rows;
    struct value *values; /* one a row */
    bool *given;          /* one a row: the value holds */
};

/* Lines of complaint, gathered so that a person sees all of them at once. */
struct complaints {
    char *text;
    size_t length;
    FILE *out;
};

__attribute__((format(printf, 4, 5))) static void complain(struct complaints *c, const char *path,
                                                           unsigned line, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fprintf(c->out, "%s%s:%u: ", ftell(c->out) > 0 ? "\n" : "", path, line);
    vfprintf(c->out, format, args);
    va_end(args);
}

static void complain_unknown(struct complaints *c, const char *path, const config_setting_t *s,
                             const struct key_row *rows)
{
    struct nearest near = {.wanted = config_setting_name(s)};
    for (const struct key_row *row = rows; row->name; row++)
        nearest_offer(&near, row->name);
    complain(c, path, s->line, "unknown key `%s`%s%s%s", near.wanted,
             near.found ? "; did you mean `" : "", near.found ? near.found : "",
             near.found ? "`?" : "");
}

static void read_settings(struct conf *c, const char *path, const config_t *config,
                          struct complaints *wrong)
{
    const config_setting_t *root = config_root_setting(config);
    for (int i = 0; i < config_setting_length(root); i++) {
        const config_setting_t *s = config_setting_get_elem(root, (unsigned)i);
        const struct key_row *row = key_row_find(c->rows, config_setting_name(s));
        if (!row) {
            complain_unknown(wrong, path, s, c->rows);
            continue;
        }
        cleanup_err struct err e = ERR_INIT;
        if (value_read(s, row, &c->values[row - c->rows], &e) < 0)
            complain(wrong, path, s->line, "`%s`: %s", row->name, err_text(&e));
        c->given[row - c->rows] = true;
    }
}

static void fill_fallbacks(struct conf *c, const char *path, struct complaints *wrong)
{
    for (size_t i = 0; c->rows[i].name; i++) {
        char expected[480];
        if (c->given[i])
            continue;
        if (c->rows[i].required) {
            complain(wrong, path, 1, "`%s` is missing; expected %s", c->rows[i].name,
                     value_expected(&c->rows[i], expected, sizeof expected));
        } else if (c->rows[i].fallback) {
            value_fallback(&c->rows[i], &c->values[i]);
            c->given[i] = true;
        }
    }
}

static struct conf *conf_new(const struct key_row *rows)
{
    size_t n = 0;
    while (rows[n].name)
        n++;
    struct conf *c = calloc(1, sizeof *c);
    if (!c)
        abort();
    *c = (struct conf){.rows = rows,
                       .values = calloc(n + 1, sizeof *c->values),
                       .given = calloc(n + 1, sizeof *c->given)};
    if (!c->values || !c->given)
        abort();
    return c;
}

static int read_conf(struct conf *c, const char *path, const char *text, size_t length,
                     struct err *e)
{
    config_t config;
    struct libconf_fault fault;
    if (libconf_read(text, length, &config, &fault) < 0)
        return err_set(e, ERR_INPUT, "%s:%u: %s", path, fault.line, fault.text);
    struct complaints wrong = {0};
    wrong.out = open_memstream(&wrong.text, &wrong.length);
    if (!wrong.out)
        abort();
    read_settings(c, path, &config, &wrong);
    fill_fallbacks(c, path, &wrong);
    fclose(wrong.out);
    config_destroy(&config);
    text_make_plain(wrong.text);
    if (wrong.length > 0)
        err_set(e, ERR_INPUT, "%s", wrong.text);
    free(wrong.text);
    return wrong.length > 0 ? -1 : 0;
}

int conf_load(const char *path, const struct key_row *rows, struct conf **ret, struct err *e)
{
    cleanup_free char *text = NULL;
    size_t length = 0;
    cleanup_err struct err reading = ERR_INIT;
    if (fs_read(path, LIBCONF_MOST_BYTES, &text, &length, &reading) < 0) {
        if (reading.errnum == ENOENT)
            reading.code = ERR_NOT_FOUND;
        return err_move(e, &reading);
    }
    cleanup_conf struct conf *c = conf_new(rows);
    if (read_conf(c, path, text, length, e) < 0)
        return -1;
    *ret = steal(c);
    return 0;
}

void conf_free(struct conf **c)
{
    if (!*c)
        return;
    for (size_t i = 0; (*c)->rows[i].name; i++)
        value_clear(&(*c)->values[i]);
    free((*c)->values);
    free((*c)->given);
    free(*c);
    *c = NULL;
}

/* NULL where the key has no value. */
static const struct value *find(const struct conf *c, const char *key, const struct key_row **ret)
{
    const struct key_row *row = key_row_find(c->rows, key);
    if (!row)
        abort();
    if (ret)
        *ret = row;
    return c->given[row - c->rows] ? &c->values[row - c->rows] : NULL;
}

bool conf_has(const struct conf *c, const char *key)
{
    return find(c, key, NULL) != NULL;
}

static void want(bool right_type)
{
    if (!right_type)
        abort();
}

const char *conf_text(const struct conf *c, const char *key)
{
    const struct key_row *row;
    const struct value *v = find(c, key, &row);
    want(!row->is_list &&
         (row->type == KEY_TEXT || row->type == KEY_NAME || row->type == KEY_CHOICE));
    return v ? v->text : NULL;
}

int64_t conf_integer(const struct conf *c, const char *key, int64_t fallback)
{
    const struct key_row *row;
    const struct value *v = find(c, key, &row);
    want(!row->is_list &&
         (row->type == KEY_INTEGER || row->type == KEY_SIZE || row->type == KEY_DURATION));
    return v ? v->integer : fallback;
}

double conf_real(const struct conf *c, const char *key, double fallback)
{
    const struct key_row *row;
    const struct value *v = find(c, key, &row);
    want(!row->is_list && row->type == KEY_REAL);
    return v ? v->real : fallback;
}

bool conf_flag(const struct conf *c, const char *key, bool fallback)
{
    const struct key_row *row;
    const struct value *v = find(c, key, &row);
    want(!row->is_list && row->type == KEY_FLAG);
    return v ? v->flag : fallback;
}

const char *const *conf_list(const struct conf *c, const char *key, size_t *ret_n)
{
    const struct key_row *row;
    const struct value *v = find(c, key, &row);
    want(row->is_list);
    *ret_n = v ? v->n_items : 0;
    return v ? (const char *const *)v->items : NULL;
}

void conf_print_keys(const struct key_row *rows, FILE *out)
{
    for (const struct key_row *row = rows; row->name; row++) {
        char expected[480];
        fprintf(out, "  %-15s  %s: %s", row->name, row->help,
                value_expected(row, expected, sizeof expected));
        if (row->fallback)
            fprintf(out, " (%s)", row->fallback);
        fputs(row->required ? "; required\n" : "\n", out);
    }
}
