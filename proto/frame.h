/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Frames: the unit that every socket and pipe carries.
 *
 *   offset 0  "PL"     magic
 *          2  uint8    version of the grammar the sender speaks (FRAME_VERSION)
 *          3  uint8    0, reserved
 *          4  uint32   length of what follows, big-endian, at most FRAME_MOST_BYTES -
 * FRAME_HEADER_BYTES 8  protobuf
 *
 * Nothing is believed before it is checked: size, version, nesting (the types do not nest deeply),
 * the caps of repeated fields (caps.c), UTF-8-free control characters in names; and decoding
 * allocates from a budget, so that a small frame cannot become a large message.
 */
#ifndef PROTO_FRAME_H
#define PROTO_FRAME_H

#include "common/err.h"

#include <protobuf-c/protobuf-c.h>
#include <stddef.h>
#include <stdint.h>

enum {
    FRAME_VERSION = 1,
    FRAME_OLDEST_VERSION = 1,
    FRAME_HEADER_BYTES = 8,
    FRAME_MOST_BYTES = 1 << 20,
    FRAME_BUDGET_BYTES = 8 << 20, /* what decoding one frame may allocate */
};

/* Encodes into a new buffer, the caller's to free. A message over the cap is ERR_PROTOCOL. */
int frame_encode(const ProtobufCMessage *message, uint8_t **ret_frame, size_t *ret_length,
                 struct err *e);

/* Decodes a whole frame; free the message with frame_free. Whatever is wrong is ERR_PROTOCOL. */
int frame_decode(const ProtobufCMessageDescriptor *type, const uint8_t *frame, size_t length,
                 ProtobufCMessage **ret_message, struct err *e);

void frame_free(ProtobufCMessage *message);

/*
 * A byte stream (a pipe, a unix socket, a virtio port) cut into frames. The buffer never holds more
 * than one frame of `most` bytes and what follows of the next read.
 */
struct frame_stream;

struct frame_stream *frame_stream_new(size_t most);
void frame_stream_free(struct frame_stream *s);
/* Adds what was read. ERR_PROTOCOL when the stream can no longer be in step; drop the peer then. */
int frame_stream_feed(struct frame_stream *s, const void *data, size_t length, struct err *e);
/* 1: *ret_frame of *ret_length bytes, valid until the next call; 0: not whole yet; -1: broken. */
int frame_stream_next(struct frame_stream *s, const uint8_t **ret_frame, size_t *ret_length,
                      struct err *e);

/* Blocking, whole, to a stream descriptor, until a deadline (monotonic ns, 0: none). */
int frame_write(int fd, const ProtobufCMessage *message, int64_t deadline_ns, struct err *e);
/* As above; end of file is ERR_PROTOCOL with errnum ECONNRESET. Reads no byte beyond the frame. */
int frame_read(int fd, const ProtobufCMessageDescriptor *type, int64_t deadline_ns,
               ProtobufCMessage **ret_message, struct err *e);

#endif
