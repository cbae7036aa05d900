// SPDX-License-Identifier: GPL-3.0-or-later
//
// plimsoll-guestd: the small process that calls liblxc, because starting a container forks the
// caller. It has one thread, few descriptors, and its socket to the agent as descriptor 3. It takes
// one request at a time, answers each, and ends at end-of-file. It then leaves its containers
// alone: an agent that ended well destroyed them, and one that was killed finds them by its own
// cgroup when it starts next, whether or not this process was killed too.
#include "agent/guestd/containers.h"
#include "common/cleanup.h"
#include "common/log.h"
#include "proto/frame.h"

#include <errno.h>
#include <fcntl.h>
#include <lxc/lxccontainer.h>
#include <lxc/version.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SOCKET_FD = 3 };

static int child_pipe[2];

/* A handler and a pipe instead of a blocked signal and a signalfd: a blocked SIGCHLD would be
 * inherited by everything that runs in the containers. */
static void on_child(int signal)
{
    (void)signal;
    int saved = errno;
    ssize_t n = write(child_pipe[1], "", 1);
    (void)n;
    errno = saved;
}

/* The monitors, which are this process's children, and what a monitor left behind. */
static void reap(void)
{
    char bytes[64];
    while (read(child_pipe[0], bytes, sizeof(bytes)) > 0)
        continue;
    pid_t pid;
    while ((pid = waitpid(-1, NULL, WNOHANG)) > 0)
        container_reaped(pid);
}

static int set_up(struct err *e)
{
    if (fcntl(SOCKET_FD, F_SETFD, FD_CLOEXEC) < 0)
        return err_system(e, errno, "descriptor 3 should be the agent's socket");
    close_range(SOCKET_FD + 1, ~0U, 0);
    if (pipe2(child_pipe, O_CLOEXEC | O_NONBLOCK) < 0)
        return err_system(e, errno, "cannot make a pipe");
    struct sigaction action = {.sa_handler = on_child, .sa_flags = SA_RESTART | SA_NOCLDSTOP};
    sigaction(SIGCHLD, &action, NULL);
    /* A Ctrl-C at the terminal is the agent's business, and it will want its containers destroyed.
     */
    setsid();
    if (prctl(PR_SET_CHILD_SUBREAPER, 1) < 0)
        return err_system(e, errno, "cannot become a subreaper");
    return 0;
}

static int serve_one(const Plimsoll__GuestdRequest *request, Plimsoll__GuestdReply *reply,
                     struct err *e)
{
    switch (request->kind_case) {
    case PLIMSOLL__GUESTD_REQUEST__KIND_CREATE:
        return container_create(request->create, e);
    case PLIMSOLL__GUESTD_REQUEST__KIND_START:
        return container_start(request->start, &reply->pid, e);
    case PLIMSOLL__GUESTD_REQUEST__KIND_FIND_INIT:
        return container_find_init(request->find_init->name, &reply->pid, e);
    case PLIMSOLL__GUESTD_REQUEST__KIND_STOP:
        return container_stop(request->stop->name, e);
    case PLIMSOLL__GUESTD_REQUEST__KIND_DESTROY:
        return container_destroy(request->destroy->name, e);
    default:
        return err_set(e, ERR_PROTOCOL, "a request without a kind");
    }
}

static int answer(const Plimsoll__GuestdRequest *request, struct err *e)
{
    cleanup_err struct err failure = ERR_INIT;
    Plimsoll__GuestdReply reply = PLIMSOLL__GUESTD_REPLY__INIT;
    reply.version = (char *)LXC_VERSION;
    reply.ok = serve_one(request, &reply, &failure) == 0;
    if (!reply.ok)
        reply.error = (char *)err_text(&failure);
    return frame_write(SOCKET_FD, &reply.base, 0, e);
}

/* Until end of file, which is 0. */
static int serve(struct err *e)
{
    for (;;) {
        struct pollfd fds[2] = {{.fd = SOCKET_FD, .events = POLLIN},
                                {.fd = child_pipe[0], .events = POLLIN}};
        if (poll(fds, 2, -1) < 0 && errno != EINTR)
            return err_system(e, errno, "cannot wait");
        reap();
        if (!(fds[0].revents & (POLLIN | POLLHUP | POLLERR)))
            continue;
        ProtobufCMessage *message = NULL;
        if (frame_read(SOCKET_FD, &plimsoll__guestd_request__descriptor, 0, &message, e) < 0)
            return e->errnum == ECONNRESET ? 0 : -1;
        const Plimsoll__GuestdRequest *request = (const Plimsoll__GuestdRequest *)message;
        int result = answer(request, e);
        frame_free(message);
        if (result < 0)
            return e->errnum == EPIPE ? 0 : -1;
    }
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "--version") == 0) {
        printf("plimsoll-guestd with liblxc %s\n", lxc_get_version());
        return EXIT_SUCCESS;
    }
    log_open("plimsoll-guestd", LOG_LEVEL_WARNING);
    cleanup_err struct err e = ERR_INIT;
    signal(SIGPIPE, SIG_IGN);
    if (set_up(&e) == 0 && serve(&e) == 0)
        return EXIT_SUCCESS;
    log_error("%s", err_text(&e));
    return EXIT_FAILURE;
}
