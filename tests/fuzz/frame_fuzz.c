/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What a socket's peer may send. The input is a frame's body: the header would stop most of them.
 */
#include "common/cleanup.h"
#include "proto/frame.h"
#include "proto/plimsoll.pb-c.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

/* What was believed once must be sendable, and be believed again. */
static void again(const ProtobufCMessage *message)
{
    cleanup_free uint8_t *frame = NULL;
    size_t length = 0;
    ProtobufCMessage *back = NULL;
    if (frame_encode(message, &frame, &length, NULL) < 0 ||
        frame_decode(message->descriptor, frame, length, &back, NULL) < 0)
        abort();
    frame_free(back);
}

static void decode(const ProtobufCMessageDescriptor *type, const uint8_t *frame, size_t length)
{
    ProtobufCMessage *message = NULL;
    cleanup_err struct err e = ERR_INIT;
    if (frame_decode(type, frame, length, &message, &e) == 0)
        again(message);
    else if (e.code != ERR_PROTOCOL || !*err_text(&e))
        abort();
    frame_free(message);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length)
{
    decode(&plimsoll__envelope__descriptor, data, length);
    if (length > FRAME_MOST_BYTES - FRAME_HEADER_BYTES)
        return 0;
    cleanup_free uint8_t *frame = malloc(FRAME_HEADER_BYTES + length);
    memcpy(frame, "PL\1", 4);
    for (unsigned i = 0; i < 4; i++)
        frame[4 + i] = (uint8_t)(length >> (24 - 8 * i));
    if (length > 0)
        memcpy(frame + FRAME_HEADER_BYTES, data, length);
    decode(&plimsoll__envelope__descriptor, frame, FRAME_HEADER_BYTES + length);
    decode(&plimsoll__plan_reading__descriptor, frame, FRAME_HEADER_BYTES + length);
    return 0;
}
