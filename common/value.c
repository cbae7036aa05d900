/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "common/value.h"

#include "common/cleanup.h"
#include "common/lexer.h"
#include "common/libconf.h"
#include "common/units.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NAME_MOST_BYTES = 63, TEXT_MOST_BYTES = 4096, LIST_MOST_ITEMS = 256 };

static char *copy_text(const char *text)
{
    char *copy = strdup(text);
    if (!copy)
        abort();
    return copy;
}

bool name_is_good(const char *text)
{
    size_t n = strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789._-");
    return n > 0 && n <= NAME_MOST_BYTES && text[n] == '\0' && !strchr("._-", text[0]);
}

bool text_has_only(const char *text, const char *letters)
{
    return isalnum((unsigned char)text[0]) && text[strspn(text, letters)] == '\0';
}

const struct key_row *key_row_find(const struct key_row *rows, const char *name)
{
    for (; rows->name; rows++)
        if (strcmp(rows->name, name) == 0)
            return rows;
    return NULL;
}

static void describe_choices(const struct key_row *row, char *buffer, size_t bytes)
{
    size_t used = 0;
    for (const char *const *choice = row->choices; *choice && used < bytes; choice++) {
        const char *before = choice == row->choices ? "" : choice[1] ? ", " : " or ";
        int n = snprintf(buffer + used, bytes - used, "%s\"%s\"", before, *choice);
        used += (size_t)n;
    }
}

static void describe_one(const struct key_row *row, char *buffer, size_t bytes)
{
    char least[32], most[32];
    switch (row->type) {
    case KEY_TEXT:
        snprintf(buffer, bytes, "a text in quotes");
        break;
    case KEY_NAME:
        snprintf(buffer, bytes, "a name in quotes (a-z, 0-9, `.`, `_`, `-`)");
        break;
    case KEY_CHOICE:
        describe_choices(row, buffer, bytes);
        break;
    case KEY_INTEGER:
        snprintf(buffer, bytes,
                 row->least == row->most ? "%lld" : "a whole number from %lld to %lld",
                 (long long)row->least, (long long)row->most);
        break;
    case KEY_REAL:
        snprintf(buffer, bytes, "a number from %lld to %lld", (long long)row->least,
                 (long long)row->most);
        break;
    case KEY_FLAG:
        snprintf(buffer, bytes, "true or false");
        break;
    case KEY_SIZE:
        snprintf(buffer, bytes, "a size with its unit, \"%s\" to \"%s\"",
                 units_format_size(row->least, least), units_format_size(row->most, most));
        break;
    case KEY_DURATION:
        snprintf(buffer, bytes, "a time with its unit, \"%s\" to \"%s\"",
                 units_format_duration(row->least, least), units_format_duration(row->most, most));
        break;
    }
}

const char *value_expected(const struct key_row *row, char *buffer, size_t bytes)
{
    char one[400];
    describe_one(row, one, sizeof one);
    snprintf(buffer, bytes, row->is_list ? "a list ( ) of values, each %s" : "%s", one);
    return buffer;
}

/* What stands in the plan, shortened, for the end of an error's text. */
static const char *show(const config_setting_t *s, char *buffer, size_t bytes)
{
    switch (config_setting_type(s)) {
    case CONFIG_TYPE_INT:
    case CONFIG_TYPE_INT64:
        snprintf(buffer, bytes, "%lld", config_setting_get_int64(s));
        break;
    case CONFIG_TYPE_FLOAT:
        snprintf(buffer, bytes, "%.12g", config_setting_get_float(s));
        break;
    case CONFIG_TYPE_STRING:
        snprintf(buffer, bytes, "\"%.60s\"", config_setting_get_string(s));
        break;
    case CONFIG_TYPE_BOOL:
        snprintf(buffer, bytes, "%s", config_setting_get_bool(s) ? "true" : "false");
        break;
    default:
        snprintf(buffer, bytes, "%s", libconf_type(s));
    }
    return buffer;
}

static int wrong(const config_setting_t *s, const struct key_row *row, struct err *e)
{
    char expected[480], found[80];
    struct key_row one = *row;
    one.is_list = config_setting_is_aggregate(s) && row->is_list;
    return err_set(e, ERR_INPUT, "expected %s, found %s",
                   value_expected(&one, expected, sizeof expected), show(s, found, sizeof found));
}

/* An escape, "\\x1b", can bring into a text what the file itself may not have. */
static bool is_plain(const char *text)
{
    const char *end = text + strlen(text);
    for (size_t n; text < end; text += n) {
        n = utf8_length(text, end);
        if (n == 0 || utf8_is_control(text))
            return false;
    }
    return true;
}

/* "a-z, 0-9, +.-": runs of three and more are drawn together. */
static const char *describe_letters(const char *letters, char *buffer, size_t bytes)
{
    size_t used = 0;
    while (*letters && used + 8 < bytes) {
        size_t run = 1;
        while (letters[run] && letters[run] == letters[0] + (char)run)
            run++;
        if (run > 2)
            used += (size_t)snprintf(buffer + used, bytes - used, "%c-%c, ", letters[0],
                                     letters[run - 1]);
        else
            buffer[used++] = letters[0];
        letters += run > 2 ? run : 1;
    }
    buffer[used] = '\0';
    return buffer;
}

void text_make_plain(char *text)
{
    const char *end = text + strlen(text);
    for (size_t n; text < end; text += n) {
        n = utf8_length(text, end);
        if (n > 0 && (!utf8_is_control(text) || *text == '\n'))
            continue;
        *text = '?';
        n = 1;
    }
}

static int read_text(const config_setting_t *s, const struct key_row *row, struct value *ret,
                     struct err *e)
{
    if (config_setting_type(s) != CONFIG_TYPE_STRING)
        return wrong(s, row, e);
    const char *text = config_setting_get_string(s);
    if (!text)
        text = "";
    size_t most = row->most > 0 ? (size_t)row->most : TEXT_MOST_BYTES;
    if (row->type == KEY_TEXT && !is_plain(text))
        return err_set(e, ERR_INPUT,
                       "expected UTF-8 text without line breaks or control characters");
    if (row->type == KEY_TEXT && strlen(text) > most)
        return err_set(e, ERR_INPUT, "expected a text of at most %zu bytes, found %zu", most,
                       strlen(text));
    if (row->type == KEY_TEXT && strlen(text) < (size_t)row->least)
        return err_set(e, ERR_INPUT, "expected a text that is not empty");
    if (row->type == KEY_NAME && !name_is_good(text))
        return wrong(s, row, e);
    if (row->letters && !text_has_only(text, row->letters)) {
        char letters[80];
        return err_set(e, ERR_INPUT, "\"%.60s\" may have only %s and begin with a letter or digit",
                       text, describe_letters(row->letters, letters, sizeof letters));
    }
    ret->text = copy_text(text);
    return 0;
}

static int read_choice(const config_setting_t *s, const struct key_row *row, struct value *ret,
                       struct err *e)
{
    const char *text = config_setting_get_string(s);
    if (!text)
        return wrong(s, row, e);
    struct nearest near = {.wanted = text};
    for (const char *const *choice = row->choices; *choice; choice++) {
        if (strcmp(*choice, text) == 0) {
            ret->text = copy_text(text);
            return 0;
        }
        nearest_offer(&near, *choice);
    }
    wrong(s, row, e);
    if (!near.found || !e)
        return -1;
    cleanup_free char *said = copy_text(err_text(e));
    return err_set(e, ERR_INPUT, "%s; did you mean \"%s\"?", said, near.found);
}

static int read_integer(const config_setting_t *s, const struct key_row *row, struct value *ret,
                        struct err *e)
{
    int type = config_setting_type(s);
    if (type != CONFIG_TYPE_INT && type != CONFIG_TYPE_INT64)
        return wrong(s, row, e);
    int64_t integer = config_setting_get_int64(s);
    if (integer < row->least || integer > row->most)
        return wrong(s, row, e);
    ret->integer = integer;
    return 0;
}

static int read_real(const config_setting_t *s, const struct key_row *row, struct value *ret,
                     struct err *e)
{
    if (!config_setting_is_number(s))
        return wrong(s, row, e);
    double real = config_setting_type(s) == CONFIG_TYPE_FLOAT ? config_setting_get_float(s)
                                                              : (double)config_setting_get_int64(s);
    if (!(real >= (double)row->least && real <= (double)row->most))
        return wrong(s, row, e);
    ret->real = real;
    return 0;
}

static int read_flag(const config_setting_t *s, const struct key_row *row, struct value *ret,
                     struct err *e)
{
    if (config_setting_type(s) != CONFIG_TYPE_BOOL)
        return wrong(s, row, e);
    ret->flag = config_setting_get_bool(s) == CONFIG_TRUE;
    return 0;
}

static int read_quantity(const config_setting_t *s, const struct key_row *row, struct value *ret,
                         struct err *e)
{
    if (config_setting_is_number(s)) {
        char found[80];
        return err_set(e, ERR_INPUT, "%s lacks its unit; expected %s", show(s, found, sizeof found),
                       row->type == KEY_SIZE ? "a size as \"256MiB\"" : "a time as \"1.5s\"");
    }
    const char *text = config_setting_get_string(s);
    if (!text)
        return wrong(s, row, e);
    int64_t quantity = 0;
    int failed = row->type == KEY_SIZE ? units_parse_size(text, &quantity, e)
                                       : units_parse_duration(text, &quantity, e);
    if (failed)
        return -1;
    if (quantity < row->least || quantity > row->most)
        return wrong(s, row, e);
    ret->integer = quantity;
    return 0;
}

static int read_one(const config_setting_t *s, const struct key_row *row, struct value *ret,
                    struct err *e)
{
    switch (row->type) {
    case KEY_TEXT:
    case KEY_NAME:
        return read_text(s, row, ret, e);
    case KEY_CHOICE:
        return read_choice(s, row, ret, e);
    case KEY_INTEGER:
        return read_integer(s, row, ret, e);
    case KEY_REAL:
        return read_real(s, row, ret, e);
    case KEY_FLAG:
        return read_flag(s, row, ret, e);
    case KEY_SIZE:
    case KEY_DURATION:
        return read_quantity(s, row, ret, e);
    }
    abort();
}

static bool has_item(const struct value *v, const char *item)
{
    for (size_t i = 0; i < v->n_items; i++)
        if (strcmp(v->items[i], item) == 0)
            return true;
    return false;
}

static int read_item(const config_setting_t *s, const struct key_row *row, struct value *list,
                     struct err *e)
{
    struct value one = {0};
    if (read_one(s, row, &one, e) < 0)
        return -1;
    char *item = value_format(&one, row);
    value_clear(&one);
    /* Only of a set does it make no sense to say a thing twice: a command may repeat a word. */
    if (row->type != KEY_TEXT && has_item(list, item)) {
        err_set(e, ERR_INPUT, "\"%.60s\" stands twice in the list", item);
        free(item);
        return -1;
    }
    list->items[list->n_items++] = item;
    return 0;
}

static int read_list(const config_setting_t *s, const struct key_row *row, struct value *ret,
                     struct err *e)
{
    if (!config_setting_is_list(s) && !config_setting_is_array(s))
        return err_set(e, ERR_INPUT, "expected a list, (\"...\", \"...\"), found %s",
                       libconf_type(s));
    int n = config_setting_length(s);
    if (n > LIST_MOST_ITEMS)
        return err_set(e, ERR_INPUT, "a list of %d values; expected at most %d", n,
                       LIST_MOST_ITEMS);
    struct value list = {.items = calloc((size_t)n + 1, sizeof *list.items)};
    if (!list.items)
        abort();
    struct key_row item_row = *row;
    item_row.is_list = false;
    for (int i = 0; i < n; i++) {
        if (read_item(config_setting_get_elem(s, (unsigned)i), &item_row, &list, e) < 0) {
            value_clear(&list);
            return -1;
        }
    }
    *ret = list;
    return 0;
}

int value_read(const config_setting_t *s, const struct key_row *row, struct value *ret,
               struct err *e)
{
    struct value v = {0};
    if ((row->is_list ? read_list(s, row, &v, e) : read_one(s, row, &v, e)) < 0)
        return -1;
    *ret = v;
    return 0;
}

void value_fallback(const struct key_row *row, struct value *ret)
{
    bool quoted =
        !row->is_list && row->type != KEY_INTEGER && row->type != KEY_REAL && row->type != KEY_FLAG;
    char *text = NULL;
    int n = asprintf(&text, quoted ? "v = \"%s\"" : "v = %s", row->fallback);
    if (n < 0)
        abort();
    config_t config;
    struct libconf_fault fault;
    cleanup_err struct err e = ERR_INIT;
    if (libconf_read(text, (size_t)n, &config, &fault) < 0 ||
        value_read(config_lookup(&config, "v"), row, ret, &e) < 0) {
        fprintf(stderr, "the fallback of `%s` is wrong: %s\n", row->name, row->fallback);
        abort();
    }
    config_destroy(&config);
    free(text);
}

void value_clear(struct value *v)
{
    free(v->text);
    for (size_t i = 0; i < v->n_items; i++)
        free(v->items[i]);
    free(v->items);
    *v = (struct value){0};
}

void value_copy(const struct value *from, struct value *ret)
{
    *ret = *from;
    if (from->text)
        ret->text = copy_text(from->text);
    if (!from->items)
        return;
    ret->items = calloc(from->n_items + 1, sizeof *ret->items);
    if (!ret->items)
        abort();
    for (size_t i = 0; i < from->n_items; i++)
        ret->items[i] = copy_text(from->items[i]);
}

static bool same_items(const struct value *a, const struct value *b)
{
    if (a->n_items != b->n_items)
        return false;
    for (size_t i = 0; i < a->n_items; i++)
        if (strcmp(a->items[i], b->items[i]) != 0)
            return false;
    return true;
}

bool value_equal(const struct value *a, const struct value *b, const struct key_row *row)
{
    if (row->is_list)
        return same_items(a, b);
    if (a->text || b->text)
        return a->text && b->text && strcmp(a->text, b->text) == 0;
    return a->integer == b->integer && !islessgreater(a->real, b->real) && a->flag == b->flag;
}

static char *join(const struct value *v)
{
    size_t bytes = 1;
    for (size_t i = 0; i < v->n_items; i++)
        bytes += strlen(v->items[i]) + 1;
    char *text = malloc(bytes);
    if (!text)
        abort();
    if (v->n_items == 0) {
        free(text);
        return copy_text("()");
    }
    char *at = text;
    for (size_t i = 0; i < v->n_items; i++)
        at += sprintf(at, "%s%s", i > 0 ? " " : "", v->items[i]);
    return text;
}

char *value_format(const struct value *v, const struct key_row *row)
{
    char buffer[32];
    if (row->is_list)
        return join(v);
    switch (row->type) {
    case KEY_TEXT:
    case KEY_NAME:
    case KEY_CHOICE:
        return copy_text(v->text);
    case KEY_INTEGER:
        snprintf(buffer, sizeof buffer, "%lld", (long long)v->integer);
        break;
    case KEY_REAL:
        snprintf(buffer, sizeof buffer, "%.12g", v->real);
        break;
    case KEY_FLAG:
        snprintf(buffer, sizeof buffer, "%s", v->flag ? "true" : "false");
        break;
    case KEY_SIZE:
        units_format_size(v->integer, buffer);
        break;
    case KEY_DURATION:
        units_format_duration(v->integer, buffer);
        break;
    }
    return copy_text(buffer);
}
