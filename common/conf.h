/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A configuration file (agent.conf, coordinator.conf): libconfig's syntax, checked against key rows
 * as a plan's sections are. No @include. Everything that is wrong is told in one error, a line
 * each, "FILE:LINE: what is wrong, what was expected".
 */
#ifndef COMMON_CONF_H
#define COMMON_CONF_H

#include "common/catalog/catalog.h"
#include "common/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct conf;

/* `rows` (ended by a row without a name) must outlive the result; keys that the file does not give
 * take their row's fallback. A file that does not exist is ERR_NOT_FOUND, a wrong one ERR_INPUT. */
int conf_load(const char *path, const struct key_row *rows, struct conf **ret, struct err *e);
void conf_free(struct conf **c);
#define cleanup_conf __attribute__((cleanup(conf_free)))

/* A line a key, for a program's help: its name, what it says, what it takes, its default. */
void conf_print_keys(const struct key_row *rows, FILE *out);

/* Whether the key has a value, from the file or from its row. */
bool conf_has(const struct conf *c, const char *key);
/* Typed getters. Asking for a key that no row has, or by another type, is a programming error
 * (abort). Texts (KEY_TEXT, KEY_NAME, KEY_CHOICE) are NULL where absent and belong to `c`. */
const char *conf_text(const struct conf *c, const char *key);
/* KEY_INTEGER, KEY_SIZE (bytes), KEY_DURATION (ns). */
int64_t conf_integer(const struct conf *c, const char *key, int64_t fallback);
double conf_real(const struct conf *c, const char *key, double fallback);
bool conf_flag(const struct conf *c, const char *key, bool fallback);
/* Rows with is_list, of any type: the items as texts, in order; NULL and 0 where absent. */
const char *const *conf_list(const struct conf *c, const char *key, size_t *ret_n);

#endif
