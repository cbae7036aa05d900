/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The queue between the loop's thread and the store's. The store's thread takes whatever is queued
 * at once and commits it as one group: while one group waits for its fsync the next one gathers.
 */
#include "coordinator/store/store.h"

#include "common/cleanup.h"
#include "common/clock.h"
#include "coordinator/store/write.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

struct list {
    struct write *first;
    struct write **end;
};

struct store {
    struct writer *writer; /* the store's thread's, once that runs */
    pthread_t thread;
    uv_async_t answer;
    atomic_uint_fast64_t commits;

    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t more;
    struct list queued;
    struct list answered;
    bool stopping;
};

static void list_init(struct list *l)
{
    l->first = NULL;
    l->end = &l->first;
}

static void list_add_all(struct list *l, struct write *first)
{
    *l->end = first;
    while (*l->end)
        l->end = &(*l->end)->next;
}

static struct write *list_take(struct list *l)
{
    struct write *first = l->first;
    list_init(l);
    return first;
}

static void write_free(struct write *op)
{
    err_clear(&op->error);
    free(op->campaign);
    free(op->host);
    free(op->text);
    free(op->note);
    free(op->trials);
    free(op->names);
    if (op->message)
        protobuf_c_message_free_unpacked(op->message, NULL);
    if (op->second)
        protobuf_c_message_free_unpacked(op->second, NULL);
    free(op);
}

/* ---- The store's thread ---- */

/* The next group, or NULL when the store closes and nothing is left. */
static struct write *wait_for_group(struct store *s)
{
    pthread_mutex_lock(&s->lock);
    while (!s->queued.first && !s->stopping)
        pthread_cond_wait(&s->more, &s->lock);
    struct write *group = list_take(&s->queued);
    pthread_mutex_unlock(&s->lock);
    return group;
}

static void *run_thread(void *arg)
{
    struct store *s = arg;
    struct write *group;
    while ((group = wait_for_group(s))) {
        writer_run_group(s->writer, group);
        atomic_fetch_add(&s->commits, 1);
        pthread_mutex_lock(&s->lock);
        list_add_all(&s->answered, group);
        pthread_mutex_unlock(&s->lock);
        uv_async_send(&s->answer);
    }
    return NULL;
}

/* ---- The loop's thread ---- */

static void answer_all(struct store *s)
{
    pthread_mutex_lock(&s->lock);
    struct write *op = list_take(&s->answered);
    pthread_mutex_unlock(&s->lock);
    while (op) {
        struct write *next = op->next;
        if (op->done)
            op->done(op->arg, op->error.code == ERR_NONE ? NULL : &op->error);
        write_free(op);
        op = next;
    }
}

static void on_answer(uv_async_t *handle)
{
    answer_all(handle->data);
}

static void on_closed(uv_handle_t *handle)
{
    struct store *s = handle->data;
    pthread_cond_destroy(&s->more);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

/* Signals are the loop's. */
static int start_thread(struct store *s)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = pthread_create(&s->thread, NULL, run_thread, s);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return failed;
}

int store_open(uv_loop_t *loop, const char *path, struct store **ret, struct err *e)
{
    struct writer *writer = NULL;
    if (writer_open(path, &writer, e) < 0)
        return -1;
    struct store *s = calloc(1, sizeof *s);
    if (!s || uv_async_init(loop, &s->answer, on_answer) < 0) {
        free(s);
        writer_close(&writer);
        return err_system(e, ENOMEM, "cannot open the store");
    }
    s->writer = writer;
    s->answer.data = s;
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->more, NULL);
    list_init(&s->queued);
    list_init(&s->answered);
    int failed = start_thread(s);
    if (failed == 0) {
        *ret = s;
        return 0;
    }
    writer_close(&s->writer);
    uv_close((uv_handle_t *)&s->answer, on_closed);
    return err_system(e, failed, "cannot start the store's thread");
}

void store_close(struct store **ps)
{
    struct store *s = steal(*ps);
    if (!s)
        return;
    pthread_mutex_lock(&s->lock);
    s->stopping = true;
    pthread_cond_signal(&s->more);
    pthread_mutex_unlock(&s->lock);
    pthread_join(s->thread, NULL);
    answer_all(s);
    writer_close(&s->writer);
    uv_close((uv_handle_t *)&s->answer, on_closed);
}

uint64_t store_commits(const struct store *s)
{
    return atomic_load(&s->commits);
}

bool store_accepts(Plimsoll__Outcome outcome, bool warmup)
{
    return outcome == PLIMSOLL__OUTCOME__OUTCOME_VALID ||
           outcome == PLIMSOLL__OUTCOME__OUTCOME_SUSPECT ||
           (warmup && outcome == PLIMSOLL__OUTCOME__OUTCOME_REJECTED);
}

/* ---- Queueing: each kind copies what it needs ---- */

/* Memory for a copy of a message that the program already holds: without it there is no going on.
 */
static void *need(void *pointer)
{
    if (!pointer)
        abort();
    return pointer;
}

static char *copy_text(const char *text)
{
    return need(strdup(text ? text : ""));
}

static ProtobufCMessage *copy_message(const ProtobufCMessage *m)
{
    size_t length = protobuf_c_message_get_packed_size(m);
    cleanup_free uint8_t *packed = need(malloc(length + 1));
    protobuf_c_message_pack(m, packed);
    return need(protobuf_c_message_unpack(m->descriptor, NULL, length, packed));
}

static struct write *write_new(write_run *run, const char *campaign, store_done *done, void *arg)
{
    struct write *op = need(calloc(1, sizeof *op));
    op->run = run;
    op->campaign = copy_text(campaign);
    op->done = done;
    op->arg = arg;
    op->time_ns = clock_realtime_ns();
    return op;
}

static void queue(struct store *s, struct write *op)
{
    pthread_mutex_lock(&s->lock);
    list_add_all(&s->queued, op);
    pthread_cond_signal(&s->more);
    pthread_mutex_unlock(&s->lock);
}

void store_add_campaign(struct store *s, const char *id, const Plimsoll__Plan *plan,
                        int64_t submitted_ns, bool keep_failed, store_done *done, void *arg)
{
    struct write *op = write_new(write_campaign, id, done, arg);
    op->message = copy_message(&plan->base);
    op->time_ns = submitted_ns;
    op->flag = keep_failed;
    queue(s, op);
}

void store_add_offers(struct store *s, const char *id, const struct store_host *host,
                      store_done *done, void *arg)
{
    struct write *op = write_new(write_host, id, done, arg);
    op->host = copy_text(host->name);
    op->text = copy_text(host->identity);
    op->note = copy_text(host->software);
    op->message = copy_message(&host->fingerprint->base);
    op->second = copy_message(&host->prepared->base);
    queue(s, op);
}

/* The trials with their host names, in one piece each. */
static void copy_trials(struct write *op, const struct store_trial *trials, size_t n)
{
    size_t bytes = 0;
    for (size_t i = 0; i < n; i++)
        bytes += strlen(trials[i].host) + 1;
    op->trials = need(calloc(n + 1, sizeof *op->trials));
    op->names = need(malloc(bytes + 1));
    op->n_trials = n;
    char *at = op->names;
    for (size_t i = 0; i < n; i++) {
        op->trials[i] = trials[i];
        op->trials[i].host = at;
        at = stpcpy(at, trials[i].host) + 1;
    }
}

void store_add_schedule(struct store *s, const char *id, uint64_t seed, uint64_t unavailable,
                        const struct store_trial *trials, size_t n, store_done *done, void *arg)
{
    struct write *op = write_new(write_schedule, id, done, arg);
    op->number = seed;
    op->count = unavailable;
    copy_trials(op, trials, n);
    queue(s, op);
}

void store_add_trials(struct store *s, const char *id, const struct store_trial *trials, size_t n,
                      store_done *done, void *arg)
{
    struct write *op = write_new(write_trials, id, done, arg);
    copy_trials(op, trials, n);
    queue(s, op);
}

void store_set_state(struct store *s, const char *id, const char *state, const char *note,
                     store_done *done, void *arg)
{
    struct write *op = write_new(write_state, id, done, arg);
    op->text = copy_text(state);
    op->note = copy_text(note);
    queue(s, op);
}

void store_resume(struct store *s, const char *id, bool keep_failed, store_done *done, void *arg)
{
    struct write *op = write_new(write_resume, id, done, arg);
    op->flag = keep_failed;
    queue(s, op);
}

void store_add_attempt(struct store *s, const Plimsoll__Lease *lease, const char *host,
                       store_done *done, void *arg)
{
    struct write *op = write_new(write_attempt, lease->campaign, done, arg);
    op->message = copy_message(&lease->base);
    op->host = copy_text(host);
    queue(s, op);
}

void store_end_attempt(struct store *s, const Plimsoll__Lease *lease, const char *why,
                       store_done *done, void *arg)
{
    struct write *op = write_new(write_attempt_end, lease->campaign, done, arg);
    op->message = copy_message(&lease->base);
    op->text = copy_text(why);
    queue(s, op);
}

void store_give_up(struct store *s, const char *id, const char *host, const char *why,
                   store_done *done, void *arg)
{
    struct write *op = write_new(write_give_up, id, done, arg);
    op->host = copy_text(host);
    op->text = copy_text(why);
    queue(s, op);
}

void store_add_result(struct store *s, const char *agent_key, const char *host,
                      const Plimsoll__Result *result, store_done *done, void *arg)
{
    struct write *op = write_new(write_result, result->lease->campaign, done, arg);
    op->message = copy_message(&result->base);
    op->host = copy_text(host);
    op->text = copy_text(agent_key);
    queue(s, op);
}
