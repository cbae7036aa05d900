/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agent/worker.h"

#include "agent/guestd/client.h"
#include "agent/lease.h"
#include "agent/offer.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/fs.h"
#include "common/log.h"
#include "proto/frame.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/wait.h>

enum { MOST_JOBS = 64 };
#define SPOOL_RETRY_NS (2 * NS_PER_S)

struct job {
    struct job *next;
    Plimsoll__Assign *assign; /* one of the two; taken by the trial */
    Plimsoll__Prepare *prepare;
    Plimsoll__Lease *lease; /* of the assignment */
    int cancel_fd;
};

struct event {
    struct event *next;
    Plimsoll__Lease *lease; /* of a stage */
    char *stage;
    Plimsoll__Prepared *prepared;
    bool spooled;
    bool ended;
};

struct worker {
    struct bench *bench;
    struct spool *spool;
    const struct worker_events *events;
    void *arg;
    char *lease_path; /* of the trial that runs, for the next start should we be killed */
    uv_async_t wake;
    pthread_t thread;

    pthread_mutex_t mutex; /* over all below */
    pthread_cond_t changed;
    struct job *jobs, *running;
    size_t n_jobs;
    struct event *first_event, *last_event;
    bool quitting;
    bool joined; /* the loop's thread alone */
};

static void job_free(struct job *j)
{
    if (j->assign)
        plimsoll__assign__free_unpacked(j->assign, NULL);
    if (j->prepare)
        plimsoll__prepare__free_unpacked(j->prepare, NULL);
    if (j->lease)
        plimsoll__lease__free_unpacked(j->lease, NULL);
    if (j->cancel_fd >= 0)
        close(j->cancel_fd);
    free(j);
}

static void event_free(struct event *v)
{
    if (v->lease)
        plimsoll__lease__free_unpacked(v->lease, NULL);
    if (v->prepared)
        plimsoll__prepared__free_unpacked(v->prepared, NULL);
    free(v->stage);
    free(v);
}

/* ---- On the trial thread ---- */

static void tell(struct worker *w, struct event what)
{
    struct event *v = malloc(sizeof *v);
    if (!v)
        abort();
    *v = what;
    v->next = NULL;
    pthread_mutex_lock(&w->mutex);
    if (w->last_event)
        w->last_event->next = v;
    else
        w->first_event = v;
    w->last_event = v;
    pthread_mutex_unlock(&w->mutex);
    uv_async_send(&w->wake);
}

static void tell_stage(void *arg, const Plimsoll__Lease *lease, const char *stage)
{
    tell(arg, (struct event){.lease = lease_copy(lease), .stage = strdup(stage)});
}

/* Waits for a change or the time; true once the worker is to end. */
static bool quits_within(struct worker *w, int64_t span_ns)
{
    int64_t until_ns = clock_monotonic_ns() + span_ns;
    struct timespec until = {until_ns / NS_PER_S, until_ns % NS_PER_S};
    pthread_mutex_lock(&w->mutex);
    int result = 0;
    while (!w->quitting && result != ETIMEDOUT)
        result = pthread_cond_timedwait(&w->changed, &w->mutex, &until);
    bool quitting = w->quitting;
    pthread_mutex_unlock(&w->mutex);
    return quitting;
}

/* A frame has room for every text we keep; a guest with more samples than fit has failed. */
static void shorten(Plimsoll__Result *r, const struct err *e)
{
    Plimsoll__Result *told =
        trial_result(r->lease, r->warmup, PLIMSOLL__OUTCOME__OUTCOME_FAILED, err_text(e));
    Plimsoll__Result swap = *r;
    *r = *told;
    *told = swap;
    plimsoll__result__free_unpacked(told, NULL);
}

/* False: it is lost. */
static bool spool_result(struct worker *w, Plimsoll__Result *r)
{
    bool told = false, short_already = false;
    for (;;) {
        cleanup_err struct err e = ERR_INIT;
        if (spool_append(w->spool, r, &e) == 0)
            return true;
        if (e.code == ERR_PROTOCOL && !short_already) {
            shorten(r, &e);
            short_already = true;
            continue;
        }
        /* What no frame can hold will not fit later either. */
        if (e.code == ERR_PROTOCOL) {
            log_error("a result is lost: %s", err_text(&e));
            return false;
        }
        if (!told)
            log_error("the result of trial %llu waits: %s",
                      r->lease ? (unsigned long long)r->lease->trial : 0, err_text(&e));
        told = true;
        if (!quits_within(w, SPOOL_RETRY_NS))
            continue;
        if (spool_append(w->spool, r, &e) == 0)
            return true;
        log_error("the result of trial %llu is lost: %s",
                  r->lease ? (unsigned long long)r->lease->trial : 0, err_text(&e));
        return false;
    }
}

/* As a subreaper the agent inherits what guests and a killed guestd leave behind. Between trials
 * its only child of its own is guestd, whose status its client wants. */
static void reap_orphans(const struct host *h)
{
    siginfo_t child;
    for (;;) {
        child.si_pid = 0;
        if (waitid(P_ALL, 0, &child, WEXITED | WNOHANG | WNOWAIT) < 0 || child.si_pid == 0)
            return;
        if (h->guestd && child.si_pid == guestd_pid(h->guestd))
            return;
        waitpid(child.si_pid, NULL, WNOHANG);
    }
}

static void run_job(struct worker *w, struct job *j)
{
    if (j->prepare) {
        tell(w, (struct event){.prepared = offer_prepare(w->bench, j->prepare, j->cancel_fd)});
        return;
    }
    cleanup_err struct err e = ERR_INIT;
    if (j->lease && lease_save(w->lease_path, j->lease, &e) < 0)
        log_warning("%s", err_text(&e));
    Plimsoll__Result *r = trial_run(w->bench, &j->assign, j->cancel_fd);
    /* Without a result of its own the lease stays, and the next start tells that it failed. */
    if (spool_result(w, r))
        unlink(w->lease_path);
    plimsoll__result__free_unpacked(r, NULL);
}

static struct job *next_job(struct worker *w)
{
    pthread_mutex_lock(&w->mutex);
    while (!w->jobs && !w->quitting)
        pthread_cond_wait(&w->changed, &w->mutex);
    struct job *j = w->jobs;
    if (j) {
        w->jobs = j->next;
        w->n_jobs--;
    }
    w->running = j;
    pthread_mutex_unlock(&w->mutex);
    return j;
}

static void *work(void *arg)
{
    struct worker *w = arg;
    struct job *j;
    while ((j = next_job(w))) {
        bool is_trial = j->assign != NULL;
        run_job(w, j);
        pthread_mutex_lock(&w->mutex);
        w->running = NULL;
        pthread_mutex_unlock(&w->mutex);
        job_free(j);
        if (is_trial)
            tell(w, (struct event){.spooled = true});
        reap_orphans(w->bench->host);
    }
    tell(w, (struct event){.ended = true});
    return NULL;
}

/* ---- On the loop's thread ---- */

static void deliver(struct worker *w, const struct event *v)
{
    if (v->stage)
        w->events->stage(w->arg, v->lease, v->stage);
    else if (v->prepared)
        w->events->prepared(w->arg, v->prepared);
    else if (v->spooled)
        w->events->spooled(w->arg);
    else if (v->ended)
        w->events->ended(w->arg);
}

static struct event *take_events(struct worker *w)
{
    pthread_mutex_lock(&w->mutex);
    struct event *v = w->first_event;
    w->first_event = w->last_event = NULL;
    pthread_mutex_unlock(&w->mutex);
    return v;
}

static void on_wake(uv_async_t *wake)
{
    struct worker *w = wake->data;
    struct event *v = take_events(w);
    while (v) {
        struct event *next = v->next;
        deliver(w, v);
        event_free(v);
        v = next;
    }
}

/* The trial thread handles no signals: the loop does. */
static int start_thread(struct worker *w)
{
    sigset_t all, usual;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &usual);
    int failed = pthread_create(&w->thread, NULL, work, w);
    pthread_sigmask(SIG_SETMASK, &usual, NULL);
    return failed;
}

static void init_waiting(struct worker *w)
{
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&w->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    pthread_mutex_init(&w->mutex, NULL);
}

int worker_start(uv_loop_t *loop, struct bench *bench, struct spool *spool,
                 const struct worker_events *events, void *arg, struct worker **ret, struct err *e)
{
    struct worker *w = calloc(1, sizeof *w);
    if (!w)
        return err_system(e, ENOMEM, "cannot start the trial thread");
    *w = (struct worker){.bench = bench, .spool = spool, .events = events, .arg = arg};
    w->lease_path = fs_path("%s/running", bench->host->state_folder);
    init_waiting(w);
    bench->stage = tell_stage;
    bench->arg = w;
    int failed = uv_async_init(loop, &w->wake, on_wake);
    w->wake.data = w;
    if (failed) {
        free(w->lease_path);
        free(w);
        return err_set(e, ERR_SYSTEM, "cannot start the trial thread: %s", uv_strerror(failed));
    }
    failed = start_thread(w);
    if (failed) {
        w->joined = true;
        worker_free(&w);
        return err_system(e, failed, "cannot start the trial thread");
    }
    *ret = w;
    return 0;
}

/* ---- What an earlier life left ---- */

bool worker_has_result(struct spool *s, const Plimsoll__Lease *lease)
{
    uint64_t sequence = 0;
    bool found = false;
    Plimsoll__Envelope *m = NULL;
    while (!found && spool_read(s, sequence, &m, &sequence, NULL) == 0) {
        found = lease_equal(m->result->lease, lease);
        frame_free(&m->base);
    }
    return found;
}

int worker_recover(const struct host *h, struct spool *s, struct err *e)
{
    cleanup_free char *path = fs_path("%s/running", h->state_folder);
    Plimsoll__Lease *lease = lease_load(path);
    int failed = 0;
    if (lease && !worker_has_result(s, lease)) {
        Plimsoll__Result *r =
            trial_result(lease, false, PLIMSOLL__OUTCOME__OUTCOME_FAILED,
                         "the agent was killed, or its host went down, while the trial ran");
        failed = spool_append(s, r, e);
        plimsoll__result__free_unpacked(r, NULL);
    }
    if (lease)
        frame_free(&lease->base);
    if (!failed)
        unlink(path);
    return failed;
}

/* ---- Asking ---- */

static int enqueue(struct worker *w, struct job *j, struct err *e)
{
    pthread_mutex_lock(&w->mutex);
    bool refused = w->quitting || w->n_jobs == MOST_JOBS;
    if (!refused) {
        struct job **at = &w->jobs;
        while (*at)
            at = &(*at)->next;
        *at = j;
        w->n_jobs++;
        pthread_cond_broadcast(&w->changed);
    }
    pthread_mutex_unlock(&w->mutex);
    if (!refused)
        return 0;
    job_free(j);
    return err_set(e, ERR_REFUSED, "the agent %s",
                   w->quitting ? "is stopping" : "has enough to do");
}

static struct job *job_new(struct err *e)
{
    struct job *j = calloc(1, sizeof *j);
    if (!j) {
        err_system(e, ENOMEM, "cannot take the order");
        return NULL;
    }
    j->cancel_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (j->cancel_fd >= 0)
        return j;
    err_system(e, errno, "cannot take the order");
    job_free(j);
    return NULL;
}

/* A copy by way of its bytes: protobuf-c has no other. */
static void *copy_message(const ProtobufCMessage *m)
{
    size_t length = protobuf_c_message_get_packed_size(m);
    cleanup_free uint8_t *bytes = malloc(length ? length : 1);
    if (!bytes)
        return NULL;
    protobuf_c_message_pack(m, bytes);
    return protobuf_c_message_unpack(m->descriptor, NULL, length, bytes);
}

int worker_prepare(struct worker *w, const Plimsoll__Prepare *p, struct err *e)
{
    struct job *j = job_new(e);
    if (!j)
        return -1;
    j->prepare = copy_message(&p->base);
    if (!j->prepare) {
        job_free(j);
        return err_system(e, ENOMEM, "cannot take the order");
    }
    return enqueue(w, j, e);
}

/* With the mutex held. */
static struct job *find_job(struct worker *w, const Plimsoll__Lease *lease)
{
    if (w->running && lease_equal(w->running->lease, lease))
        return w->running;
    for (struct job *j = w->jobs; j; j = j->next)
        if (lease_equal(j->lease, lease))
            return j;
    return NULL;
}

int worker_assign(struct worker *w, const Plimsoll__Assign *a, struct err *e)
{
    pthread_mutex_lock(&w->mutex);
    bool known = a->lease && find_job(w, a->lease);
    pthread_mutex_unlock(&w->mutex);
    if (known)
        return 0;
    struct job *j = job_new(e);
    if (!j)
        return -1;
    j->assign = copy_message(&a->base);
    j->lease = a->lease ? lease_copy(a->lease) : NULL;
    if (!j->assign) {
        job_free(j);
        return err_system(e, ENOMEM, "cannot take the order");
    }
    return enqueue(w, j, e);
}

bool worker_cancel(struct worker *w, const Plimsoll__Lease *lease)
{
    pthread_mutex_lock(&w->mutex);
    const struct job *j = find_job(w, lease);
    if (j)
        eventfd_write(j->cancel_fd, 1);
    pthread_mutex_unlock(&w->mutex);
    return j != NULL;
}

Plimsoll__Lease *worker_running(struct worker *w)
{
    pthread_mutex_lock(&w->mutex);
    const Plimsoll__Lease *lease = w->running ? w->running->lease : NULL;
    for (const struct job *j = w->jobs; j && !lease; j = j->next)
        lease = j->lease;
    Plimsoll__Lease *copy = lease ? lease_copy(lease) : NULL;
    pthread_mutex_unlock(&w->mutex);
    return copy;
}

void worker_quit(struct worker *w)
{
    pthread_mutex_lock(&w->mutex);
    w->quitting = true;
    if (w->running)
        eventfd_write(w->running->cancel_fd, 1);
    for (struct job *j = w->jobs; j; j = j->next)
        eventfd_write(j->cancel_fd, 1);
    pthread_cond_broadcast(&w->changed);
    pthread_mutex_unlock(&w->mutex);
}

static void on_closed(uv_handle_t *wake)
{
    struct worker *w = wake->data;
    struct event *v = take_events(w);
    while (v) {
        struct event *next = v->next;
        event_free(v);
        v = next;
    }
    pthread_cond_destroy(&w->changed);
    pthread_mutex_destroy(&w->mutex);
    free(w->lease_path);
    free(w);
}

void worker_free(struct worker **w)
{
    if (!*w)
        return;
    if (!(*w)->joined) {
        worker_quit(*w);
        pthread_join((*w)->thread, NULL);
    }
    uv_close((uv_handle_t *)&(*w)->wake, on_closed);
    *w = NULL;
}
