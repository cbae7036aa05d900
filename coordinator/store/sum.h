/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What a stored result and its samples add up to: SQLite has no checksums, and without one a bad
 * block would be read as another figure. Texts are not part of it, no figure is made of them.
 * Private to the store. */
#ifndef COORDINATOR_STORE_SUM_H
#define COORDINATOR_STORE_SUM_H

#include "coordinator/store/read.h"

#include <sodium.h>
#include <stddef.h>
#include <stdint.h>

enum { SUM_BYTES = 16 };

struct sum {
    crypto_generichash_state state; /* BLAKE2b */
};

/* Everything of the result but its samples, conditions and texts; `conditions` as they are stored.
 */
void sum_begin(struct sum *s, const struct read_result *r, const void *conditions, size_t length);
/* In their order. A value that is not a number is the same whatever its bits. */
void sum_sample(struct sum *s, const struct read_sample *sample);
void sum_end(struct sum *s, uint8_t ret[SUM_BYTES]);

#endif
