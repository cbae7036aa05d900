/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agent/spool-record.h"

#include "common/cleanup.h"

#include <endian.h>
#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

static const uint8_t magic[4] = {'P', 'L', 'S', 'P'};

enum { AT_KIND = 4, AT_SEQUENCE = 8, AT_UUID = 16, AT_LENGTH = 32, AT_ZERO = 36 };

size_t spool_record_size(const struct spool_record *r)
{
    return SPOOL_RECORD_HEAD_BYTES + r->payload_length + SPOOL_RECORD_SUM_BYTES;
}

static void checksum(const uint8_t *record, size_t length, uint8_t ret[SPOOL_RECORD_SUM_BYTES])
{
    crypto_generichash(ret, SPOOL_RECORD_SUM_BYTES, record, length, NULL, 0);
}

void spool_record_write(const struct spool_record *r, uint8_t *to)
{
    uint64_t sequence = htobe64(r->sequence);
    uint32_t length = htobe32((uint32_t)r->payload_length);
    memset(to, 0, SPOOL_RECORD_HEAD_BYTES);
    memcpy(to, magic, sizeof magic);
    to[AT_KIND] = (uint8_t)r->kind;
    memcpy(to + AT_SEQUENCE, &sequence, sizeof sequence);
    memcpy(to + AT_UUID, r->uuid, sizeof r->uuid);
    memcpy(to + AT_LENGTH, &length, sizeof length);
    if (r->payload_length > 0)
        memcpy(to + SPOOL_RECORD_HEAD_BYTES, r->payload, r->payload_length);
    size_t summed = SPOOL_RECORD_HEAD_BYTES + r->payload_length;
    checksum(to, summed, to + summed);
}

static bool head_is_good(const uint8_t *head, size_t *ret_payload)
{
    static const uint8_t zeros[4];
    uint32_t length;
    memcpy(&length, head + AT_LENGTH, sizeof length);
    *ret_payload = be32toh(length);
    enum spool_kind kind = head[AT_KIND];
    return kind >= SPOOL_START && kind <= SPOOL_COMMITTED &&
           memcmp(head + AT_KIND + 1, zeros, 3) == 0 && memcmp(head + AT_ZERO, zeros, 4) == 0 &&
           *ret_payload <= FRAME_MOST_BYTES && (kind == SPOOL_RESULT) == (*ret_payload > 0);
}

int spool_record_read(const uint8_t *data, size_t length, struct spool_record *ret,
                      size_t *ret_size)
{
    size_t compare = length < sizeof magic ? length : sizeof magic;
    if (memcmp(data, magic, compare) != 0)
        return -1;
    if (length < SPOOL_RECORD_HEAD_BYTES)
        return 0;
    size_t payload;
    if (!head_is_good(data, &payload))
        return -1;
    size_t summed = SPOOL_RECORD_HEAD_BYTES + payload;
    if (length < summed + SPOOL_RECORD_SUM_BYTES)
        return 0;
    uint8_t sum[SPOOL_RECORD_SUM_BYTES];
    checksum(data, summed, sum);
    if (memcmp(sum, data + summed, sizeof sum) != 0)
        return -1;
    uint64_t sequence;
    memcpy(&sequence, data + AT_SEQUENCE, sizeof sequence);
    *ret = (struct spool_record){.kind = data[AT_KIND],
                                 .sequence = be64toh(sequence),
                                 .payload = data + SPOOL_RECORD_HEAD_BYTES,
                                 .payload_length = payload};
    memcpy(ret->uuid, data + AT_UUID, sizeof ret->uuid);
    *ret_size = summed + SPOOL_RECORD_SUM_BYTES;
    return 1;
}

/* ---- Scanning ---- */

enum { WINDOW_BYTES = 2 * SPOOL_RECORD_MOST_BYTES };

struct window {
    uint8_t *bytes;
    size_t used;    /* bytes in the window */
    size_t at;      /* where we look, within it */
    uint64_t start; /* the window's offset in the file */
};

/* Keeps at least one record's worth of bytes ahead of `at`, as far as the file goes. */
static int refill(struct window *w, spool_read_at *read_at, void *file, uint64_t size,
                  struct err *e)
{
    if (w->used - w->at >= SPOOL_RECORD_MOST_BYTES || w->start + w->used == size)
        return 0;
    memmove(w->bytes, w->bytes + w->at, w->used - w->at);
    w->used -= w->at;
    w->start += w->at;
    w->at = 0;
    uint64_t left = size - (w->start + w->used);
    size_t room = WINDOW_BYTES - w->used;
    size_t take = left < room ? (size_t)left : room;
    if (read_at(file, w->start + w->used, w->bytes + w->used, take, e) < 0)
        return -1;
    w->used += take;
    return 0;
}

/* The next place after `at` where a record may begin, or the window's end. */
static size_t next_candidate(const struct window *w)
{
    const uint8_t *from = w->bytes + w->at + 1;
    const uint8_t *hit = memchr(from, magic[0], w->used - w->at - 1);
    return hit ? (size_t)(hit - w->bytes) : w->used;
}

static int scan_window(struct spool_scan *scan, struct window *w, struct err *e)
{
    struct spool_record r;
    size_t record_size = 0;
    uint64_t offset = w->start + w->at;
    if (spool_record_read(w->bytes + w->at, w->used - w->at, &r, &record_size) != 1) {
        /* Also when more bytes are asked for: the window holds all that there are, but a record
         * behind a damaged length may still be whole. */
        w->at = next_candidate(w);
        return 0;
    }
    if (offset > scan->end) {
        if (scan->damaged_bytes == 0)
            scan->damaged_at = scan->end;
        scan->damaged_bytes += offset - scan->end;
    }
    scan->end = offset + record_size;
    w->at += record_size;
    return scan->found(scan->arg, &r, offset, e);
}

int spool_scan(struct spool_scan *scan, spool_read_at *read_at, void *file, uint64_t size,
               struct err *e)
{
    scan->end = scan->damaged_bytes = scan->damaged_at = scan->torn_bytes = 0;
    struct window w = {.bytes = malloc(WINDOW_BYTES)};
    if (!w.bytes)
        return err_system(e, ENOMEM, "cannot read the spool");
    int failed = 0;
    while (!failed && w.start + w.at < size) {
        failed = refill(&w, read_at, file, size, e);
        if (!failed)
            failed = scan_window(scan, &w, e);
    }
    free(w.bytes);
    scan->torn_bytes = size - scan->end;
    return failed;
}
