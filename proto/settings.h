/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Typed reading of a Section's settings. The keys were checked against the catalog before; asking
 * for a key that the catalog's row does not have, or of another type, is a programming error
 * (abort). */
#ifndef PROTO_SETTINGS_H
#define PROTO_SETTINGS_H

#include "common/catalog/catalog.h"
#include "common/err.h"
#include "proto/plimsoll.pb-c.h"

#include <stdbool.h>
#include <stdint.h>

/* NULL or the fallback where an optional key is absent. */
const char *settings_text(const Plimsoll__Section *s, const char *key);
int64_t settings_integer(const Plimsoll__Section *s, const char *key, int64_t fallback);
double settings_real(const Plimsoll__Section *s, const char *key, double fallback);
bool settings_flag(const Plimsoll__Section *s, const char *key, bool fallback);
/* NULL where absent. */
const Plimsoll__Strings *settings_list(const Plimsoll__Section *s, const char *key);

/* Checks what a peer sent against the rows: unknown, missing and repeated keys, types, bounds,
 * letters. */
int settings_check(const Plimsoll__Section *s, const struct key_row *rows, struct err *e);

/* The setting of a row's key with this value, copied. Free with
 * plimsoll__setting__free_unpacked, or with the section that it becomes part of. */
struct value;
Plimsoll__Setting *setting_new(const struct key_row *row, const struct value *v);

#endif
