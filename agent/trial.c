/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agent/trial.h"

#include "agent/guest/guest.h"
#include "agent/guestd/client.h"
#include "agent/lease.h"
#include "agent/probe/probe.h"
#include "agent/probe/record.h"
#include "agent/trial-check.h"
#include "agent/verdict.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/log.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A frame takes 64 KiB; a reason is for a person. */
enum { REASON_MOST_BYTES = 8 << 10 };
/* How long a lab's other agents may keep the host, and how long stopping a guest may take. */
#define LOCK_PATIENCE_NS (3600 * NS_PER_S)
#define STOP_PATIENCE_NS (30 * NS_PER_S)
/* Where a plan's cell says nothing. */
#define DEFAULT_DEADLINE_NS (120 * NS_PER_S)

struct kept_guest {
    struct kept_guest *next;
    Plimsoll__Assign *assign;
    struct image *image;
    struct guest *guest;
};

struct trial {
    struct bench *bench;
    Plimsoll__Assign *assign;
    const Plimsoll__Cell *cell;
    int cancel_fd;
    int64_t deadline_ns;
    int lock_fd;
    struct image *image;
    struct guest *guest;
    struct probe probe;
    struct trial_record record;
    struct guest_texts texts;
};

int bench_cpu(const struct bench *b)
{
    return b->host->cpus[b->host->n_cpus - 1];
}

static void stage(struct trial *t, const char *name)
{
    if (t->bench->stage)
        t->bench->stage(t->bench->arg, t->assign->lease, name);
}

/* Between steps: a backend that is quick need not look at it. */
static int may_go_on(const struct trial *t, struct err *e)
{
    struct pollfd cancel = {.fd = t->cancel_fd, .events = POLLIN};
    if (t->cancel_fd >= 0 && poll(&cancel, 1, 0) > 0)
        return err_set(e, ERR_CANCELLED, "cancelled");
    if (t->deadline_ns && clock_monotonic_ns() >= t->deadline_ns)
        return err_set(e, ERR_TIMEOUT, "the trial's deadline passed");
    return 0;
}

/* ---- Steps ---- */

static int take_lock(struct trial *t, struct err *e)
{
    stage(t, "lock");
    int64_t patience_ns = clock_monotonic_ns() + LOCK_PATIENCE_NS;
    if (host_lock(t->bench->host, patience_ns, t->cancel_fd, &t->lock_fd, e) < 0)
        return -1;
    /* Waiting for one's turn is not the guest's fault: its time begins here. */
    uint64_t given_ns = t->cell->deadline_ns;
    int64_t span_ns =
        given_ns > 0 && given_ns < INT64_MAX / 2 ? (int64_t)given_ns : DEFAULT_DEADLINE_NS;
    t->deadline_ns = clock_monotonic_ns() + span_ns;
    return 0;
}

static int find_image(struct trial *t, struct err *e)
{
    const struct guest_ops *ops = guest_backend_find(t->cell->guest->plugin);
    if (!ops->catalog->needs_image)
        return 0;
    stage(t, "image");
    return image_find(t->bench->host, t->cell->image, &t->image, e);
}

static int open_probe(struct trial *t, struct err *e)
{
    const struct guest_ops *ops = guest_backend_find(t->cell->guest->plugin);
    t->probe.ops = probe_find(t->cell->probe->plugin);
    t->probe.section = t->cell->probe;
    t->probe.stamper = t->bench->stamper;
    /* A backend without an image runs nothing here that a disturbed host could slow down. */
    t->probe.cpu = ops->catalog->needs_image ? bench_cpu(t->bench) : -1;
    t->record.probe = t->probe.ops->catalog;
    return t->probe.ops->open(&t->probe, e);
}

static int prepare_guest(struct trial *t, struct err *e)
{
    stage(t, "prepare");
    if (guest_new(t->bench->host, t->bench->stamper, t->cell->guest, t->image,
                  t->assign->accelerator, bench_cpu(t->bench), &t->guest, e) < 0)
        return -1;
    return t->guest->ops->prepare(t->guest, t->deadline_ns, t->cancel_fd, e);
}

static struct probe_target target_of(const struct trial *t)
{
    const struct guestd_client *guestd = t->bench->host->guestd;
    return (struct probe_target){.channel = t->guest->channel,
                                 .helper = guestd ? guestd_pid(guestd) : 0};
}

static int wait_ready(struct trial *t, struct err *e)
{
    struct guest *g = t->guest;
    if (g->ops->wait_ready)
        return g->ops->wait_ready(g, t->deadline_ns, t->cancel_fd, e);
    return channel_wait(g->channel, STAMP_READY, t->deadline_ns, t->cancel_fd, e);
}

/* Within: nothing but the backend's own work, and the two readings of the probe. */
static int timed_window(struct trial *t, struct err *e)
{
    struct guest *g = t->guest;
    struct probe_target target = target_of(t);
    if (t->probe.ops->begin)
        t->probe.ops->begin(&t->probe, &target);
    t->record.clock_ns = clock_realtime_ns();
    channel_stamp(g->channel, STAMP_REQUEST, clock_monotonic_ns());
    if (g->ops->create(g, t->deadline_ns, t->cancel_fd, e) < 0)
        return err_prefix(e, "create");
    if (g->ops->start(g, t->deadline_ns, t->cancel_fd, e) < 0)
        return err_prefix(e, "start");
    if (wait_ready(t, e) < 0)
        return err_prefix(e, "waiting for ready");
    return 0;
}

static int sample(struct trial *t, struct err *e)
{
    cleanup_guest_scope struct guest_scope scope = {0};
    cleanup_err struct err unknown = ERR_INIT;
    if (t->guest->ops->scope && t->guest->ops->scope(t->guest, &scope, &unknown) < 0)
        log_debug("scope: %s", err_text(&unknown));
    struct probe_target target = target_of(t);
    target.cgroup = scope.cgroup;
    target.leader = scope.leader;
    int failed = t->probe.ops->sample(&t->probe, &target, &t->record, e);
    return failed;
}

static int measure(struct trial *t, struct err *e)
{
    if (take_lock(t, e) < 0 || find_image(t, e) < 0 || open_probe(t, e) < 0 || may_go_on(t, e) < 0)
        return -1;
    if (prepare_guest(t, e) < 0)
        return err_prefix(e, "prepare");
    if (may_go_on(t, e) < 0)
        return -1;
    stage(t, "start");
    if (timed_window(t, e) < 0)
        return -1;
    return sample(t, e);
}

/* ---- Results ---- */

Plimsoll__Result *trial_result(const Plimsoll__Lease *lease, bool warmup, Plimsoll__Outcome outcome,
                               const char *reason)
{
    Plimsoll__Result *r = malloc(sizeof *r);
    if (!r)
        abort();
    plimsoll__result__init(r);
    if (lease)
        r->lease = lease_copy(lease);
    r->warmup = warmup;
    r->outcome = outcome;
    if (reason[0])
        r->reason = strndup(reason, REASON_MOST_BYTES);
    return r;
}

/* ---- The end ---- */

/* Whatever remains is the next trial's disturbance: swept at once, and told. */
static int remove_guest(struct trial *t, struct err *e)
{
    if (!t->guest)
        return 0;
    stage(t, "stop");
    struct guest *g = t->guest;
    cleanup_err struct err stop = ERR_INIT;
    cleanup_err struct err destroy = ERR_INIT;
    g->ops->stop(g, clock_monotonic_ns() + STOP_PATIENCE_NS, &stop);
    g->ops->destroy(g, &destroy);
    const struct guest_ops *ops = g->ops;
    guest_free(&t->guest);
    if (destroy.code == ERR_NONE)
        return stop.code == ERR_NONE ? 0 : err_move(e, &stop);
    unsigned removed = 0;
    cleanup_err struct err sweep = ERR_INIT;
    if (ops->sweep && ops->sweep(t->bench->host, &removed, &sweep) < 0)
        err_prefix(&destroy, "%s", err_text(&sweep));
    return err_move(e, &destroy);
}

/* The definition as it really ran is kept with every trial, what was said only with a failed one.
 */
static bool is_definition(const char *name)
{
    const char *ending = strrchr(name, '.');
    return ending && (strcmp(ending, ".conf") == 0 || strcmp(ending, ".xml") == 0);
}

static void give_texts(struct trial *t, bool all, Plimsoll__Result *to)
{
    to->texts = calloc(t->texts.n ? t->texts.n : 1, sizeof(Plimsoll__Text *));
    for (size_t i = 0; to->texts && i < t->texts.n; i++) {
        if (!all && !is_definition(t->texts.items[i]->name))
            continue;
        to->texts[to->n_texts++] = t->texts.items[i];
        t->texts.items[i] = NULL;
    }
    size_t left = 0;
    for (size_t i = 0; i < t->texts.n; i++)
        if (t->texts.items[i])
            t->texts.items[left++] = t->texts.items[i];
    t->texts.n = left;
    guest_texts_clear(&t->texts);
}

static void keep_guest(struct trial *t, Plimsoll__Assign **assign)
{
    struct kept_guest *k = t->guest ? calloc(1, sizeof *k) : NULL;
    if (!k)
        return;
    cleanup_err struct err e = ERR_INIT;
    log_warning("guest %s failed and is left up as asked", t->guest->name);
    if (host_keep_guest(t->bench->host, t->guest->name, &e) < 0)
        log_warning("%s", err_text(&e));
    *k = (struct kept_guest){.next = t->bench->kept,
                             .assign = steal(*assign),
                             .image = steal(t->image),
                             .guest = steal(t->guest)};
    t->bench->kept = k;
}

static void add_conditions(struct trial *t)
{
    const struct catalog_entry *backend = guest_backend_find(t->cell->guest->plugin)->catalog;
    struct trial_record *r = &t->record;
    char cpu[16];
    snprintf(cpu, sizeof cpu, "%d", bench_cpu(t->bench));
    trial_add_condition(r, "backend", backend->name);
    if (t->assign->accelerator[0])
        trial_add_condition(r, "accelerator", t->assign->accelerator);
    if (backend->ready_means)
        trial_add_condition(r, "ready", backend->ready_means);
    trial_add_condition(r, "stamper", stamper_policy(t->bench->stamper));
    trial_add_condition(r, "cpu", cpu);
    if (t->bench->runner_digest[0])
        trial_add_condition(r, "runner", t->bench->runner_digest);
    if (t->image && t->image->digest)
        trial_add_condition(r, "image", t->image->digest);
    if (t->image && t->image->kernel_digest && backend->has_accelerator)
        trial_add_condition(r, "kernel", t->image->kernel_digest);
}

static Plimsoll__Outcome outcome_of(const struct err *e)
{
    if (e->code == ERR_NONE)
        return PLIMSOLL__OUTCOME__OUTCOME_VALID;
    return e->code == ERR_CANCELLED ? PLIMSOLL__OUTCOME__OUTCOME_CANCELLED
                                    : PLIMSOLL__OUTCOME__OUTCOME_FAILED;
}

static void close_probe(struct trial *t, bool measured)
{
    if (!t->probe.ops)
        return;
    if (measured && t->probe.ops->after)
        t->probe.ops->after(&t->probe, &t->record);
    t->probe.ops->close(&t->probe);
}

/* From the measurement's end, good or bad, to a clean host and a result. */
static Plimsoll__Result *finish(struct trial *t, Plimsoll__Assign **assign, struct err *failure)
{
    bool failed = failure->code != ERR_NONE;
    bool keep = failure->code != ERR_NONE && failure->code != ERR_CANCELLED &&
                t->assign->keep_failed && t->guest;
    Plimsoll__Result *result = trial_result(t->assign->lease, t->assign->warmup,
                                            outcome_of(failure), failed ? err_text(failure) : "");
    add_conditions(t);
    if (keep)
        trial_add_condition(&t->record, "left_up", t->guest->name);
    if (t->guest)
        t->guest->ops->texts(t->guest, &t->texts);
    cleanup_err struct err left = ERR_INIT;
    if (keep)
        keep_guest(t, assign);
    else if (remove_guest(t, &left) < 0)
        verdict_add(result, PLIMSOLL__OUTCOME__OUTCOME_SUSPECT, "the guest did not go cleanly: %s",
                    err_text(&left));
    close_probe(t, !failed);
    if (t->lock_fd >= 0)
        close(t->lock_fd);
    record_give(&t->record, result);
    give_texts(t, failed, result);
    verdict_contamination(result, (int)sysconf(_SC_NPROCESSORS_ONLN));
    image_free(&t->image);
    return result;
}

Plimsoll__Result *trial_run(struct bench *b, Plimsoll__Assign **assign, int cancel_fd)
{
    Plimsoll__Assign *a = *assign;
    struct trial t = {
        .bench = b, .assign = a, .cell = a->cell, .cancel_fd = cancel_fd, .lock_fd = -1};
    cleanup_err struct err e = ERR_INIT;
    Plimsoll__Result *result = NULL;
    if (trial_check(b->host, a, &e) < 0) {
        result = trial_result(a->lease, a->warmup, PLIMSOLL__OUTCOME__OUTCOME_FAILED, err_text(&e));
    } else {
        measure(&t, &e);
        result = finish(&t, assign, &e);
    }
    if (*assign)
        plimsoll__assign__free_unpacked(*assign, NULL);
    *assign = NULL;
    return result;
}

/* ---- Kept guests ---- */

size_t bench_kept(const struct bench *b)
{
    size_t n = 0;
    for (const struct kept_guest *k = b->kept; k; k = k->next)
        n++;
    return n;
}

void bench_forget_kept(struct bench *b)
{
    /* The guests' own memory goes with the process: freeing it would destroy them. */
    b->kept = NULL;
}
