/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agent/stamper.h"
#include "common/cleanup.h"
#include "common/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/syscall.h>

enum { FIFO_PRIORITY = 50, BEST_NICE = -20, EVENTS_AT_ONCE = 32, STACK_BYTES = 256 << 10 };

/* The event that ends the thread; no watch has it, since generations begin at 1. */
#define WAKE_EVENT UINT64_C(0)

/* A slot is used again with the next generation, so that an event which epoll handed out before its
 * watch was removed finds nobody. A watch is named by generation << 32 | slot. */
struct watch {
    stamper_readable *readable; /* NULL: free */
    void *arg;
    int fd;
    uint32_t generation;
};

struct stamper {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t started;
    int epoll;
    int wake;
    int schedstat; /* the thread's, or -1 */
    bool running;  /* the thread has settled its priority */
    bool stopping;
    char policy[32];
    struct watch *watches;
    uint32_t n_watches;
};

/* Threads started from here on, should there be any, do not inherit it. */
static void raise_priority(struct stamper *s)
{
    const struct sched_param fifo = {.sched_priority = FIFO_PRIORITY};
    if (sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &fifo) == 0) {
        snprintf(s->policy, sizeof s->policy, "SCHED_FIFO %d", FIFO_PRIORITY);
        return;
    }
    id_t thread = (id_t)syscall(SYS_gettid);
    setpriority(PRIO_PROCESS, thread, BEST_NICE);
    snprintf(s->policy, sizeof s->policy, "nice %d", getpriority(PRIO_PROCESS, thread));
}

static void dispatch(struct stamper *s, uint64_t name, int64_t now_ns)
{
    uint32_t slot = (uint32_t)name;
    if (slot >= s->n_watches)
        return;
    struct watch *w = &s->watches[slot];
    if (w->readable && w->generation == name >> 32)
        w->readable(w->arg, now_ns);
}

static void thread_settle(struct stamper *s)
{
    char path[64];
    raise_priority(s);
    snprintf(path, sizeof path, "/proc/self/task/%ld/schedstat", syscall(SYS_gettid));
    s->schedstat = open(path, O_RDONLY | O_CLOEXEC);
    pthread_setname_np(pthread_self(), "stamper");
    stamper_lock(s);
    s->running = true;
    pthread_cond_signal(&s->started);
    stamper_unlock(s);
}

static void *thread_main(void *arg)
{
    struct stamper *s = arg;
    struct epoll_event events[EVENTS_AT_ONCE];
    thread_settle(s);
    for (;;) {
        int n = epoll_wait(s->epoll, events, EVENTS_AT_ONCE, -1);
        int64_t now_ns = clock_monotonic_ns();
        stamper_lock(s);
        for (int i = 0; i < n; i++)
            dispatch(s, events[i].data.u64, now_ns);
        bool stopping = s->stopping;
        stamper_unlock(s);
        if (stopping)
            return NULL;
    }
}

void stamper_lock(struct stamper *s)
{
    pthread_mutex_lock(&s->lock);
}

void stamper_unlock(struct stamper *s)
{
    pthread_mutex_unlock(&s->lock);
}

static void lock_init(struct stamper *s)
{
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setprotocol(&attributes, PTHREAD_PRIO_INHERIT);
    pthread_mutex_init(&s->lock, &attributes);
    pthread_mutexattr_destroy(&attributes);
    pthread_cond_init(&s->started, NULL);
}

/* Signals are the other threads' business. Returns errno. */
static int thread_start(struct stamper *s)
{
    sigset_t all, before;
    pthread_attr_t attributes;
    sigfillset(&all);
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int errnum = pthread_create(&s->thread, &attributes, thread_main, s);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    return errnum;
}

static void stamper_release(struct stamper *s)
{
    if (s->epoll >= 0)
        close(s->epoll);
    if (s->wake >= 0)
        close(s->wake);
    if (s->schedstat >= 0)
        close(s->schedstat);
    pthread_cond_destroy(&s->started);
    pthread_mutex_destroy(&s->lock);
    free(s->watches);
    free(s);
}

int stamper_start(struct stamper **ret, struct err *e)
{
    struct stamper *s = calloc(1, sizeof *s);
    if (!s)
        return err_system(e, ENOMEM, "stamping thread");
    lock_init(s);
    s->schedstat = -1;
    s->epoll = epoll_create1(EPOLL_CLOEXEC);
    s->wake = eventfd(0, EFD_CLOEXEC);
    struct epoll_event wake = {.events = EPOLLIN, .data.u64 = WAKE_EVENT};
    int errnum = 0;
    if (s->epoll < 0 || s->wake < 0 || epoll_ctl(s->epoll, EPOLL_CTL_ADD, s->wake, &wake) < 0)
        errnum = errno;
    if (!errnum)
        errnum = thread_start(s);
    if (errnum) {
        stamper_release(s);
        return err_system(e, errnum, "could not start the stamping thread");
    }
    stamper_lock(s);
    while (!s->running)
        pthread_cond_wait(&s->started, &s->lock);
    stamper_unlock(s);
    *ret = s;
    return 0;
}

void stamper_stop(struct stamper **s)
{
    if (!*s)
        return;
    struct stamper *gone = steal(*s);
    stamper_lock(gone);
    gone->stopping = true;
    stamper_unlock(gone);
    eventfd_write(gone->wake, 1);
    pthread_join(gone->thread, NULL);
    stamper_release(gone);
}

const char *stamper_policy(const struct stamper *s)
{
    return s->policy;
}

/* Documentation/scheduler/sched-stats.rst: time on the CPU, time waiting for it, both in ns;
 * slices. */
int64_t stamper_delay_ns(const struct stamper *s)
{
    char text[128];
    ssize_t n = s->schedstat < 0 ? -1 : pread(s->schedstat, text, sizeof text - 1, 0);
    if (n <= 0)
        return -1;
    text[n] = '\0';
    long long ran_ns, waited_ns;
    if (sscanf(text, "%lld %lld", &ran_ns, &waited_ns) != 2)
        return -1;
    return waited_ns;
}

static struct watch *free_watch(struct stamper *s)
{
    for (uint32_t i = 0; i < s->n_watches; i++)
        if (!s->watches[i].readable)
            return &s->watches[i];
    uint32_t n = s->n_watches ? 2 * s->n_watches : 16;
    struct watch *grown = reallocarray(s->watches, n, sizeof *grown);
    if (!grown)
        return NULL;
    memset(grown + s->n_watches, 0, (n - s->n_watches) * sizeof *grown);
    struct watch *first = grown + s->n_watches;
    s->watches = grown;
    s->n_watches = n;
    return first;
}

int stamper_watch(struct stamper *s, int fd, stamper_readable *readable, void *arg,
                  uint64_t *ret_watch, struct err *e)
{
    struct watch *w = free_watch(s);
    if (!w)
        return err_system(e, ENOMEM, "stamping thread");
    if (++w->generation == 0)
        w->generation = 1;
    uint64_t name = (uint64_t)w->generation << 32 | (uint64_t)(w - s->watches);
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = name};
    if (epoll_ctl(s->epoll, EPOLL_CTL_ADD, fd, &event) < 0)
        return err_system(e, errno, "could not watch a guest's channel");
    w->readable = readable;
    w->arg = arg;
    w->fd = fd;
    *ret_watch = name;
    return 0;
}

void stamper_unwatch(struct stamper *s, uint64_t watch)
{
    struct watch *w = &s->watches[(uint32_t)watch];
    if (!w->readable || w->generation != watch >> 32)
        return;
    epoll_ctl(s->epoll, EPOLL_CTL_DEL, w->fd, NULL);
    w->readable = NULL;
}
