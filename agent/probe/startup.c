/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The start-up probe: how long a guest takes from request to ready, through which phases. */
#include "agent/probe/canary.h"
#include "agent/probe/list.h"
#include "agent/probe/usage.h"
#include "common/catalog/catalog.h"
#include "common/catalog/entries.h"
#include "common/clock.h"

#include <errno.h>
#include <stdlib.h>

/* /proc/stat counts in 10 ms steps: of shorter windows it says nothing. */
#define COUNTED_WINDOW_NS NS_PER_S

struct startup {
    int64_t canary_before_ns; /* 0: none was run */
    int64_t stamper_delay_ns; /* at the beginning; -1: the kernel does not say */
    struct usage begin;
};

static int startup_open(struct probe *p, struct err *e)
{
    struct startup *s = calloc(1, sizeof *s);
    if (!s)
        return err_system(e, ENOMEM, "cannot open the start-up probe");
    p->state = s;
    if (p->cpu >= 0)
        s->canary_before_ns = canary_spin_ns(p->cpu);
    return 0;
}

static void startup_begin(struct probe *p, const struct probe_target *t)
{
    struct startup *s = p->state;
    s->stamper_delay_ns = stamper_delay_ns(p->stamper);
    usage_read(&s->begin, t->helper, NULL, 0);
}

static double seconds(int64_t ns)
{
    return (double)ns / (double)NS_PER_S;
}

/* A phase that nothing stamped is absent: never inferred, never zero. */
static void add_phases(const struct probe_target *t, struct trial_record *r)
{
    static const struct {
        enum stamp stamp;
        const char *metric;
    } phases[] = {{STAMP_READY, "start"},
                  {STAMP_CREATED, "created"},
                  {STAMP_STARTED, "started"},
                  {STAMP_KERNEL, "kernel"},
                  {STAMP_INIT, "init"}};
    int64_t request_ns = channel_stamped_ns(t->channel, STAMP_REQUEST);
    for (size_t i = 0; i < sizeof phases / sizeof *phases; i++) {
        int64_t at_ns = channel_stamped_ns(t->channel, phases[i].stamp);
        if (at_ns != 0)
            trial_add_sample(r, phases[i].metric, seconds(at_ns - request_ns), at_ns);
    }
}

static void add_costs(const struct startup *s, const struct usage *end, struct trial_record *r)
{
    trial_add_sample(r, "agent_cpu", seconds(end->agent_ns - s->begin.agent_ns), end->time_ns);
    if (end->time_ns - s->begin.time_ns < COUNTED_WINDOW_NS)
        return;
    trial_add_sample(r, "steal", seconds(end->steal_ns - s->begin.steal_ns), end->time_ns);
    if (end->guest_ns < 0)
        return;
    int64_t other_ns =
        (end->busy_ns - s->begin.busy_ns) - end->guest_ns - (end->agent_ns - s->begin.agent_ns);
    trial_add_sample(r, "other_cpu", other_ns > 0 ? seconds(other_ns) : 0, end->time_ns);
}

static int startup_sample(struct probe *p, const struct probe_target *t, struct trial_record *r,
                          struct err *e)
{
    struct startup *s = p->state;
    struct usage end;
    usage_read(&end, t->helper, t->cgroup, t->leader);
    int64_t delay_ns = stamper_delay_ns(p->stamper);
    if (channel_stamped_ns(t->channel, STAMP_READY) == 0)
        return err_set(e, ERR_PROTOCOL, "the guest is said to be ready, but nothing stamped it");
    add_phases(t, r);
    if (delay_ns >= 0 && s->stamper_delay_ns >= 0)
        trial_add_sample(r, "stamper_delay", seconds(delay_ns - s->stamper_delay_ns), end.time_ns);
    add_costs(s, &end, r);
    return 0;
}

static void startup_after(struct probe *p, struct trial_record *r)
{
    const struct startup *s = p->state;
    if (s->canary_before_ns == 0)
        return;
    int64_t after_ns = canary_spin_ns(p->cpu);
    int64_t now_ns = clock_monotonic_ns();
    trial_add_sample(r, "canary_before", seconds(s->canary_before_ns), s->begin.time_ns);
    trial_add_sample(r, "canary_after", seconds(after_ns), now_ns);
}

static void startup_close(struct probe *p)
{
    free(p->state);
    p->state = NULL;
}

const struct probe_ops probe_startup_ops = {
    .catalog = &catalog_startup,
    .open = startup_open,
    .begin = startup_begin,
    .sample = startup_sample,
    .after = startup_after,
    .close = startup_close,
};
