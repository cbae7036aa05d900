/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proto/frame.h"

#include "common/cleanup.h"
#include "common/clock.h"
#include "proto/budget.h"
#include "proto/caps.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

static void write_header(uint8_t *frame, size_t body)
{
    frame[0] = 'P';
    frame[1] = 'L';
    frame[2] = FRAME_VERSION;
    frame[3] = 0;
    for (unsigned i = 0; i < 4; i++)
        frame[4 + i] = (uint8_t)(body >> (24 - 8 * i));
}

/* The whole frame's length, by a header of which all bytes are there. */
static int read_header(const uint8_t *frame, size_t most, size_t *ret_length, struct err *e)
{
    if (frame[0] != 'P' || frame[1] != 'L')
        return err_set(e, ERR_PROTOCOL, "this is not a Plimsoll frame");
    if (frame[2] < FRAME_OLDEST_VERSION || frame[2] > FRAME_VERSION)
        return err_set(e, ERR_PROTOCOL, "frame version %u; this program speaks %u to %u", frame[2],
                       (unsigned)FRAME_OLDEST_VERSION, (unsigned)FRAME_VERSION);
    if (frame[3] != 0)
        return err_set(e, ERR_PROTOCOL, "a reserved byte of the frame is not 0");
    size_t body = 0;
    for (unsigned i = 0; i < 4; i++)
        body = body << 8 | frame[4 + i];
    if (body > most - FRAME_HEADER_BYTES)
        return err_set(e, ERR_PROTOCOL, "a frame of %zu bytes; at most %zu are allowed", body,
                       most - FRAME_HEADER_BYTES);
    *ret_length = body + FRAME_HEADER_BYTES;
    return 0;
}

int frame_encode(const ProtobufCMessage *message, uint8_t **ret_frame, size_t *ret_length,
                 struct err *e)
{
    size_t body = protobuf_c_message_get_packed_size(message);
    if (body > FRAME_MOST_BYTES - FRAME_HEADER_BYTES)
        return err_set(e, ERR_PROTOCOL, "a message of %zu bytes does not fit into a frame of %u",
                       body, (unsigned)FRAME_MOST_BYTES);
    cleanup_free uint8_t *frame = malloc(FRAME_HEADER_BYTES + body);
    if (!frame)
        return err_system(e, ENOMEM, "cannot make a frame");
    write_header(frame, body);
    protobuf_c_message_pack(message, frame + FRAME_HEADER_BYTES);
    if (caps_clean(message->descriptor, frame + FRAME_HEADER_BYTES, body, e) < 0)
        return err_prefix(e, "cannot send");
    *ret_length = FRAME_HEADER_BYTES + body;
    *ret_frame = steal(frame);
    return 0;
}

static int unpack(const ProtobufCMessageDescriptor *type, const uint8_t *body, size_t length,
                  ProtobufCMessage **ret_message, struct err *e)
{
    struct budget budget;
    budget_init(&budget, FRAME_BUDGET_BYTES);
    ProtobufCMessage *message = protobuf_c_message_unpack(type, &budget.allocator, length, body);
    if (!message && budget.exceeded)
        return err_set(e, ERR_PROTOCOL, "%s: needs more than %u bytes of memory", type->short_name,
                       (unsigned)FRAME_BUDGET_BYTES);
    if (!message)
        return err_set(e, ERR_PROTOCOL, "%s: malformed", type->short_name);
    *ret_message = message;
    return 0;
}

int frame_decode(const ProtobufCMessageDescriptor *type, const uint8_t *frame, size_t length,
                 ProtobufCMessage **ret_message, struct err *e)
{
    size_t expected;
    if (length < FRAME_HEADER_BYTES)
        return err_set(e, ERR_PROTOCOL, "a frame of %zu bytes has no header", length);
    if (read_header(frame, FRAME_MOST_BYTES, &expected, e) < 0)
        return -1;
    if (length != expected)
        return err_set(e, ERR_PROTOCOL, "a frame of %zu bytes says it has %zu", length, expected);
    const uint8_t *body = frame + FRAME_HEADER_BYTES;
    if (caps_check(type, body, length - FRAME_HEADER_BYTES, e) < 0)
        return -1;
    return unpack(type, body, length - FRAME_HEADER_BYTES, ret_message, e);
}

void frame_free(ProtobufCMessage *message)
{
    /* The budget's memory is malloc's, as the default allocator's is. */
    if (message)
        protobuf_c_message_free_unpacked(message, NULL);
}

struct frame_stream {
    size_t most; /* bytes of one frame */
    uint8_t *data;
    size_t begin, end; /* what is in use of data */
    size_t capacity;
};

struct frame_stream *frame_stream_new(size_t most)
{
    if (most < FRAME_HEADER_BYTES || most > FRAME_MOST_BYTES)
        abort();
    struct frame_stream *s = calloc(1, sizeof *s);
    if (s)
        s->most = most;
    return s;
}

void frame_stream_free(struct frame_stream *s)
{
    if (!s)
        return;
    free(s->data);
    free(s);
}

static int make_room(struct frame_stream *s, size_t length, struct err *e)
{
    if (s->begin > 0) {
        memmove(s->data, s->data + s->begin, s->end - s->begin);
        s->end -= s->begin;
        s->begin = 0;
    }
    if (length <= s->capacity - s->end)
        return 0;
    size_t capacity = s->end + length + s->end / 2;
    uint8_t *data = realloc(s->data, capacity);
    if (!data)
        return err_system(e, ENOMEM, "cannot buffer a frame");
    s->data = data;
    s->capacity = capacity;
    return 0;
}

/* 1: a whole frame of *ret_length bytes is there; 0: not yet; -1: broken. */
static int whole(const struct frame_stream *s, size_t *ret_length, struct err *e)
{
    if (s->end - s->begin < FRAME_HEADER_BYTES)
        return 0;
    size_t length;
    if (read_header(s->data + s->begin, s->most, &length, e) < 0)
        return -1;
    *ret_length = length;
    return s->end - s->begin >= length;
}

int frame_stream_feed(struct frame_stream *s, const void *data, size_t length, struct err *e)
{
    if (length == 0)
        return 0;
    if (make_room(s, length, e) < 0)
        return -1;
    memcpy(s->data + s->end, data, length);
    s->end += length;
    size_t frame;
    return whole(s, &frame, e) < 0 ? -1 : 0;
}

int frame_stream_next(struct frame_stream *s, const uint8_t **ret_frame, size_t *ret_length,
                      struct err *e)
{
    size_t length;
    int found = whole(s, &length, e);
    if (found <= 0)
        return found;
    *ret_frame = s->data + s->begin;
    *ret_length = length;
    s->begin += length;
    return 1;
}

static int wait_for(int fd, short events, int64_t deadline_ns, struct err *e)
{
    for (;;) {
        struct pollfd p = {.fd = fd, .events = events};
        int n = poll(&p, 1, clock_poll_ms(deadline_ns));
        if (n > 0)
            return 0;
        if (n < 0 && errno != EINTR)
            return err_system(e, errno, "cannot wait for a peer");
        if (deadline_ns != 0 && clock_monotonic_ns() >= deadline_ns)
            return err_set(e, ERR_TIMEOUT, "the peer did not %s in time",
                           events == POLLIN ? "answer" : "read");
    }
}

/* A writable pipe takes at least PIPE_BUF bytes without blocking, pipe(7); a socket is asked not
 * to. */
static ssize_t write_some(int fd, const uint8_t *data, size_t length)
{
    ssize_t n = send(fd, data, length, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n >= 0 || errno != ENOTSOCK)
        return n;
    return write(fd, data, length < PIPE_BUF ? length : PIPE_BUF);
}

int frame_write(int fd, const ProtobufCMessage *message, int64_t deadline_ns, struct err *e)
{
    cleanup_free uint8_t *frame = NULL;
    size_t length = 0;
    if (frame_encode(message, &frame, &length, e) < 0)
        return -1;
    for (size_t done = 0; done < length;) {
        if (wait_for(fd, POLLOUT, deadline_ns, e) < 0)
            return -1;
        ssize_t n = write_some(fd, frame + done, length - done);
        if (n > 0)
            done += (size_t)n;
        else if (n < 0 && errno != EINTR && errno != EAGAIN)
            return err_system(e, errno, "cannot write to a peer");
    }
    return 0;
}

static int end_of_file(struct err *e)
{
    err_set(e, ERR_PROTOCOL, "the peer closed the connection");
    if (e)
        e->errnum = ECONNRESET;
    return -1;
}

static int read_whole(int fd, uint8_t *data, size_t length, int64_t deadline_ns, struct err *e)
{
    for (size_t done = 0; done < length;) {
        if (wait_for(fd, POLLIN, deadline_ns, e) < 0)
            return -1;
        ssize_t n = read(fd, data + done, length - done);
        if (n > 0)
            done += (size_t)n;
        else if (n == 0 || errno == ECONNRESET)
            return end_of_file(e);
        else if (errno != EINTR && errno != EAGAIN)
            return err_system(e, errno, "cannot read from a peer");
    }
    return 0;
}

int frame_read(int fd, const ProtobufCMessageDescriptor *type, int64_t deadline_ns,
               ProtobufCMessage **ret_message, struct err *e)
{
    uint8_t header[FRAME_HEADER_BYTES];
    size_t length;
    if (read_whole(fd, header, sizeof header, deadline_ns, e) < 0 ||
        read_header(header, FRAME_MOST_BYTES, &length, e) < 0)
        return -1;
    cleanup_free uint8_t *frame = malloc(length);
    if (!frame)
        return err_system(e, ENOMEM, "cannot read a frame");
    memcpy(frame, header, sizeof header);
    if (read_whole(fd, frame + sizeof header, length - sizeof header, deadline_ns, e) < 0)
        return -1;
    return frame_decode(type, frame, length, ret_message, e);
}
