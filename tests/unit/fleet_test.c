/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A coordinator with scripted agents over real CURVE sockets. */
#include "common/cleanup.h"
#include "tests/cmocka_with_needs.h"
#include "tests/unit/fleet_scene.h"

#include <stdlib.h>
#include <string.h>

static struct scene scene;
static struct agent a, b, c;

static int set_up(void **state)
{
    (void)state;
    scene_open(&scene);
    scene.grace_ns = 20 * NS_PER_S;
    scene_start(&scene);
    agent_open(&scene, &a, "a");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    agent_close(&a);
    if (b.scene)
        agent_close(&b);
    if (c.scene)
        agent_close(&c);
    b.scene = c.scene = NULL;
    scene_close(&scene);
    return 0;
}

/* The same coordinator again, on other ports, with what it had committed. */
static void start_again(void)
{
    agent_leave(&a);
    scene_stop(&scene);
    scene_start(&scene);
}

static void rejoin(struct agent *agent)
{
    agent_leave(agent);
    agent_join(agent);
    scene_until(&scene, agent->welcomed);
}

static void a_campaign_runs_to_its_end(void **state)
{
    (void)state;
    agent_join(&a);
    scene_submit(&scene, "one", 10, false);
    scene_until(&scene, scene_is(&scene, "one", "done"));
    struct read_counts n = scene_counts(&scene, "one");
    assert_int_equal(n.trials, 11);
    assert_int_equal(n.accepted, 11);
    assert_int_equal(a.assigns, 11);
    scene_until(&scene, a.committed == 11);
    assert_true(a.warmups[0]);
    assert_false(a.warmups[1]);
}

static void campaigns_wait_for_each_other(void **state)
{
    (void)state;
    a.hold = true;
    agent_join(&a);
    scene_submit(&scene, "one", 1, false);
    scene_submit(&scene, "two", 1, false);
    scene_until(&scene, a.assigns == 1);
    Plimsoll__Campaign *two = fleet_describe(scene.fleet, "two");
    assert_string_equal(two->state, "preparing");
    assert_string_equal(two->note, "waits for campaign one");
    plimsoll__campaign__free_unpacked(two, NULL);
    a.hold = false;
    agent_answer(&a, PLIMSOLL__OUTCOME__OUTCOME_VALID);
    scene_until(&scene, scene_is(&scene, "two", "done"));
    assert_true(scene_is(&scene, "one", "done"));
    assert_int_equal(a.assigns, 4);
}

static void what_fails_is_tried_again_and_then_missing(void **state)
{
    (void)state;
    a.fail_first = 4; /* the warm-up thrice, then once the counted trial */
    agent_join(&a);
    scene_submit(&scene, "one", 1, false);
    scene_until(&scene, scene_is(&scene, "one", "incomplete"));
    struct read_counts n = scene_counts(&scene, "one");
    assert_int_equal(n.accepted, 1);
    assert_int_equal(n.given_up, 1);
    assert_int_equal(n.failed, 4);
    assert_int_equal(a.assigns, 5);
    cleanup_free char *note = scene_note(&scene, "one");
    assert_string_equal(note, "1 of 2 trials are missing");
}

static void a_host_that_can_run_nothing_ends_the_campaign_with_its_reason(void **state)
{
    (void)state;
    a.unavailable = true;
    agent_join(&a);
    scene_submit(&scene, "one", 1, false);
    scene_until(&scene, scene_is(&scene, "one", "failed"));
    cleanup_free char *note = scene_note(&scene, "one");
    assert_non_null(strstr(note, "g: not on this host"));
}

static void every_allowed_agent_is_waited_for_and_runs_every_cell(void **state)
{
    (void)state;
    agent_open(&scene, &b, "b");
    agent_join(&a);
    scene_until(&scene, a.welcomed);
    scene_submit(&scene, "one", 3, false);
    scene_until(&scene, a.prepares == 1);
    assert_true(scene_is(&scene, "one", "preparing"));
    agent_join(&b);
    scene_until(&scene, scene_is(&scene, "one", "done"));
    assert_int_equal(a.assigns, 4);
    assert_int_equal(b.assigns, 4);
}

static void a_coordinator_that_was_away_adopts_what_still_runs(void **state)
{
    (void)state;
    a.hold = true;
    agent_join(&a);
    scene_submit(&scene, "one", 2, false);
    scene_until(&scene, a.assigns == 1);
    start_again();
    a.claim = true;
    a.hold = false;
    rejoin(&a);
    agent_answer(&a, PLIMSOLL__OUTCOME__OUTCOME_VALID);
    scene_until(&scene, scene_is(&scene, "one", "done"));
    struct read_counts n = scene_counts(&scene, "one");
    assert_int_equal(n.accepted, 3);
    assert_int_equal(n.failed, 0);
    assert_int_equal(n.superseded, 0);
    assert_int_equal(a.assigns, 3);
}

static void a_result_that_came_while_the_coordinator_was_away_counts(void **state)
{
    (void)state;
    a.hold = true;
    agent_join(&a);
    scene_submit(&scene, "one", 1, false);
    scene_until(&scene, a.assigns == 1);
    agent_leave(&a);
    scene_stop(&scene);
    a.silent_results = true;
    agent_answer(&a, PLIMSOLL__OUTCOME__OUTCOME_VALID);
    scene_start(&scene);
    a.hold = a.silent_results = false;
    rejoin(&a);
    /* Nothing is given out before the spool has had its say. */
    agent_send_beat(&a, NULL);
    agent_send_result(&a, &a.held, 1, PLIMSOLL__OUTCOME__OUTCOME_VALID);
    scene_until(&scene, scene_is(&scene, "one", "done"));
    assert_int_equal(scene_counts(&scene, "one").failed, 0);
    assert_int_equal(a.assigns, 2);
}

static void an_agent_started_anew_gets_its_trial_again_as_a_new_attempt(void **state)
{
    (void)state;
    a.hold = true;
    agent_join(&a);
    scene_submit(&scene, "one", 1, false);
    scene_until(&scene, a.assigns == 1);
    Plimsoll__Lease old = a.held;
    cleanup_free char *campaign = strdup(old.campaign);
    old.campaign = campaign;
    a.holds = false;
    rejoin(&a);
    scene_until(&scene, a.assigns == 2);
    assert_int_equal(a.held.trial, old.trial);
    assert_int_equal(a.held.attempt, old.attempt + 1);
    assert_true(a.held.lease != old.lease);
    /* The old attempt's result comes after all. */
    agent_send_result(&a, &old, a.next_sequence++, PLIMSOLL__OUTCOME__OUTCOME_VALID);
    scene_until(&scene, a.committed == 1);
    a.hold = false;
    agent_answer(&a, PLIMSOLL__OUTCOME__OUTCOME_VALID);
    scene_until(&scene, scene_is(&scene, "one", "done"));
    struct read_counts n = scene_counts(&scene, "one");
    assert_int_equal(n.accepted, 2);
    assert_int_equal(n.superseded, 1);
    assert_int_equal(n.failed, 1);
}

static void an_assignment_that_never_arrived_is_found_out_by_the_beats(void **state)
{
    (void)state;
    a.hold = true;
    agent_join(&a);
    scene_submit(&scene, "one", 1, false);
    scene_until(&scene, a.assigns == 1);
    a.holds = false;
    a.hold = false;
    agent_beat_every(&a, 20);
    scene_until(&scene, scene_is(&scene, "one", "done"));
    assert_int_equal(scene_counts(&scene, "one").failed, 1);
}

static void a_host_that_is_gone_loses_its_trial_to_itself_when_all_hosts_run_all(void **state)
{
    (void)state;
    scene.gone_ns = NS_PER_S;
    start_again();
    a.hold = true;
    agent_join(&a);
    scene_submit(&scene, "one", 1, false);
    scene_until(&scene, a.assigns == 1);
    agent_leave(&a);
    scene_until(&scene, scene_counts(&scene, "one").failed == 1);
    a.holds = a.hold = false;
    rejoin(&a);
    scene_until(&scene, scene_is(&scene, "one", "done"));
}

static void a_host_that_is_gone_hands_over_to_an_identical_one_under_any(void **state)
{
    (void)state;
    scene.gone_ns = 2 * NS_PER_S; /* a busy machine stalls the living ones too */
    start_again();
    agent_open(&scene, &b, "b");
    agent_open(&scene, &c, "c");
    c.identity = "another";
    agent_beat_every(&a, 100);
    agent_beat_every(&b, 100);
    agent_beat_every(&c, 100);
    a.hold = b.hold = true;
    agent_join(&a);
    agent_join(&b);
    agent_join(&c);
    scene_until(&scene, a.welcomed && b.welcomed && c.welcomed);
    scene_submit(&scene, "one", 3, true);
    scene_until(&scene, a.holds || b.holds);
    struct agent *first = a.holds ? &a : &b;
    struct agent *other = a.holds ? &b : &a;
    other->hold = false;
    agent_leave(first);
    scene_until(&scene, scene_is(&scene, "one", "done"));
    struct read_counts n = scene_counts(&scene, "one");
    assert_int_equal(n.accepted, n.trials);
    assert_int_equal(other->assigns, n.trials);
    assert_true(other->warmups[0]);
    assert_int_equal(c.assigns, 0);
    cleanup_free char *note = scene_note(&scene, "one");
    assert_non_null(strstr(note, "host c is not identical"));
    assert_non_null(strstr(note, "went to identical hosts"));
}

static void a_host_that_stays_away_is_given_up_in_the_end(void **state)
{
    (void)state;
    scene.gone_ns = NS_PER_S / 2;
    scene.patience_ns = NS_PER_S;
    start_again();
    a.hold = true;
    agent_join(&a);
    scene_submit(&scene, "one", 2, false);
    scene_until(&scene, a.assigns == 1);
    agent_leave(&a);
    scene_until(&scene, scene_is(&scene, "one", "incomplete"));
    assert_int_equal(scene_counts(&scene, "one").given_up, 3);
}

/* The store's row first, as a client's request does it. */
static void resume(const char *id)
{
    struct campaign *loaded = NULL;
    store_resume(scene.store, id, false, NULL, NULL);
    scene_until(&scene, scene_is(&scene, id, "running") && !fleet_has(scene.fleet, id));
    assert_int_equal(fleet_load(scene.store_path, id, &loaded, NULL), 0);
    fleet_take_up(scene.fleet, &loaded);
}

static void a_resumed_campaign_waits_for_a_host_that_was_gone_long_before(void **state)
{
    a_host_that_stays_away_is_given_up_in_the_end(state);
    scene_until(&scene, !fleet_has(scene.fleet, "one"));
    int64_t resumed_ns = clock_monotonic_ns();
    resume("one");
    scene_until(&scene, scene_is(&scene, "one", "incomplete"));
    assert_true(clock_monotonic_ns() - resumed_ns >= scene.patience_ns);
}

static void a_cancelled_campaign_ends_once_what_runs_has_ended(void **state)
{
    (void)state;
    a.hold = true;
    agent_join(&a);
    scene_submit(&scene, "one", 5, false);
    scene_until(&scene, a.holds);
    assert_int_equal(fleet_cancel(scene.fleet, "one", NULL, NULL, NULL), 0);
    scene_until(&scene, scene_is(&scene, "one", "cancelled") && !fleet_has(scene.fleet, "one"));
    assert_int_equal(a.cancels, 1);
    assert_false(a.holds);
    assert_int_equal(fleet_cancel(scene.fleet, "one", NULL, NULL, NULL), -1);
}

static void a_cancel_outlives_the_coordinator(void **state)
{
    (void)state;
    a.hold = true;
    agent_join(&a);
    scene_submit(&scene, "one", 5, false);
    scene_until(&scene, a.holds);
    agent_leave(&a);
    assert_int_equal(fleet_cancel(scene.fleet, "one", NULL, NULL, NULL), 0);
    start_again();
    assert_true(scene_is(&scene, "one", "cancelling"));
    a.claim = true;
    rejoin(&a);
    agent_beat_every(&a, 50);
    scene_until(&scene, scene_is(&scene, "one", "cancelled"));
    assert_int_equal(a.assigns, 1);
}

static void an_attempt_nobody_knows_is_stopped(void **state)
{
    (void)state;
    Plimsoll__Lease stray = PLIMSOLL__LEASE__INIT;
    stray.campaign = "elsewhere";
    stray.trial = stray.lease = 7;
    agent_join(&a);
    scene_until(&scene, a.welcomed);
    agent_send_beat(&a, &stray);
    scene_until(&scene, a.cancels == 1);
}

static void a_hole_in_a_spool_is_named_in_the_campaigns_note(void **state)
{
    (void)state;
    a.hold = true;
    agent_join(&a);
    scene_submit(&scene, "one", 1, false);
    scene_until(&scene, a.assigns == 1);
    agent_answer(&a, PLIMSOLL__OUTCOME__OUTCOME_VALID);
    scene_until(&scene, a.assigns == 2);
    a.next_sequence = 5;
    agent_answer(&a, PLIMSOLL__OUTCOME__OUTCOME_VALID);
    scene_until(&scene, scene_is(&scene, "one", "done"));
    cleanup_free char *note = scene_note(&scene, "one");
    assert_string_equal(note, "results 2 to 4 of host a never came");
}

static void a_second_session_with_an_agents_key_is_refused_and_noted(void **state)
{
    (void)state;
    a.hold = true;
    agent_join(&a);
    scene_submit(&scene, "one", 1, false);
    scene_until(&scene, a.holds);
    struct agent twin = {.scene = &scene, .name = "a", .key = a.key, .next_sequence = 1};
    plimsoll__lease__init(&twin.held);
    agent_join(&twin);
    scene_until(&scene, twin.refused);
    agent_close(&twin);
    a.hold = false;
    agent_answer(&a, PLIMSOLL__OUTCOME__OUTCOME_VALID);
    scene_until(&scene, scene_is(&scene, "one", "done"));
    cleanup_free char *note = scene_note(&scene, "one");
    assert_non_null(strstr(note, "a session of host a was refused"));
}

static void a_preparation_is_begun_again_by_a_new_coordinator(void **state)
{
    (void)state;
    a.mute = true;
    agent_join(&a);
    scene_submit(&scene, "one", 1, false);
    scene_until(&scene, a.prepares == 1);
    start_again();
    a.mute = false;
    rejoin(&a);
    scene_until(&scene, scene_is(&scene, "one", "done"));
    assert_int_equal(a.prepares, 2);
}

static bool is_noted(const char *id, const char *note)
{
    Plimsoll__Campaign *told = fleet_describe(scene.fleet, id);
    bool same = told && strcmp(told->note, note) == 0;
    if (told)
        plimsoll__campaign__free_unpacked(told, NULL);
    return same;
}

/* It was left out for good once, and with it, where it was the only one, the campaign and all
 * behind it waited for ever. */
static void a_host_that_went_away_while_preparing_takes_part_once_it_is_back(void **state)
{
    (void)state;
    scene.gone_ns = NS_PER_S;
    start_again();
    a.mute = true;
    agent_join(&a);
    scene_submit(&scene, "one", 1, false);
    scene_until(&scene, a.prepares == 1);
    agent_leave(&a);
    scene_until(&scene, is_noted("one", "no agent is connected"));
    a.mute = false;
    agent_beat_every(&a, 100);
    agent_join(&a);
    scene_until(&scene, scene_is(&scene, "one", "done"));
    assert_int_equal(a.prepares, 2);
}

#define WITH_SCENE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_SCENE(a_campaign_runs_to_its_end),
        WITH_SCENE(campaigns_wait_for_each_other),
        WITH_SCENE(what_fails_is_tried_again_and_then_missing),
        WITH_SCENE(a_host_that_can_run_nothing_ends_the_campaign_with_its_reason),
        WITH_SCENE(every_allowed_agent_is_waited_for_and_runs_every_cell),
        WITH_SCENE(a_coordinator_that_was_away_adopts_what_still_runs),
        WITH_SCENE(a_result_that_came_while_the_coordinator_was_away_counts),
        WITH_SCENE(an_agent_started_anew_gets_its_trial_again_as_a_new_attempt),
        WITH_SCENE(an_assignment_that_never_arrived_is_found_out_by_the_beats),
        WITH_SCENE(a_host_that_is_gone_loses_its_trial_to_itself_when_all_hosts_run_all),
        WITH_SCENE(a_host_that_is_gone_hands_over_to_an_identical_one_under_any),
        WITH_SCENE(a_host_that_stays_away_is_given_up_in_the_end),
        WITH_SCENE(a_resumed_campaign_waits_for_a_host_that_was_gone_long_before),
        WITH_SCENE(a_cancelled_campaign_ends_once_what_runs_has_ended),
        WITH_SCENE(a_cancel_outlives_the_coordinator),
        WITH_SCENE(an_attempt_nobody_knows_is_stopped),
        WITH_SCENE(a_hole_in_a_spool_is_named_in_the_campaigns_note),
        WITH_SCENE(a_second_session_with_an_agents_key_is_refused_and_noted),
        WITH_SCENE(a_preparation_is_begun_again_by_a_new_coordinator),
        WITH_SCENE(a_host_that_went_away_while_preparing_takes_part_once_it_is_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
