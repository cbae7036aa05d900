/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A coordinator's end with its keys in a folder of its own, and peers' ends, in one loop over
 * loopback. */
#ifndef TESTS_UNIT_WIRE_SCENE_H
#define TESTS_UNIT_WIRE_SCENE_H

#include "common/clock.h"
#include "proto/key_table.h"
#include "proto/peer.h"
#include "proto/server.h"
#include "tests/cmocka_with_needs.h"

#include <stdbool.h>
#include <uv.h>

#define PATIENCE_NS (20 * NS_PER_S)

/* The coordinator's end and what it was told. */
struct world {
    char folder[64];
    uv_loop_t loop;
    uv_timer_t turn; /* the loop turns at least this often, so that deadlines are looked at */
    void *zmq;
    struct zap *zap;
    struct server *agents, *clients;
    struct key_pair own;
    int joined, left, refused, messages;
    char why[256];
    struct session *last;
    bool refuse_all;
    bool end_on_message;
    bool echo;
    const char *unanswered; /* of this name, all the same; NULL: nobody */
    bool over;              /* a test that failed may have left peers whose owners are gone */
};
extern struct world world;

/* An agent's or client's end and what it was told. */
struct end {
    struct key_pair key;
    const char *name;
    struct peer *peer;
    int welcomed, lost, messages;
    bool was_refused;
    char why[256];
};

#define run_until(condition)                                                                       \
    do {                                                                                           \
        int64_t run_until_ns_ = clock_monotonic_ns() + PATIENCE_NS;                                \
        while (!(condition)) {                                                                     \
            if (clock_monotonic_ns() > run_until_ns_)                                              \
                fail_msg("in vain: %s; server: %s", #condition, world.why);                        \
            uv_run(&world.loop, UV_RUN_ONCE);                                                      \
        }                                                                                          \
    } while (0)

void run_for_ns(int64_t ns);

/* A key pair for `end`, allowed as `name`. */
void allow(struct end *end, enum key_role role, const char *name);
void start_at(struct end *end, const struct server *server);
int send_beat(struct end *end);

/* Of each test. */
int world_set_up(void **state);
int world_tear_down(void **state);
#define wire_test(f) cmocka_unit_test_setup_teardown(f, world_set_up, world_tear_down)

extern const struct server_events world_events;
extern const struct peer_events end_events;

#endif
