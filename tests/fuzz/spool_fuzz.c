/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What may lie in a spool's file after a crash or on a bad disk. */
#include "agent/spool-record.h"
#include "common/cleanup.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

struct input {
    const uint8_t *data;
    size_t length;
    uint64_t end; /* of the last record found */
};

static int read_input(void *file, uint64_t offset, void *to, size_t length, struct err *e)
{
    const struct input *in = file;
    (void)e;
    if (offset > in->length || length > in->length - offset)
        abort();
    memcpy(to, in->data + offset, length);
    return 0;
}

/* Found records come in order, do not overlap, lie within the input, and are written as they were
 * read. */
static int check_record(void *arg, const struct spool_record *r, uint64_t offset, struct err *e)
{
    struct input *in = arg;
    (void)e;
    size_t size = spool_record_size(r);
    if (offset < in->end || size > in->length - offset)
        abort();
    in->end = offset + size;
    cleanup_free uint8_t *again = malloc(size);
    spool_record_write(r, again);
    if (memcmp(again, in->data + offset, size) != 0)
        abort();
    return 0;
}

static void scan(const uint8_t *data, size_t length)
{
    struct input in = {.data = data, .length = length};
    struct spool_scan found = {.found = check_record, .arg = &in};
    if (spool_scan(&found, read_input, &in, length, NULL) < 0 || found.end != in.end ||
        found.end + found.torn_bytes != length || found.damaged_bytes > found.end)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length)
{
    /* As it is, and within a good record, whose checksum no fuzzer would guess. */
    scan(data, length);
    if (length == 0 || length > FRAME_MOST_BYTES)
        return 0;
    struct spool_record r = {
        .kind = SPOOL_RESULT, .sequence = length, .payload = data, .payload_length = length};
    size_t size = spool_record_size(&r);
    cleanup_free uint8_t *whole = malloc(size + length);
    spool_record_write(&r, whole);
    memcpy(whole + size, data, length);
    scan(whole, size + length);
    return 0;
}
