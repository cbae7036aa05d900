/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A probe measures. open before the guests of a trial exist, sample when the measured guest is
 * ready, close always. Probes know guests only by their scope and their channel's stamps. On the
 * trial thread.
 */
#ifndef AGENT_PROBE_PROBE_H
#define AGENT_PROBE_PROBE_H

#include "agent/channel.h"
#include "common/catalog/catalog.h"
#include "common/err.h"
#include "proto/plimsoll.pb-c.h"

#include <sys/types.h>

/* Samples and conditions of the trial's result, owned by the trial. */
struct trial_record;
void trial_add_sample(struct trial_record *r, const char *metric, double value, int64_t time_ns);
void trial_add_condition(struct trial_record *r, const char *key, const char *value);

struct probe_target {
    struct channel *channel;
    const char *cgroup; /* NULL without one */
    pid_t leader;       /* 0 where nobody knows it */
    pid_t helper;       /* guestd, which is the agent's own work; 0 without one */
};

struct probe {
    const struct probe_ops *ops;
    const Plimsoll__Section *section;
    struct stamper *stamper;
    int cpu; /* the guest's; -1: it burns none of the host's, no canary is needed */
    void *state;
};

struct probe_ops {
    const struct catalog_entry *catalog;
    /* Legal once. Allocates; may read the host's counters. Nothing is timed yet. */
    int (*open)(struct probe *p, struct err *e);
    /* Just before the request is stamped. NULL: nothing to note. Takes no more than microseconds.
     */
    void (*begin)(struct probe *p, const struct probe_target *t);
    /* After ready. Adds its samples (every metric it adds stands in its catalog entry). May block.
     */
    int (*sample)(struct probe *p, const struct probe_target *t, struct trial_record *r,
                  struct err *e);
    /* After the guest is gone. NULL: nothing to add. */
    void (*after)(struct probe *p, struct trial_record *r);
    /* Any state; frees. */
    void (*close)(struct probe *p);
};

const struct probe_ops *const *probe_list(void);
const struct probe_ops *probe_find(const char *name);

#endif
