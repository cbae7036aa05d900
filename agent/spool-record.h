/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The records of a spool's file: making and finding them; spool.h describes their form. No input or
 * output, so that any bytes may be tried on it. */
#ifndef AGENT_SPOOL_RECORD_H
#define AGENT_SPOOL_RECORD_H

#include "common/err.h"
#include "proto/frame.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    SPOOL_RECORD_HEAD_BYTES = 40,
    SPOOL_RECORD_SUM_BYTES = 16,
    SPOOL_RECORD_MOST_BYTES = SPOOL_RECORD_HEAD_BYTES + FRAME_MOST_BYTES + SPOOL_RECORD_SUM_BYTES,
};

enum spool_kind { SPOOL_START = 1, SPOOL_RESULT = 2, SPOOL_COMMITTED = 3 };

struct spool_record {
    enum spool_kind kind;
    uint64_t sequence;
    uint8_t uuid[16];
    const uint8_t *payload;
    size_t payload_length;
};

/* Bytes that the record takes in the file. */
size_t spool_record_size(const struct spool_record *r);
/* `to` has spool_record_size bytes. */
void spool_record_write(const struct spool_record *r, uint8_t *to);

/* Looks at the beginning of `data`. 1: a whole, good record, *ret_size bytes long, its payload
 * within `data`; 0: what is there may be the beginning of one, more bytes are needed; -1: no record
 * begins here. */
int spool_record_read(const uint8_t *data, size_t length, struct spool_record *ret,
                      size_t *ret_size);

/* What a scan of a file found. */
struct spool_scan {
    /* Called for each good record at its offset, in order. A return of -1 ends the scan. */
    int (*found)(void *arg, const struct spool_record *r, uint64_t offset, struct err *e);
    void *arg;
    uint64_t end;           /* behind the last good record */
    uint64_t damaged_bytes; /* between good records: not a torn tail */
    uint64_t damaged_at;    /* offset of the first of them */
    uint64_t torn_bytes;    /* behind the last good record */
};

/* Reads `size` bytes through `read_at` (all of `length` bytes, or -1) in a buffer of two records.
 */
typedef int spool_read_at(void *file, uint64_t offset, void *to, size_t length, struct err *e);
int spool_scan(struct spool_scan *scan, spool_read_at *read_at, void *file, uint64_t size,
               struct err *e);

#endif
