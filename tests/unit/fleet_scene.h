/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A whole coordinator (store, key table, both servers) and agents that do as the test says, all on
 * one loop and over real CURVE sockets on loopback.
 */
#ifndef TESTS_UNIT_FLEET_SCENE_H
#define TESTS_UNIT_FLEET_SCENE_H

#include "common/clock.h"
#include "coordinator/clients/clients.h"
#include "coordinator/fleet/fleet.h"
#include "coordinator/store/read.h"
#include "proto/peer.h"

#include <stdbool.h>

#define SCENE_PATIENCE_NS (30 * NS_PER_S)

enum { SCENE_MOST_LEASES = 64 };

struct scene;

struct agent {
    struct scene *scene;
    const char *name;
    const char *identity; /* value of its only fact that must match */
    struct key_pair key;
    struct peer *peer;
    bool welcomed, refused;
    char why[256];

    /* What it is to do. */
    bool mute;           /* does not answer Prepare */
    bool unavailable;    /* offers nothing */
    bool hold;           /* takes assignments and does not answer */
    unsigned fail_first; /* so many results say failed */
    bool claim;          /* says in its hello that it runs `held` */
    bool bulky;          /* its results bring 900 KiB of conditions */
    bool silent_results; /* answers, but keeps the results to itself */

    /* What it knows. */
    Plimsoll__Lease held; /* the last assignment; its campaign is owned */
    bool holds;
    bool keeps_failed; /* the last assignment wants a failed guest to be left up */
    uint64_t next_sequence;
    unsigned prepares, assigns, cancels, committed;
    uint64_t trials[SCENE_MOST_LEASES]; /* of its assignments */
    bool warmups[SCENE_MOST_LEASES];
    bool send_next_beat;
    uv_timer_t beat;
    bool beats; /* the timer is there */
};

struct client_end {
    struct scene *scene;
    struct key_pair key;
    struct peer *peer;
    bool welcomed;
    Plimsoll__Envelope *answer; /* the last one */
    unsigned answers;
};

struct scene {
    char folder[64];
    char *keys, *store_path;
    uv_loop_t loop;
    uv_timer_t turn; /* the loop turns at least this often, so that deadlines are looked at */
    void *zmq;       /* of agents and clients */
    void *zmq_there; /* of the coordinator: one a life, as in a process of its own */
    struct key_pair own;
    struct zap *zap;
    struct store *store;
    struct fleet *fleet;
    struct clients *clients;
    int64_t gone_ns, patience_ns, grace_ns;
    char *failure;
};

void scene_open(struct scene *s);
void scene_close(struct scene *s);
/* The coordinator alone, started and stopped within a scene; agents and clients have left before a
 * stop. What the nothing more of what is decided by the loop: in both cases the store has what was
 * committed. */
void scene_start(struct scene *s);
void scene_stop(struct scene *s);

/* Makes and allows a key. */
void agent_open(struct scene *s, struct agent *a, const char *name);
void agent_join(struct agent *a);
void agent_leave(struct agent *a);
void agent_close(struct agent *a);
/* Answers the assignment that is held. */
void agent_answer(struct agent *a, Plimsoll__Outcome outcome);
void agent_send_result(struct agent *a, const Plimsoll__Lease *lease, uint64_t sequence,
                       Plimsoll__Outcome outcome);
void agent_send_beat(struct agent *a, const Plimsoll__Lease *running);
/* Beats so often, with what it holds. */
void agent_beat_every(struct agent *a, uint64_t ms);

void client_open_end(struct scene *s, struct client_end *c);
/* Another session with a key that is allowed already. */
void client_open_with(struct scene *s, struct client_end *c, const struct key_pair *key);
void client_close_end(struct client_end *c);
/* Sends a request and waits for the next answer, which stays in c->answer. */
const Plimsoll__Envelope *client_ask(struct client_end *c, Plimsoll__Envelope *m);

/* A campaign of one cell and guest "g", so many counted trials after one warm-up; its id is the
 * name. */
void scene_submit(struct scene *s, const char *id, uint32_t repeat, bool any_host);
/* From the store. */
struct read_counts scene_counts(struct scene *s, const char *id);
char *scene_state(struct scene *s, const char *id); /* the caller's */
char *scene_note(struct scene *s, const char *id);
bool scene_is(struct scene *s, const char *id, const char *state);

void scene_turn(struct scene *s);

#define scene_until(s, condition)                                                                  \
    do {                                                                                           \
        int64_t until_ns_ = clock_monotonic_ns() + SCENE_PATIENCE_NS;                              \
        while (!(condition)) {                                                                     \
            if (clock_monotonic_ns() > until_ns_)                                                  \
                fail_msg("%s:%d: never came true: %s", __FILE__, __LINE__, #condition);            \
            scene_turn(s);                                                                         \
        }                                                                                          \
    } while (0)

#endif
