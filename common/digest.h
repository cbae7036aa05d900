/* SPDX-License-Identifier: GPL-3.0-or-later */
/* SHA-256, as "sha256:" and 64 hex digits. */
#ifndef COMMON_DIGEST_H
#define COMMON_DIGEST_H

#include "common/err.h"

#include <stddef.h>

enum { DIGEST_TEXT_BYTES = 7 + 64 + 1 };

void digest_bytes(const void *data, size_t length, char ret_text[DIGEST_TEXT_BYTES]);
int digest_file(const char *path, char ret_text[DIGEST_TEXT_BYTES], struct err *e);

#endif
