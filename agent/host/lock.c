/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The lock of the real host. Waiting must not poll: the holder's timed window may be open. flock(2)
 * cannot wait for a deadline or an eventfd, so a helper thread waits in it; when the caller gives
 * up first, the helper is told so and drops the lock as soon as it gets it.
 */
#include "agent/host/host.h"

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/file.h>

/* Ending a dead agent's VMs and containers takes seconds. */
#define CLEANING_NS (60 * NS_PER_S)

struct lock_wait {
    pthread_mutex_t mutex;
    int fd;       /* of the lock file, the helper's until `done` is seen */
    int event_fd; /* readable once `done` */
    bool done;
    bool abandoned; /* the caller is gone: the helper frees */
    int errnum;
};

static void lock_wait_free(struct lock_wait *w)
{
    if (w->fd >= 0)
        close(w->fd);
    close(w->event_fd);
    pthread_mutex_destroy(&w->mutex);
    free(w);
}

static void *wait_for_lock(void *arg)
{
    struct lock_wait *w = arg;
    int result;
    do
        result = flock(w->fd, LOCK_EX);
    while (result < 0 && errno == EINTR);
    int errnum = result < 0 ? errno : 0;
    pthread_mutex_lock(&w->mutex);
    w->errnum = errnum;
    w->done = true;
    bool abandoned = w->abandoned;
    if (!abandoned)
        eventfd_write(w->event_fd, 1);
    pthread_mutex_unlock(&w->mutex);
    if (abandoned)
        lock_wait_free(w);
    return NULL;
}

static int start_waiting(int lock_fd, struct lock_wait **ret, struct err *e)
{
    struct lock_wait *w = calloc(1, sizeof *w);
    if (!w)
        return err_system(e, ENOMEM, "cannot wait for a lock of this host");
    pthread_mutex_init(&w->mutex, NULL);
    w->fd = lock_fd;
    w->event_fd = eventfd(0, EFD_CLOEXEC);
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attributes, 256 << 10);
    pthread_t thread;
    int failed = w->event_fd < 0 ? errno : pthread_create(&thread, &attributes, wait_for_lock, w);
    pthread_attr_destroy(&attributes);
    if (failed) {
        w->fd = -1;
        lock_wait_free(w);
        return err_system(e, failed, "cannot wait for a lock of this host");
    }
    *ret = w;
    return 0;
}

/* Waits for the event, the deadline or cancel; says which in the error. */
static int wait_for_event(int event_fd, int64_t deadline_ns, int cancel_fd, struct err *e)
{
    struct pollfd fds[2] = {{.fd = event_fd, .events = POLLIN},
                            {.fd = cancel_fd, .events = POLLIN}};
    for (;;) {
        int n = poll(fds, 2, clock_poll_ms(deadline_ns));
        if (n < 0 && errno != EINTR)
            return err_system(e, errno, "cannot wait for a lock of this host");
        if (n > 0 && fds[0].revents)
            return 0;
        if (n > 0 && fds[1].revents)
            return err_set(e, ERR_CANCELLED,
                           "cancelled while another agent had a lock of this host");
        if (deadline_ns && clock_monotonic_ns() >= deadline_ns)
            return err_set(e, ERR_TIMEOUT,
                           "another agent of this machine kept a lock of this host");
    }
}

/* Takes the answer, or leaves the helper to itself. */
static int end_waiting(struct lock_wait *w, int waited, int *ret_fd, struct err *e)
{
    pthread_mutex_lock(&w->mutex);
    bool done = w->done;
    w->abandoned = !done;
    pthread_mutex_unlock(&w->mutex);
    if (!done)
        return -1;
    int errnum = w->errnum;
    if (waited == 0 && errnum == 0)
        *ret_fd = steal_fd(&w->fd);
    lock_wait_free(w);
    if (waited == 0 && errnum != 0)
        return err_system(e, errnum, "cannot take a lock of this host");
    return waited;
}

static int lock_file(const char *path, int64_t deadline_ns, int cancel_fd, int *ret_fd,
                     struct err *e)
{
    cleanup_close int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return err_system(e, errno, "cannot open %s", path);
    if (flock(fd, LOCK_EX | LOCK_NB) == 0) {
        *ret_fd = steal_fd(&fd);
        return 0;
    }
    if (errno != EWOULDBLOCK && errno != EINTR)
        return err_system(e, errno, "cannot lock %s", path);
    struct lock_wait *w = NULL;
    if (start_waiting(fd, &w, e) < 0)
        return -1;
    fd = -1;
    int waited = wait_for_event(w->event_fd, deadline_ns, cancel_fd, e);
    return end_waiting(w, waited, ret_fd, e);
}

int host_lock(struct host *h, int64_t deadline_ns, int cancel_fd, int *ret_fd, struct err *e)
{
    cleanup_free char *path = fs_path("%s/host.lock", h->run_folder);
    return lock_file(path, deadline_ns, cancel_fd, ret_fd, e);
}

int host_lock_cleaning(const struct host *h, int *ret_fd, struct err *e)
{
    cleanup_free char *path = fs_path("%s/clean.lock", h->run_folder);
    return lock_file(path, clock_monotonic_ns() + CLEANING_NS, -1, ret_fd, e);
}
