/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The agent's session against a real server over CURVE on loopback; guests are scripted. */
#include "agent/session.h"

#include "agent/lease.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/fs.h"
#include "proto/server.h"
#include "tests/cmocka_with_needs.h"
#include "tests/unit/agent_fixture.h"

#include <stdio.h>
#include <string.h>
#include <zmq.h>

#define PATIENCE_NS (20 * NS_PER_S)

enum { MOST_RESULTS = 32 };

/* The coordinator's end, what it heard, and the agent. */
static struct {
    char folder[64];
    uv_loop_t loop;
    uv_timer_t turn;
    void *zmq;
    struct zap *zap;
    struct server *server;
    struct key_pair server_key;
    struct session *peer;
    int joined, beats, prepared;
    Plimsoll__Lease *hello_running, *beat_running;
    uint64_t hello_next;
    char hello_spool[64];
    size_t hello_facts;
    Plimsoll__Prepared *last_prepared;
    char stages[256];
    struct {
        uint64_t sequence;
        Plimsoll__Outcome outcome;
        uint64_t lease;
        char reason[256];
    } results[MOST_RESULTS];
    int n_results;
    bool commits; /* each result at once */
    struct agent_fixture agent;
    struct spool *spool;
    struct agent_setup setup;
    struct agent_session *session;
    int ended;
} world;

static void *copy(const ProtobufCMessage *m)
{
    if (!m)
        return NULL;
    size_t length = protobuf_c_message_get_packed_size(m);
    cleanup_free uint8_t *bytes = malloc(length + 1);
    protobuf_c_message_pack(m, bytes);
    return protobuf_c_message_unpack(m->descriptor, NULL, length, bytes);
}

static void forget(void *message)
{
    ProtobufCMessage **m = message;
    if (*m)
        protobuf_c_message_free_unpacked(*m, NULL);
    *m = NULL;
}

static int on_joined(void *arg, struct session *s, const Plimsoll__Hello *hello, struct err *e)
{
    (void)arg, (void)e;
    world.peer = s;
    world.joined++;
    forget(&world.hello_running);
    world.hello_running = hello->running ? copy(&hello->running->base) : NULL;
    world.hello_next = hello->next_sequence;
    world.hello_facts = hello->fingerprint ? hello->fingerprint->n_facts : 0;
    snprintf(world.hello_spool, sizeof world.hello_spool, "%s", hello->spool);
    return 0;
}

static void send_to_agent(Plimsoll__Envelope__KindCase kind, void *message)
{
    struct err e = ERR_INIT;
    Plimsoll__Envelope m = PLIMSOLL__ENVELOPE__INIT;
    m.kind_case = kind;
    m.assign = message; /* all members of the union are pointers */
    if (session_send(world.peer, &m, &e) < 0)
        fail_msg("%s", err_text(&e));
}

static void commit(uint64_t sequence)
{
    Plimsoll__Committed c = PLIMSOLL__COMMITTED__INIT;
    c.spool = (char *)spool_uuid(world.spool);
    c.sequence = sequence;
    send_to_agent(PLIMSOLL__ENVELOPE__KIND_COMMITTED, &c);
}

static void on_result(const Plimsoll__Result *r)
{
    if (world.n_results == MOST_RESULTS)
        fail_msg("the agent does not stop sending results");
    assert_string_equal(r->spool, spool_uuid(world.spool));
    int i = world.n_results++;
    world.results[i].sequence = r->sequence;
    world.results[i].outcome = r->outcome;
    world.results[i].lease = r->lease->lease;
    snprintf(world.results[i].reason, sizeof world.results[i].reason, "%s", r->reason);
    if (world.commits)
        commit(r->sequence);
}

static void on_message(void *arg, struct session *s, const Plimsoll__Envelope *m)
{
    (void)arg, (void)s;
    if (m->kind_case == PLIMSOLL__ENVELOPE__KIND_RESULT) {
        on_result(m->result);
    } else if (m->kind_case == PLIMSOLL__ENVELOPE__KIND_BEAT) {
        world.beats++;
        forget(&world.beat_running);
        world.beat_running = m->beat->running ? copy(&m->beat->running->base) : NULL;
    } else if (m->kind_case == PLIMSOLL__ENVELOPE__KIND_PREPARED) {
        world.prepared++;
        forget(&world.last_prepared);
        world.last_prepared = copy(&m->prepared->base);
    } else if (m->kind_case == PLIMSOLL__ENVELOPE__KIND_PROGRESS) {
        size_t used = strlen(world.stages);
        snprintf(world.stages + used, sizeof world.stages - used, "%s ", m->progress->stage);
    } else {
        fail_msg("the agent sent a message of kind %d", (int)m->kind_case);
    }
}

static void on_left(void *arg, struct session *s, const char *why)
{
    (void)arg, (void)why;
    if (world.peer == s)
        world.peer = NULL;
}

static const struct server_events events = {
    .joined = on_joined, .message = on_message, .left = on_left};

static void on_ended(void *arg)
{
    (void)arg;
    world.ended++;
}

static void on_turn(uv_timer_t *timer)
{
    (void)timer;
}

#define run_until(condition)                                                                       \
    do {                                                                                           \
        int64_t run_until_ns_ = clock_monotonic_ns() + PATIENCE_NS;                                \
        while (!(condition)) {                                                                     \
            if (clock_monotonic_ns() > run_until_ns_)                                              \
                fail_msg("in vain: %s", #condition);                                               \
            uv_run(&world.loop, UV_RUN_ONCE);                                                      \
        }                                                                                          \
    } while (0)

static void start_agent(void)
{
    cleanup_err struct err e = ERR_INIT;
    cleanup_free char *spool = fs_path("%s/spool", world.agent.host.state_folder);
    world.ended = 0;
    if (spool_open(spool, &world.spool, &e) < 0)
        fail_msg("%s", err_text(&e));
    world.setup.spool = world.spool;
    if (agent_session_start(&world.loop, world.zmq, &world.setup, &world.session, &e) < 0)
        fail_msg("%s", err_text(&e));
    int before = world.joined;
    run_until(world.joined > before);
}

static void stop_agent(void)
{
    agent_session_quit(world.session);
    run_until(world.ended == 1);
    agent_session_free(&world.session);
    spool_close(&world.spool);
}

static int set_up(void **state)
{
    (void)state;
    memset(&world, 0, sizeof world);
    strcpy(world.folder, "/tmp/plimsoll-session-XXXXXX");
    assert_non_null(mkdtemp(world.folder));
    assert_int_equal(agent_fixture_open(&world.agent), 0);
    uv_loop_init(&world.loop);
    uv_timer_init(&world.loop, &world.turn);
    uv_timer_start(&world.turn, on_turn, 10, 10);
    world.zmq = zmq_ctx_new();
    world.commits = true;
    cleanup_err struct err e = ERR_INIT;
    if (key_pair_make(&world.server_key, &e) < 0 || key_pair_make(&world.setup.key, &e) < 0 ||
        key_table_allow(world.folder, KEY_ROLE_AGENT, "host-a", world.setup.key.public_z85, 0, &e) <
            0 ||
        zap_start(&world.loop, world.zmq, world.folder, &world.zap, &e) < 0 ||
        server_start(&world.loop, world.zmq, world.zap, KEY_ROLE_AGENT, &world.server_key,
                     "tcp://127.0.0.1:*", &events, NULL, &world.server, &e) < 0)
        fail_msg("%s", err_text(&e));
    world.setup.name = "host-a";
    world.setup.endpoint = server_endpoint(world.server);
    world.setup.server_z85 = world.server_key.public_z85;
    world.setup.bench = &world.agent.bench;
    world.setup.ended = on_ended;
    start_agent();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    if (world.session)
        stop_agent();
    server_stop(&world.server);
    zap_stop(&world.zap);
    uv_close((uv_handle_t *)&world.turn, NULL);
    uv_run(&world.loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&world.loop), 0);
    zmq_ctx_term(world.zmq);
    forget(&world.hello_running);
    forget(&world.beat_running);
    forget(&world.last_prepared);
    agent_fixture_close(&world.agent);
    fs_remove_tree(world.folder, NULL);
    return 0;
}

/* Sends an assignment and returns its lease's number. */
static uint64_t assign(const char *const *settings)
{
    Plimsoll__Assign *a = agent_fixture_assign(settings);
    uint64_t lease = a->lease->lease;
    send_to_agent(PLIMSOLL__ENVELOPE__KIND_ASSIGN, a);
    plimsoll__assign__free_unpacked(a, NULL);
    return lease;
}

static void hello_names_the_spool_and_the_host(void **state)
{
    (void)state;
    assert_string_equal(world.hello_spool, spool_uuid(world.spool));
    assert_int_equal(world.hello_next, 1);
    assert_true(world.hello_facts > 10);
    assert_null(world.hello_running);
}

static void a_trial_runs_and_leaves_the_spool_once_committed(void **state)
{
    (void)state;
    uint64_t lease = assign(NULL);
    run_until(world.n_results == 1);
    assert_int_equal(world.results[0].outcome, PLIMSOLL__OUTCOME__OUTCOME_VALID);
    assert_int_equal(world.results[0].sequence, 1);
    assert_int_equal(world.results[0].lease, lease);
    assert_string_equal(world.stages, "lock prepare start stop ");
    run_until(spool_pending(world.spool) == 0);
    assert_int_equal(agent_fixture_leftovers(&world.agent), 0);
}

static void a_result_is_sent_again_until_it_is_committed(void **state)
{
    (void)state;
    world.commits = false;
    uint64_t lease = assign(NULL);
    run_until(world.n_results == 1);
    session_end(world.peer, "the test's wish");
    run_until(world.n_results == 2);
    assert_int_equal(world.results[1].sequence, 1);
    /* Until then the attempt counts as running here: nobody else needs to run it. */
    assert_non_null(world.hello_running);
    assert_int_equal(world.hello_running->lease, lease);
    assert_int_equal(world.hello_next, 2);
    commit(1);
    run_until(spool_pending(world.spool) == 0);
}

static void the_spool_outlives_the_agent(void **state)
{
    (void)state;
    world.commits = false;
    for (int i = 0; i < 12; i++)
        assign(NULL);
    run_until(spool_pending(world.spool) == 12);
    stop_agent();
    int before = world.n_results;
    world.commits = true;
    start_agent();
    run_until(spool_pending(world.spool) == 0);
    assert_int_equal(world.n_results - before, 12);
    for (int i = 0; i < 12; i++)
        assert_int_equal(world.results[before + i].sequence, i + 1);
}

static void an_assignment_that_comes_twice_runs_once(void **state)
{
    (void)state;
    Plimsoll__Assign *a = agent_fixture_assign((const char *[]){"ready_after", "50000000", NULL});
    send_to_agent(PLIMSOLL__ENVELOPE__KIND_ASSIGN, a);
    send_to_agent(PLIMSOLL__ENVELOPE__KIND_ASSIGN, a);
    plimsoll__assign__free_unpacked(a, NULL);
    run_until(world.n_results == 1);
    assign(NULL);
    run_until(world.n_results == 2);
    assert_int_not_equal(world.results[0].lease, world.results[1].lease);
}

static void cancel_ends_the_running_trial(void **state)
{
    (void)state;
    Plimsoll__Assign *a =
        agent_fixture_assign((const char *[]){"fail_at", "ready", "fail_how", "hang", NULL});
    send_to_agent(PLIMSOLL__ENVELOPE__KIND_ASSIGN, a);
    run_until(strstr(world.stages, "start"));
    Plimsoll__Cancel cancel = PLIMSOLL__CANCEL__INIT;
    cancel.lease = a->lease;
    send_to_agent(PLIMSOLL__ENVELOPE__KIND_CANCEL, &cancel);
    run_until(world.n_results == 1);
    assert_int_equal(world.results[0].outcome, PLIMSOLL__OUTCOME__OUTCOME_CANCELLED);
    /* One of another life is nothing to it. */
    send_to_agent(PLIMSOLL__ENVELOPE__KIND_CANCEL, &cancel);
    plimsoll__assign__free_unpacked(a, NULL);
    assign(NULL);
    run_until(world.n_results == 2);
    assert_int_equal(world.results[1].outcome, PLIMSOLL__OUTCOME__OUTCOME_VALID);
}

static void a_beat_says_what_runs(void **state)
{
    (void)state;
    uint64_t lease = assign((const char *[]){"fail_at", "ready", "fail_how", "hang", NULL});
    run_until(world.beats > 0);
    assert_non_null(world.beat_running);
    assert_int_equal(world.beat_running->lease, lease);
}

static void prepare_is_answered_for_each_guest(void **state)
{
    (void)state;
    Plimsoll__Section *good = agent_fixture_guest(NULL);
    Plimsoll__Section *bad = agent_fixture_guest((const char *[]){"fail_at", "check", NULL});
    Plimsoll__Section *forbidden = agent_fixture_guest(NULL);
    free(forbidden->plugin);
    forbidden->plugin = strdup("process");
    Plimsoll__Section *guests[] = {good, bad, forbidden};
    Plimsoll__Prepare p = PLIMSOLL__PREPARE__INIT;
    p.campaign = (char *)"20260101-000000-test-0000";
    p.guests = guests;
    p.n_guests = 3;
    send_to_agent(PLIMSOLL__ENVELOPE__KIND_PREPARE, &p);
    run_until(world.prepared == 1);
    const Plimsoll__Prepared *answer = world.last_prepared;
    assert_string_equal(answer->campaign, p.campaign);
    assert_int_equal(answer->n_offers, 3);
    assert_true(answer->offers[0]->available);
    assert_false(answer->offers[1]->available);
    assert_non_null(strstr(answer->offers[1]->reason, "script"));
    assert_false(answer->offers[2]->available);
    assert_non_null(strstr(answer->offers[2]->reason, "allow_process"));
    for (size_t i = 0; i < 3; i++)
        plimsoll__section__free_unpacked(guests[i], NULL);
}

static void quitting_cancels_the_trial_and_sends_its_result(void **state)
{
    (void)state;
    assign((const char *[]){"fail_at", "ready", "fail_how", "hang", NULL});
    run_until(strstr(world.stages, "start"));
    stop_agent();
    assert_int_equal(world.n_results, 1);
    assert_int_equal(world.results[0].outcome, PLIMSOLL__OUTCOME__OUTCOME_CANCELLED);
    assert_int_equal(agent_fixture_leftovers(&world.agent), 0);
}

static void a_trial_that_was_running_at_a_kill_gets_a_failed_result(void **state)
{
    (void)state;
    stop_agent();
    cleanup_free char *path = fs_path("%s/running", world.agent.host.state_folder);
    Plimsoll__Assign *a = agent_fixture_assign(NULL);
    assert_int_equal(lease_save(path, a->lease, NULL), 0);
    start_agent();
    assert_non_null(world.hello_running);
    assert_true(lease_equal(world.hello_running, a->lease));
    run_until(world.n_results == 1);
    assert_int_equal(world.results[0].outcome, PLIMSOLL__OUTCOME__OUTCOME_FAILED);
    assert_int_equal(world.results[0].lease, a->lease->lease);
    assert_non_null(strstr(world.results[0].reason, "killed"));
    assert_false(fs_exists(path));
    plimsoll__assign__free_unpacked(a, NULL);
}

#define SESSION_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SESSION_TEST(hello_names_the_spool_and_the_host),
        SESSION_TEST(a_trial_runs_and_leaves_the_spool_once_committed),
        SESSION_TEST(a_result_is_sent_again_until_it_is_committed),
        SESSION_TEST(the_spool_outlives_the_agent),
        SESSION_TEST(an_assignment_that_comes_twice_runs_once),
        SESSION_TEST(cancel_ends_the_running_trial),
        SESSION_TEST(a_beat_says_what_runs),
        SESSION_TEST(prepare_is_answered_for_each_guest),
        SESSION_TEST(quitting_cancels_the_trial_and_sends_its_result),
        SESSION_TEST(a_trial_that_was_running_at_a_kill_gets_a_failed_result),
    };
    return cmocka_run_group_tests_name("session", tests, NULL, NULL);
}
