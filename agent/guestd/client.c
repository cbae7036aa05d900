// SPDX-License-Identifier: GPL-3.0-or-later
#include "agent/guestd/client.h"

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/fs.h"
#include "proto/frame.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SOCKET_FD = 3, FAMILY_MOST = 100000 };

/* How long it may take to end after its socket was closed, before it is killed. */
static const int64_t END_NS = 2 * NS_PER_S;

struct guestd_client {
    char *id; /* the agent's */
    pid_t pid;
    int pidfd;
    int fd; /* -1 once it is dead */
};

/* What liblxc forks off keeps the environment, so that it can be told from anybody else's processes
 * even before it has entered a cgroup. What runs inside a container has another. */
static char *family_mark(const char *id)
{
    return fs_path("PLIMSOLL_GUESTD=%s", id);
}

static bool has_mark(pid_t pid, const char *mark)
{
    char text[16384];
    cleanup_free char *path = fs_path("/proc/%d/environ", (int)pid);
    cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
    if (n <= 0)
        return false;
    text[n] = '\0';
    for (const char *at = text; at < text + n; at += strlen(at) + 1)
        if (strcmp(at, mark) == 0)
            return true;
    return false;
}

/* Returns whether it was one of the family; waits for its end. The pidfd is opened before the look,
 * so that nobody else can be hit. */
static bool kill_relative(pid_t pid, const char *mark)
{
    cleanup_close int fd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (fd < 0 || !has_mark(pid, mark))
        return false;
    syscall(SYS_pidfd_send_signal, fd, SIGKILL, NULL, 0);
    struct pollfd p = {.fd = fd, .events = POLLIN};
    poll(&p, 1, clock_poll_ms(clock_monotonic_ns() + END_NS));
    return true;
}

unsigned guestd_kill_family(const char *id)
{
    cleanup_free char *mark = family_mark(id);
    unsigned killed = 0;
    /* Until a round finds nobody: one that was looked at early may have forked since. */
    for (unsigned before = 1; killed != before && killed < FAMILY_MOST;) {
        before = killed;
        DIR *proc = opendir("/proc");
        for (struct dirent *entry; proc && (entry = readdir(proc));) {
            pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10);
            if (pid > 0 && pid != getpid() && kill_relative(pid, mark))
                killed++;
        }
        if (proc)
            closedir(proc);
    }
    return killed;
}

static int spawn(const char *program, const char *id, int socket, pid_t *ret_pid, struct err *e)
{
    cleanup_free char *mark = family_mark(id);
    char *environment[] = {
        (char *)"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", mark, NULL};
    char *argv[] = {(char *)"plimsoll-guestd", NULL};
    sigset_t none;
    sigset_t usual;
    sigemptyset(&none);
    sigfillset(&usual);
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, socket, SOCKET_FD);
    /* The agent blocks signals in its threads; containers would inherit that. */
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &usual);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    int errnum = posix_spawn(ret_pid, program, &actions, &attributes, argv, environment);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    return errnum ? err_system(e, errnum, "cannot start %s", program) : 0;
}

int guestd_start(const char *program, const char *id, struct guestd_client **ret, struct err *e)
{
    if (!program || program[0] == '\0')
        return err_set(e, ERR_UNAVAILABLE, "plimsoll-guestd is not installed with this agent");
    struct guestd_client *c = malloc(sizeof(*c));
    int ends[2];
    if (!c || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0) {
        free(c);
        return err_system(e, errno, "cannot make a socket");
    }
    *c = (struct guestd_client){.pid = -1, .pidfd = -1, .fd = ends[0]};
    cleanup_close int theirs = ends[1];
    /* dup2 of a descriptor onto itself would leave it close-on-exec. */
    if (theirs == SOCKET_FD) {
        int higher = fcntl(theirs, F_DUPFD_CLOEXEC, SOCKET_FD + 1);
        close(theirs);
        theirs = higher;
    }
    if (theirs < 0 || spawn(program, id, theirs, &c->pid, e) < 0) {
        close(c->fd);
        free(c);
        return -1;
    }
    c->id = fs_path("%s", id);
    c->pidfd = (int)syscall(SYS_pidfd_open, c->pid, 0);
    *ret = c;
    return 0;
}

pid_t guestd_pid(const struct guestd_client *c)
{
    return c->pid;
}

bool guestd_alive(const struct guestd_client *c)
{
    struct pollfd p = {.fd = c->pidfd, .events = POLLIN};
    return c->fd >= 0 && poll(&p, 1, 0) == 0;
}

static void kill_it(struct guestd_client *c)
{
    if (c->fd < 0)
        return;
    close(c->fd);
    c->fd = -1;
    /* A start that is under way would otherwise be finished by what it forked. */
    guestd_kill_family(c->id);
}

/* Until its answer can be read. */
static int wait_for_answer(struct guestd_client *c, int64_t deadline_ns, int cancel_fd,
                           struct err *e)
{
    for (;;) {
        struct pollfd fds[2] = {{.fd = c->fd, .events = POLLIN},
                                {.fd = cancel_fd, .events = POLLIN}};
        int n = poll(fds, 2, clock_poll_ms(deadline_ns));
        if (n < 0 && errno != EINTR)
            return err_system(e, errno, "cannot wait for plimsoll-guestd");
        if (n > 0 && fds[0].revents)
            return 0;
        if (n > 0 && fds[1].revents)
            return err_set(e, ERR_CANCELLED, "cancelled while liblxc worked");
        if (deadline_ns && clock_monotonic_ns() >= deadline_ns)
            return err_set(e, ERR_TIMEOUT, "liblxc did not answer in time");
    }
}

static int exchange(struct guestd_client *c, const Plimsoll__GuestdRequest *request,
                    int64_t deadline_ns, int cancel_fd, ProtobufCMessage **ret, struct err *e)
{
    if (frame_write(c->fd, &request->base, deadline_ns, e) < 0 ||
        wait_for_answer(c, deadline_ns, cancel_fd, e) < 0)
        return -1;
    return frame_read(c->fd, &plimsoll__guestd_reply__descriptor, deadline_ns, ret, e);
}

int guestd_call(struct guestd_client *c, const Plimsoll__GuestdRequest *request,
                int64_t deadline_ns, int cancel_fd, Plimsoll__GuestdReply **ret, struct err *e)
{
    if (c->fd < 0)
        return err_set(e, ERR_SYSTEM, "plimsoll-guestd has ended");
    ProtobufCMessage *message = NULL;
    if (exchange(c, request, deadline_ns, cancel_fd, &message, e) < 0) {
        kill_it(c);
        return err_prefix(e, "plimsoll-guestd");
    }
    Plimsoll__GuestdReply *reply = (Plimsoll__GuestdReply *)message;
    if (!reply->ok) {
        err_set(e, ERR_SYSTEM, "%s", reply->error);
        frame_free(message);
        return -1;
    }
    if (ret)
        *ret = reply;
    else
        frame_free(message);
    return 0;
}

/* At the end of its socket it ends by itself. */
static void hang_up(struct guestd_client *c)
{
    shutdown(c->fd, SHUT_RDWR);
    struct pollfd p = {.fd = c->pidfd, .events = POLLIN};
    poll(&p, 1, clock_poll_ms(clock_monotonic_ns() + END_NS));
}

static void forget(struct guestd_client **client)
{
    struct guestd_client *c = *client;
    while (waitpid(c->pid, NULL, 0) < 0 && errno == EINTR)
        continue;
    if (c->pidfd >= 0)
        close(c->pidfd);
    free(c->id);
    free(c);
    *client = NULL;
}

void guestd_stop(struct guestd_client **client)
{
    if (!*client)
        return;
    if ((*client)->fd >= 0) {
        hang_up(*client);
        kill_it(*client);
    }
    forget(client);
}

void guestd_leave(struct guestd_client **client)
{
    struct guestd_client *c = *client;
    if (!c)
        return;
    if (c->fd >= 0) {
        hang_up(c);
        /* It alone: containers' monitors have its mark too. */
        syscall(SYS_pidfd_send_signal, c->pidfd, SIGKILL, NULL, 0);
        close(c->fd);
    }
    forget(client);
}
