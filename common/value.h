/* SPDX-License-Identifier: GPL-3.0-or-later */
/* One value of a key, read from libconfig's tree or from a row's fallback and checked against its
 * row. */
#ifndef COMMON_VALUE_H
#define COMMON_VALUE_H

#include "common/catalog/catalog.h"
#include "common/err.h"

#include <libconfig.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Which member counts follows from the row: text for KEY_TEXT, KEY_NAME, KEY_CHOICE; integer for
 * KEY_INTEGER, KEY_SIZE (bytes), KEY_DURATION (ns); items for is_list rows of any type. */
struct value {
    char *text;
    int64_t integer;
    double real;
    bool flag;
    char **items; /* as a plan would write them */
    size_t n_items;
};

/* Reads one value: for an is_list row the whole list, else a scalar. ERR_INPUT says what was found
 * and what expected, without the key's name. */
int value_read(const config_setting_t *s, const struct key_row *row, struct value *ret,
               struct err *e);
/* The row's fallback, which must not be NULL; a wrong one is a programming error (abort). */
void value_fallback(const struct key_row *row, struct value *ret);
void value_clear(struct value *v);
void value_copy(const struct value *from, struct value *ret);
bool value_equal(const struct value *a, const struct value *b, const struct key_row *row);
/* As a plan's author would write it, lists joined by blanks; the caller frees. */
char *value_format(const struct value *v, const struct key_row *row);

/* "a size with its unit, 4MiB to 4TiB": what a row takes. The buffer holds `bytes`. */
const char *value_expected(const struct key_row *row, char *buffer, size_t bytes);

/* Replaces what is no UTF-8 and every control character but the newline by `?`: a complaint shows
 * what somebody wrote, and may not bring a terminal's commands along. */
void text_make_plain(char *text);

/* Rows end in one without a name. NULL where there is none of that name. */
const struct key_row *key_row_find(const struct key_row *rows, const char *name);

/* KEY_NAME's rule, and that of a row's `letters`. */
bool name_is_good(const char *text);
bool text_has_only(const char *text, const char *letters);

/* Adds `candidate` where it is nearer to `wanted` than what was seen before, by insertions,
 * deletions, replacements and swaps of neighbours; at most a third of the letters may differ. Start
 * with {wanted}. */
struct nearest {
    const char *wanted;
    const char *found; /* NULL: nothing is near */
    size_t distance;
};
void nearest_offer(struct nearest *n, const char *candidate);

#endif
