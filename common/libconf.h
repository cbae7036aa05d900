/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * libconfig for text that nobody vouches for.
 *
 * The library itself ends the program on an @include of a folder, hangs on one of a FIFO, wraps
 * integers beyond 32 bits in silence, and needs time quadratic in the text's size and stack in its
 * depth. So the text is checked here first, by a grammar of our own that says what was expected
 * where, and the library sees only what passed.
 */
#ifndef COMMON_LIBCONF_H
#define COMMON_LIBCONF_H

#include <libconfig.h>
#include <stddef.h>

enum { LIBCONF_MOST_BYTES = 256 << 10, LIBCONF_MOST_DEPTH = 16, LIBCONF_MOST_VALUES = 5000 };

struct libconf_fault {
    unsigned line; /* from 1 */
    char text[256];
};

/* Reads `text` into `ret`, which the caller has not initialised; on success config_destroy frees
 * it. Each setting's `line` is that of its name, or of its own beginning in a list. -1: `fault`
 * says where and why. */
int libconf_read(const char *text, size_t length, config_t *ret, struct libconf_fault *fault);

/* "a string", "a group { }": what a setting is, for error texts. */
const char *libconf_type(const config_setting_t *s);

#define cleanup_config __attribute__((cleanup(config_destroy)))

#endif
