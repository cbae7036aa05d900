/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "common/loop.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <zmq.h>

/* Messages of one socket in one turn of the loop, so that a busy peer cannot starve the timers. */
enum { TURN_BUDGET = 256 };

struct loop_socket {
    void *socket; /* the caller's */
    loop_readable *readable;
    void *arg;
    uv_poll_t poll;       /* wakes the loop; says only "look again" */
    uv_prepare_t prepare; /* looks, before the loop may block */
    uv_idle_t idle;       /* while started, the loop does not block */
    unsigned open_handles;
    bool closing;
};

static bool has_input(struct loop_socket *s)
{
    int events = 0;
    size_t length = sizeof events;
    while (zmq_getsockopt(s->socket, ZMQ_EVENTS, &events, &length) < 0)
        if (errno != EINTR)
            return false;
    return events & ZMQ_POLLIN;
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    (void)poll;
    (void)status;
    (void)events;
}

static void on_idle(uv_idle_t *idle)
{
    (void)idle;
}

static void on_prepare(uv_prepare_t *prepare)
{
    struct loop_socket *s = prepare->data;
    uv_idle_stop(&s->idle);
    for (int n = 0; n < TURN_BUDGET; n++) {
        if (!has_input(s) || s->readable(s->socket, s->arg) < 0)
            return;
        if (s->closing)
            return;
    }
    uv_idle_start(&s->idle, on_idle);
}

static void on_closed(uv_handle_t *handle)
{
    struct loop_socket *s = handle->data;
    if (--s->open_handles == 0)
        free(s);
}

static void close_handles(struct loop_socket *s, bool with_poll)
{
    s->closing = true;
    s->open_handles = with_poll ? 3 : 2;
    if (with_poll)
        uv_close((uv_handle_t *)&s->poll, on_closed);
    uv_close((uv_handle_t *)&s->prepare, on_closed);
    uv_close((uv_handle_t *)&s->idle, on_closed);
}

int loop_socket_watch(uv_loop_t *loop, void *socket, loop_readable *readable, void *arg,
                      struct loop_socket **ret, struct err *e)
{
    int fd = -1;
    size_t length = sizeof fd;
    if (zmq_getsockopt(socket, ZMQ_FD, &fd, &length) < 0)
        return err_system(e, errno, "cannot watch a socket");
    struct loop_socket *s = calloc(1, sizeof *s);
    if (!s)
        return err_system(e, ENOMEM, "cannot watch a socket");
    *s = (struct loop_socket){.socket = socket, .readable = readable, .arg = arg};
    s->poll.data = s->prepare.data = s->idle.data = s;
    uv_prepare_init(loop, &s->prepare);
    uv_idle_init(loop, &s->idle);
    int failed = uv_poll_init(loop, &s->poll, fd);
    if (failed) {
        close_handles(s, false);
        return err_system(e, -failed, "cannot watch a socket");
    }
    uv_poll_start(&s->poll, UV_READABLE, on_poll);
    uv_prepare_start(&s->prepare, on_prepare);
    *ret = s;
    return 0;
}

void loop_socket_kick(struct loop_socket *s)
{
    assert(!s->closing);
    uv_idle_start(&s->idle, on_idle);
}

void loop_socket_close(struct loop_socket **s)
{
    if (!*s)
        return;
    close_handles(*s, true);
    *s = NULL;
}
