// SPDX-License-Identifier: GPL-3.0-or-later
//
// No guest at all, but scripted delays and failures, for tests of everything that uses guests.
// Needs no privileges and touches nothing on the host.
#include "agent/guest/backends.h"
#include "agent/guest/common.h"
#include "common/catalog/entries.h"
#include "common/clock.h"
#include "common/digest.h"
#include "common/fs.h"
#include "proto/settings.h"

#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum guest_stage { STAGE_PREPARED, STAGE_CREATED, STAGE_RUNNING, STAGE_STOPPED };

struct guest_state {
    enum guest_stage stage;
    bool counted; /* its failure stands in `failures` */
    int64_t ready_at_ns;
};

/* Failures of this process so far, for fail_times. */
static atomic_long failures;

static const char *text_of(const Plimsoll__Section *s, const char *key, const char *fallback)
{
    const char *text = settings_text(s, key);
    return text ? text : fallback;
}

static bool script_says(const Plimsoll__Section *s, const char *step)
{
    if (strcmp(text_of(s, "fail_at", "never"), step) != 0)
        return false;
    int64_t times = settings_integer(s, "fail_times", 0);
    return times == 0 || atomic_load(&failures) < times;
}

static void count_failure(struct guest *g)
{
    if (g->state && g->state->counted)
        return;
    if (g->state)
        g->state->counted = true;
    atomic_fetch_add(&failures, 1);
}

static int wait_for_nothing(int64_t deadline_ns, int cancel_fd, struct err *e)
{
    struct pollfd p = {.fd = cancel_fd, .events = POLLIN};
    while (poll(&p, 1, clock_poll_ms(deadline_ns)) < 0 && errno == EINTR)
        continue;
    return guest_may_go_on(deadline_ns, cancel_fd, e);
}

/* 0 where the script lets the step pass. */
static int act(struct guest *g, const char *step, int64_t deadline_ns, int cancel_fd, struct err *e)
{
    if (guest_may_go_on(deadline_ns, cancel_fd, e) < 0)
        return -1;
    if (!script_says(g->section, step))
        return 0;
    count_failure(g);
    const char *how = text_of(g->section, "fail_how", "error");
    if (strcmp(how, "hang") == 0 && (deadline_ns || cancel_fd >= 0))
        while (wait_for_nothing(deadline_ns, cancel_fd, e) == 0)
            continue;
    else if (strcmp(how, "die") == 0)
        err_set(e, ERR_SYSTEM, "the guest ended before it was ready");
    else
        err_set(e, ERR_SYSTEM, "the script lets %s fail", step);
    return -1;
}

static int check_host(struct host *host, struct stamper *stamper, const Plimsoll__Section *section,
                      const struct image *image, int cancel_fd, struct guest_offer *ret,
                      struct err *e)
{
    (void)stamper, (void)image, (void)cancel_fd, (void)e;
    ret->available = true;
    if (!host->allow_fake)
        offer_refuse(ret, "the agent's configuration does not allow it (allow_fake)");
    else if (script_says(section, "check"))
        offer_refuse(ret, "the script says that it is not available");
    return 0;
}

static int prepare(struct guest *g, int64_t deadline_ns, int cancel_fd, struct err *e)
{
    g->state = calloc(1, sizeof(*g->state));
    if (!g->state)
        return err_system(e, ENOMEM, "cannot prepare %s", g->name);
    if (channel_new(g->stamper, &g->channel, e) < 0)
        return -1;
    return act(g, "prepare", deadline_ns, cancel_fd, e);
}

static int create(struct guest *g, int64_t deadline_ns, int cancel_fd, struct err *e)
{
    if (act(g, "create", deadline_ns, cancel_fd, e) < 0)
        return -1;
    g->state->stage = STAGE_CREATED;
    return 0;
}

/* The same seed and serial number give the same delay, on every host. */
static int64_t delay_ns(const struct guest *g)
{
    int64_t jitter_ns = settings_integer(g->section, "jitter", 0);
    int64_t seed = settings_integer(g->section, "seed", 1);
    int64_t fixed_ns = settings_integer(g->section, "ready_after", NS_PER_MS);
    /* SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014). */
    uint64_t z = (uint64_t)seed + (uint64_t)g->serial * UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    z ^= z >> 31;
    double part = (double)(z >> 11) / (double)(UINT64_C(1) << 53);
    return fixed_ns + (int64_t)(part * (double)jitter_ns);
}

static int start(struct guest *g, int64_t deadline_ns, int cancel_fd, struct err *e)
{
    if (act(g, "start", deadline_ns, cancel_fd, e) < 0)
        return -1;
    int64_t now_ns = clock_monotonic_ns();
    channel_stamp(g->channel, STAMP_STARTED, now_ns);
    g->state->ready_at_ns = now_ns + delay_ns(g);
    g->state->stage = STAGE_RUNNING;
    return 0;
}

static int wait_ready(struct guest *g, int64_t deadline_ns, int cancel_fd, struct err *e)
{
    if (act(g, "ready", deadline_ns, cancel_fd, e) < 0)
        return -1;
    int64_t until_ns = g->state->ready_at_ns;
    if (deadline_ns && deadline_ns < until_ns)
        until_ns = deadline_ns;
    struct pollfd p = {.fd = cancel_fd, .events = POLLIN};
    for (;;) {
        int64_t left_ns = until_ns - clock_monotonic_ns();
        struct timespec left = {.tv_sec = left_ns / NS_PER_S, .tv_nsec = left_ns % NS_PER_S};
        if (left_ns <= 0 || ppoll(&p, 1, &left, NULL) > 0)
            break;
    }
    if (clock_monotonic_ns() < g->state->ready_at_ns || guest_may_go_on(0, cancel_fd, NULL) < 0)
        return guest_may_go_on(deadline_ns, cancel_fd, e);
    channel_stamp(g->channel, STAMP_READY, clock_monotonic_ns());
    return 0;
}

static int exec(struct guest *g, const Plimsoll__Exec *request, int64_t deadline_ns, int cancel_fd,
                Plimsoll__Finished **ret, struct err *e)
{
    (void)request;
    if (act(g, "exec", deadline_ns, cancel_fd, e) < 0)
        return -1;
    Plimsoll__Finished *finished = malloc(sizeof(*finished));
    if (!finished)
        return err_system(e, ENOMEM, "cannot run a program in %s", g->name);
    plimsoll__finished__init(finished);
    *ret = finished;
    return 0;
}

static int scope(struct guest *g, struct guest_scope *ret, struct err *e)
{
    if (!g->state || g->state->stage != STAGE_RUNNING)
        return err_set(e, ERR_NOT_FOUND, "%s does not run", g->name);
    *ret = (struct guest_scope){.cgroup = NULL, .leader = getpid()};
    return 0;
}

static int stop(struct guest *g, int64_t deadline_ns, struct err *e)
{
    if (!g->state || g->state->stage == STAGE_STOPPED)
        return 0;
    int result = act(g, "stop", deadline_ns, -1, e);
    g->state->stage = STAGE_STOPPED;
    return result;
}

static int destroy(struct guest *g, struct err *e)
{
    if (!g->state)
        return 0;
    /* A failure is reported once; whoever tries again gets rid of it. */
    bool fails = script_says(g->section, "destroy") && !g->state->counted;
    if (fails) {
        count_failure(g);
        return err_set(e, ERR_SYSTEM, "the script lets destroy fail");
    }
    channel_free(&g->channel);
    free(g->state);
    g->state = NULL;
    return 0;
}

static void texts(struct guest *g, struct guest_texts *to)
{
    static const char definition[] = "no guest at all, but a script\n";
    if (g->state)
        guest_add_text(to, "fake.conf", definition, strlen(definition));
}

static int sweep(struct host *host, unsigned *removed, struct err *e)
{
    (void)host, (void)removed, (void)e;
    return 0;
}

const struct guest_ops guest_fake_ops = {
    .catalog = &catalog_fake,
    .check_host = check_host,
    .prepare = prepare,
    .create = create,
    .start = start,
    .wait_ready = wait_ready,
    .exec = exec,
    .scope = scope,
    .stop = stop,
    .destroy = destroy,
    .texts = texts,
    .sweep = sweep,
};
