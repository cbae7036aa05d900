/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Bytes of a spool's files; spool.h says what they mean. */
#ifndef AGENT_SPOOL_FILE_H
#define AGENT_SPOOL_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* All of it, or -1 with errno; reading beyond the end of the file is EIO. */
int spool_pwrite(int fd, const uint8_t *data, size_t length, uint64_t offset);
int spool_pread(int fd, uint8_t *to, size_t length, uint64_t offset);

/* Makes FOLDER/reserve, if it is not there; that there is no room for it is only logged. */
void spool_reserve_make(const char *folder);
/* Gives its room back to the disk. False: there is none. */
bool spool_reserve_spend(const char *folder);

#endif
