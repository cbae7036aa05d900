/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What a guest may write to its channel: a stream of bytes, cut into reads by its first byte.
 * Guestd's answers come the same way. */
#include "common/cleanup.h"
#include "proto/frame.h"
#include "proto/plimsoll.pb-c.h"
#include "tests/fuzz/fuzz.h"

enum { MOST_FRAME_BYTES = 128 << 10 };

static void decode(const ProtobufCMessageDescriptor *type, const uint8_t *frame, size_t length)
{
    ProtobufCMessage *message = NULL;
    if (frame_decode(type, frame, length, &message, NULL) == 0)
        frame_free(message);
}

/* -1 once the stream is out of step. */
static int feed(struct frame_stream *s, const uint8_t *data, size_t length)
{
    const uint8_t *frame = NULL;
    size_t frame_length = 0;
    int found;
    if (frame_stream_feed(s, data, length, NULL) < 0)
        return -1;
    while ((found = frame_stream_next(s, &frame, &frame_length, NULL)) == 1) {
        if (frame_length < FRAME_HEADER_BYTES || frame_length > MOST_FRAME_BYTES)
            abort();
        decode(&plimsoll__runner__descriptor, frame, frame_length);
        decode(&plimsoll__guestd_reply__descriptor, frame, frame_length);
    }
    return found;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length)
{
    if (length == 0)
        return 0;
    size_t step = (size_t)data[0] + 1;
    struct frame_stream *s = frame_stream_new(MOST_FRAME_BYTES);
    for (size_t at = 1; at < length; at += step)
        if (feed(s, data + at, length - at < step ? length - at : step) < 0)
            break;
    frame_stream_free(s);
    return 0;
}
