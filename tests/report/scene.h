/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A store with a campaign in it, made by the store's own writer. */
#ifndef TESTS_REPORT_SCENE_H
#define TESTS_REPORT_SCENE_H

#include "coordinator/store/store.h"

#define SCENE_ID "20261123T091500Z-starts-1a2b"

/* Ends elements and attributes, and reorders what follows, where it is not escaped. */
#define SCENE_HOSTILE "</script><b id=x>\"'&amp; \xe2\x80\xae\x01\xff end"

struct scene {
    bool hostile; /* the campaign's title and plan, a guest and the hosts' words are the above */
    uv_loop_t loop;
    struct store *store;
    char folder[64];
    char *path; /* of the store */
    uint64_t lease, sequence;
    unsigned asked, answered;
};

struct scene *scene_open(void);
/* Waits for the writes, closes the store's writer, and puts fixed times in place of the clock's. */
void scene_settle(struct scene *s);
void scene_free(struct scene **s);

/* The campaign: cells process, lxc and kvm of one experiment, with the paper's values; hosts a (kvm
 * under tcg) and b (kvm/intel, no lxc). `lxc_within` is the tolerance of the check on lxc, 0: none.
 */
void scene_add_campaign(struct scene *s, double lxc_within);
void scene_add_trials(struct scene *s, const struct store_trial *trials, size_t n,
                      uint64_t unavailable);

/* An attempt and its result with the phases of a start that took `start_s`. */
struct scene_result {
    uint64_t trial;
    unsigned attempt;
    const char *host;
    const char *accelerator; /* "": none */
    Plimsoll__Outcome outcome;
    const char *reason;
    bool warmup;
    double start_s; /* 0: no samples */
};
void scene_add_result(struct scene *s, const struct scene_result *r);
/* As above, for an attempt that was lost already. */
void scene_add_late_result(struct scene *s, const struct scene_result *r);
void scene_lose_attempt(struct scene *s, uint64_t trial, unsigned attempt, const char *host,
                        const char *why);
void scene_end(struct scene *s, const char *state, const char *note);

#endif
