/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proto/settings.h"

#include "common/log.h"
#include "common/value.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* NULL where absent; another type than asked for is a programming error, since the catalog's row
 * was checked before. */
static const Plimsoll__Value *find(const Plimsoll__Section *s, const char *key,
                                   Plimsoll__Value__KindCase kind)
{
    for (size_t i = 0; i < s->n_settings; i++) {
        if (strcmp(s->settings[i]->key, key) != 0)
            continue;
        const Plimsoll__Value *value = s->settings[i]->value;
        if (value && value->kind_case == kind)
            return value;
        log_error("section `%s`: key `%s` was read as another type than it has", s->name, key);
        abort();
    }
    return NULL;
}

const char *settings_text(const Plimsoll__Section *s, const char *key)
{
    const Plimsoll__Value *v = find(s, key, PLIMSOLL__VALUE__KIND_TEXT);
    return v ? v->text : NULL;
}

int64_t settings_integer(const Plimsoll__Section *s, const char *key, int64_t fallback)
{
    const Plimsoll__Value *v = find(s, key, PLIMSOLL__VALUE__KIND_INTEGER);
    return v ? v->integer : fallback;
}

double settings_real(const Plimsoll__Section *s, const char *key, double fallback)
{
    const Plimsoll__Value *v = find(s, key, PLIMSOLL__VALUE__KIND_REAL);
    return v ? v->real : fallback;
}

bool settings_flag(const Plimsoll__Section *s, const char *key, bool fallback)
{
    const Plimsoll__Value *v = find(s, key, PLIMSOLL__VALUE__KIND_FLAG);
    return v ? v->flag != 0 : fallback;
}

const Plimsoll__Strings *settings_list(const Plimsoll__Section *s, const char *key)
{
    const Plimsoll__Value *v = find(s, key, PLIMSOLL__VALUE__KIND_LIST);
    return v ? v->list : NULL;
}

static Plimsoll__Value__KindCase kind_of(const struct key_row *row)
{
    if (row->is_list)
        return PLIMSOLL__VALUE__KIND_LIST;
    switch (row->type) {
    case KEY_TEXT:
    case KEY_NAME:
    case KEY_CHOICE:
        return PLIMSOLL__VALUE__KIND_TEXT;
    case KEY_REAL:
        return PLIMSOLL__VALUE__KIND_REAL;
    case KEY_FLAG:
        return PLIMSOLL__VALUE__KIND_FLAG;
    default:
        return PLIMSOLL__VALUE__KIND_INTEGER;
    }
}

static bool is_choice(const struct key_row *row, const char *text)
{
    for (const char *const *c = row->choices; c && *c; c++)
        if (strcmp(*c, text) == 0)
            return true;
    return false;
}

static bool is_plain(const char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text < 0x20 || *text == 0x7f)
            return false;
    return true;
}

static int check_text(const struct key_row *row, const char *text, struct err *e)
{
    if (row->type == KEY_NAME && !name_is_good(text))
        return err_set(e, ERR_INPUT, "key `%s`: not a name", row->name);
    if (row->type == KEY_CHOICE && !is_choice(row, text))
        return err_set(e, ERR_INPUT, "key `%s`: `%s` is none of its choices", row->name, text);
    if (!is_plain(text))
        return err_set(e, ERR_INPUT, "key `%s`: a control character", row->name);
    if (row->type == KEY_TEXT && row->most > 0 && strlen(text) > (size_t)row->most)
        return err_set(e, ERR_INPUT, "key `%s`: more than %lld bytes", row->name,
                       (long long)row->most);
    if (row->type == KEY_TEXT && strlen(text) < (size_t)row->least)
        return err_set(e, ERR_INPUT, "key `%s`: an empty text", row->name);
    if (row->letters && !text_has_only(text, row->letters))
        return err_set(e, ERR_INPUT, "key `%s`: a character that it may not have", row->name);
    return 0;
}

static int check_list(const struct key_row *row, const Plimsoll__Strings *list, struct err *e)
{
    for (size_t i = 0; i < list->n_item; i++)
        if (check_text(row, list->item[i], e) < 0)
            return -1;
    return 0;
}

static int check_integer(const struct key_row *row, int64_t value, struct err *e)
{
    if (value >= row->least && value <= row->most)
        return 0;
    return err_set(e, ERR_INPUT, "key `%s`: %lld is out of range, %lld to %lld", row->name,
                   (long long)value, (long long)row->least, (long long)row->most);
}

static int check_real(const struct key_row *row, double value, struct err *e)
{
    if (isfinite(value) &&
        (row->least == row->most || (value >= (double)row->least && value <= (double)row->most)))
        return 0;
    return err_set(e, ERR_INPUT, "key `%s`: %g is out of range, %lld to %lld", row->name, value,
                   (long long)row->least, (long long)row->most);
}

static int check_value(const struct key_row *row, const Plimsoll__Value *v, struct err *e)
{
    if (!v || v->kind_case != kind_of(row))
        return err_set(e, ERR_INPUT, "key `%s`: a value of another type", row->name);
    switch (v->kind_case) {
    case PLIMSOLL__VALUE__KIND_LIST:
        return check_list(row, v->list, e);
    case PLIMSOLL__VALUE__KIND_TEXT:
        return check_text(row, v->text, e);
    case PLIMSOLL__VALUE__KIND_REAL:
        return check_real(row, v->real, e);
    case PLIMSOLL__VALUE__KIND_INTEGER:
        return check_integer(row, v->integer, e);
    default:
        return 0;
    }
}

static bool repeated(const Plimsoll__Section *s, size_t i)
{
    for (size_t k = 0; k < i; k++)
        if (strcmp(s->settings[k]->key, s->settings[i]->key) == 0)
            return true;
    return false;
}

static bool present(const Plimsoll__Section *s, const char *key)
{
    for (size_t i = 0; i < s->n_settings; i++)
        if (strcmp(s->settings[i]->key, key) == 0)
            return true;
    return false;
}

static int check_setting(const Plimsoll__Section *s, size_t i, const struct key_row *rows,
                         struct err *e)
{
    const struct key_row *row = key_row_find(rows, s->settings[i]->key);
    if (!row)
        return err_set(e, ERR_INPUT, "unknown key `%s`", s->settings[i]->key);
    if (repeated(s, i))
        return err_set(e, ERR_INPUT, "key `%s` is given twice", row->name);
    return check_value(row, s->settings[i]->value, e);
}

int settings_check(const Plimsoll__Section *s, const struct key_row *rows, struct err *e)
{
    for (size_t i = 0; i < s->n_settings; i++)
        if (check_setting(s, i, rows, e) < 0)
            return err_prefix(e, "section `%s`", s->name);
    for (const struct key_row *row = rows; row->name; row++)
        if (row->required && !present(s, row->name)) {
            err_set(e, ERR_INPUT, "key `%s` is missing", row->name);
            return err_prefix(e, "section `%s`", s->name);
        }
    return 0;
}

/* ---- Making one ---- */

static void *need(void *memory)
{
    if (!memory)
        abort();
    return memory;
}

static Plimsoll__Strings *strings_new(const struct value *v)
{
    Plimsoll__Strings *s = need(malloc(sizeof *s));
    plimsoll__strings__init(s);
    s->item = need(calloc(v->n_items + 1, sizeof *s->item));
    for (size_t i = 0; i < v->n_items; i++)
        s->item[s->n_item++] = need(strdup(v->items[i]));
    return s;
}

static Plimsoll__Value *value_new(const struct key_row *row, const struct value *v)
{
    Plimsoll__Value *to = need(malloc(sizeof *to));
    plimsoll__value__init(to);
    to->kind_case = kind_of(row);
    switch (to->kind_case) {
    case PLIMSOLL__VALUE__KIND_LIST:
        to->list = strings_new(v);
        break;
    case PLIMSOLL__VALUE__KIND_TEXT:
        to->text = need(strdup(v->text));
        break;
    case PLIMSOLL__VALUE__KIND_REAL:
        to->real = v->real;
        break;
    case PLIMSOLL__VALUE__KIND_FLAG:
        to->flag = v->flag;
        break;
    default:
        to->integer = v->integer;
    }
    return to;
}

Plimsoll__Setting *setting_new(const struct key_row *row, const struct value *v)
{
    Plimsoll__Setting *s = need(malloc(sizeof *s));
    plimsoll__setting__init(s);
    s->key = need(strdup(row->name));
    s->value = value_new(row, v);
    return s;
}
