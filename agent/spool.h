/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Results that the coordinator has not committed yet, on disk. A result is synced here before it is
 * sent and stays until the coordinator says that it is in its store.
 *
 * FOLDER/records begins with a START record and goes on with RESULT and COMMITTED ones:
 *
 *   offset 0  "PLSP"   magic
 *          4  uint8    kind, then 3 bytes of 0
 *          8  uint64   sequence (START: the next one to be used), big-endian
 *         16  16 bytes the spool's UUID
 *         32  uint32   length of the payload, big-endian: a frame (proto/frame.h), or 0
 *         36  uint32   0
 *         40  payload
 *             16 bytes BLAKE2b of all the above
 *
 * At open a torn tail (a crash in mid-write) is dropped and a damaged stretch is skipped; the file
 * as it was is kept beside as FOLDER/damaged-TIME and named. Sequences that may have been used are
 * then left out, so that one never means two results. FOLDER/reserve holds room for the last
 * results of a disk that gets full.
 *
 * Threads: spool_append on one thread (it blocks for the sync), everything else on any.
 */
#ifndef AGENT_SPOOL_H
#define AGENT_SPOOL_H

#include "common/err.h"
#include "proto/plimsoll.pb-c.h"

#include <stddef.h>
#include <stdint.h>

enum {
    SPOOL_UUID_BYTES = 37,
    SPOOL_MOST_PENDING = 1 << 16, /* uncommitted results; 16 bytes of memory each */
};

struct spool;

/* Makes the folder and an empty spool with a new UUID where there is none. */
int spool_open(const char *folder, struct spool **ret, struct err *e);
/* Writes the commits that are not on disk yet. NULL is fine. */
void spool_close(struct spool **s);

/* Text form, of the spool's lifetime. */
const char *spool_uuid(const struct spool *s);
uint64_t spool_next_sequence(struct spool *s);
size_t spool_pending(struct spool *s);
/* The sequence of the last uncommitted result; 0 without one. */
uint64_t spool_newest(struct spool *s);
/* What was found damaged at open, in words; NULL: nothing. */
const char *spool_damage(const struct spool *s);

/* Names the result (its `spool` is only written, its `sequence` also set), writes and syncs it. On
 * failure (ERR_SYSTEM with ENOSPC: the disk is full, even with the reserve) nothing was kept. */
int spool_append(struct spool *s, Plimsoll__Result *result, struct err *e);

/* The oldest uncommitted result after `after` (0: the very oldest) that can be read, in its
 * envelope, to be freed with frame_free. ERR_NOT_FOUND when there is none. */
int spool_read(struct spool *s, uint64_t after, Plimsoll__Envelope **ret, uint64_t *ret_sequence,
               struct err *e);

/* Forgets a result; one of another spool or forgotten before is fine. */
void spool_commit(struct spool *s, const char *uuid, uint64_t sequence);

#endif
