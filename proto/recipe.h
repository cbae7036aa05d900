/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The recipe of an image: the canonical text of an image Section, from which deploy/image builds
 * and by whose digest what was built is found again.
 *
 * One line a setting, `key = value` and a newline, sorted by key (byte order). Numbers are plain
 * (bytes, ns), flags `true` or `false`, the items of a list separated by one space. In texts and
 * items a backslash is written `\\`, a newline `\n`, any other control character `\xHH`; in items a
 * space is
 * `\s`, and an empty item is `\e`. The section's own name is not part of it.
 */
#ifndef PROTO_RECIPE_H
#define PROTO_RECIPE_H

#include "common/digest.h"
#include "common/err.h"
#include "proto/plimsoll.pb-c.h"

/* The text, the caller's to free. */
int recipe_text(const Plimsoll__Section *image, char **ret_text, struct err *e);

/* "sha256:" and the hex digest of that text. */
int recipe_digest(const Plimsoll__Section *image, char ret_digest[DIGEST_TEXT_BYTES],
                  struct err *e);

#endif
