/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What coordctl asks, answered by a coordinator with one scripted agent, over real CURVE sockets.
 */
#include "common/cleanup.h"
#include "coordinator/fleet/memory.h"
#include "tests/cmocka_with_needs.h"
#include "tests/unit/fleet_scene.h"

#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

static struct scene scene;
static struct agent a;
static struct client_end desk;

static const char plan_text[] = "campaign = { name = \"from-text\" }\n"
                                "guest = { f = { backend = \"fake\" } }\n"
                                "experiment = { s = { probe = \"startup\"  guest = \"f\"\n"
                                "  warmup = 1  repeat = 3 } }\n";

static int set_up(void **state)
{
    (void)state;
    scene_open(&scene);
    scene.grace_ns = 20 * NS_PER_S;
    scene_start(&scene);
    agent_open(&scene, &a, "a");
    client_open_end(&scene, &desk);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    agent_close(&a);
    client_close_end(&desk);
    scene_close(&scene);
    return 0;
}

static bool keep_failed;

static const Plimsoll__Envelope *submit(const char *plan, const char *resume)
{
    Plimsoll__Submit ask = PLIMSOLL__SUBMIT__INIT;
    Plimsoll__Envelope m = PLIMSOLL__ENVELOPE__INIT;
    ask.plan = (char *)plan;
    ask.resume = (char *)resume;
    ask.keep_failed = keep_failed;
    m.kind_case = PLIMSOLL__ENVELOPE__KIND_SUBMIT;
    m.submit = &ask;
    return client_ask(&desk, &m);
}

/* Committed, and known to be so by the coordinator itself. */
static void wait_end(const char *id, const char *state)
{
    scene_until(&scene, scene_is(&scene, id, state) && !fleet_has(scene.fleet, id));
}

/* The campaign's id; the caller's. */
static char *submit_good(void)
{
    const Plimsoll__Envelope *m = submit(plan_text, "");
    assert_int_equal(m->kind_case, PLIMSOLL__ENVELOPE__KIND_SUBMITTED);
    assert_non_null(strstr(m->submitted->campaign, "-from-text-"));
    return memory_text(m->submitted->campaign);
}

static const Plimsoll__Campaign *status(const char *id)
{
    Plimsoll__Status ask = PLIMSOLL__STATUS__INIT;
    Plimsoll__Envelope m = PLIMSOLL__ENVELOPE__INIT;
    ask.campaign = (char *)id;
    m.kind_case = PLIMSOLL__ENVELOPE__KIND_STATUS;
    m.status = &ask;
    const Plimsoll__Envelope *answer = client_ask(&desk, &m);
    if (answer->kind_case != PLIMSOLL__ENVELOPE__KIND_CAMPAIGNS)
        return NULL;
    assert_int_equal(answer->campaigns->n_campaigns, 1);
    return answer->campaigns->campaigns[0];
}

static void a_plans_text_becomes_a_campaign_that_is_listed_and_told(void **state)
{
    (void)state;
    agent_join(&a);
    cleanup_free char *id = submit_good();
    wait_end(id, "done");
    const Plimsoll__Campaign *c = status(id);
    assert_string_equal(c->state, "done");
    assert_int_equal(c->trials, 4);
    assert_int_equal(c->accepted, 4);
    Plimsoll__ListCampaigns ask = PLIMSOLL__LIST_CAMPAIGNS__INIT;
    Plimsoll__Envelope m = PLIMSOLL__ENVELOPE__INIT;
    m.kind_case = PLIMSOLL__ENVELOPE__KIND_LIST_CAMPAIGNS;
    m.list_campaigns = &ask;
    const Plimsoll__Envelope *answer = client_ask(&desk, &m);
    assert_int_equal(answer->kind_case, PLIMSOLL__ENVELOPE__KIND_CAMPAIGNS);
    assert_string_equal(answer->campaigns->campaigns[0]->id, id);
}

static void a_wrong_plan_is_answered_with_its_lines_and_nothing_is_stored(void **state)
{
    (void)state;
    const Plimsoll__Envelope *m = submit("campaign = { name = \"x\" }\nguest = { f = 1 }\n", "");
    assert_int_equal(m->kind_case, PLIMSOLL__ENVELOPE__KIND_SUBMITTED);
    assert_string_equal(m->submitted->campaign, "");
    bool names_line_2 = false;
    for (size_t i = 0; i < m->submitted->n_diagnostics; i++)
        names_line_2 |= m->submitted->diagnostics[i]->line == 2;
    assert_true(names_line_2);
    assert_int_equal(submit("", "")->kind_case, PLIMSOLL__ENVELOPE__KIND_FAILURE);
    assert_null(status("20260101T000000Z-nobody-0000"));
    assert_int_equal(desk.answer->failure->exit_code, 2);
}

static void a_watcher_is_told_each_change_and_the_end(void **state)
{
    (void)state;
    a.hold = true;
    agent_join(&a);
    cleanup_free char *id = submit_good();
    scene_until(&scene, a.holds);
    Plimsoll__Watch ask = PLIMSOLL__WATCH__INIT;
    Plimsoll__Envelope m = PLIMSOLL__ENVELOPE__INIT;
    ask.campaign = id;
    m.kind_case = PLIMSOLL__ENVELOPE__KIND_WATCH;
    m.watch = &ask;
    const Plimsoll__Envelope *answer = client_ask(&desk, &m);
    assert_int_equal(answer->kind_case, PLIMSOLL__ENVELOPE__KIND_CAMPAIGNS);
    assert_string_equal(answer->campaigns->campaigns[0]->state, "running");
    assert_int_equal(answer->campaigns->campaigns[0]->n_activity, 1);
    assert_string_equal(answer->campaigns->campaigns[0]->activity[0]->host, "a");
    uint32_t request = answer->request;
    a.hold = false;
    agent_answer(&a, PLIMSOLL__OUTCOME__OUTCOME_VALID);
    scene_until(&scene, strcmp(desk.answer->campaigns->campaigns[0]->state, "done") == 0);
    assert_int_equal(desk.answer->request, request);
    assert_int_equal(desk.answer->campaigns->campaigns[0]->accepted, 4);
}

static void send_stage(const char *stage)
{
    Plimsoll__Progress progress = PLIMSOLL__PROGRESS__INIT;
    Plimsoll__Envelope m = PLIMSOLL__ENVELOPE__INIT;
    progress.lease = &a.held;
    progress.stage = (char *)stage;
    m.kind_case = PLIMSOLL__ENVELOPE__KIND_PROGRESS;
    m.progress = &progress;
    assert_int_equal(peer_send(a.peer, &m, NULL), 0);
}

/* Cut in the middle of a character it could not have been sent on, and nobody would have heard any
 * more of the campaign. */
static void a_stage_of_any_length_is_told(void **state)
{
    (void)state;
    a.hold = true;
    agent_join(&a);
    cleanup_free char *id = submit_good();
    scene_until(&scene, a.holds);
    send_stage("01234567890123456789012345678\xe2\x82\xac");
    const Plimsoll__Campaign *c = NULL;
    scene_until(&scene, (c = status(id)) && *c->activity[0]->stage);
    assert_string_equal(c->activity[0]->stage, "01234567890123456789012345678");
}

static void a_trial_is_shown_with_all_its_attempts(void **state)
{
    (void)state;
    a.fail_first = 1;
    agent_join(&a);
    cleanup_free char *id = submit_good();
    wait_end(id, "done");
    Plimsoll__Show ask = PLIMSOLL__SHOW__INIT;
    Plimsoll__Envelope m = PLIMSOLL__ENVELOPE__INIT;
    ask.campaign = id;
    ask.trial = a.trials[0];
    m.kind_case = PLIMSOLL__ENVELOPE__KIND_SHOW;
    m.show = &ask;
    const Plimsoll__Envelope *answer = client_ask(&desk, &m);
    assert_int_equal(answer->kind_case, PLIMSOLL__ENVELOPE__KIND_SHOWN);
    assert_true(answer->shown->warmup);
    assert_int_equal(answer->shown->n_attempts, 2);
    assert_string_equal(answer->shown->attempts[0]->reason, "it would not start");
    assert_false(answer->shown->attempts[0]->accepted);
    assert_true(answer->shown->attempts[1]->accepted);
    assert_true(answer->shown->attempts[1]->samples[0]->value == 1.5);
    ask.trial = 99;
    assert_int_equal(client_ask(&desk, &m)->kind_case, PLIMSOLL__ENVELOPE__KIND_FAILURE);
}

static void an_answer_that_fits_no_message_is_told_as_a_failure(void **state)
{
    (void)state;
    a.fail_first = 1;
    a.bulky = true;
    agent_join(&a);
    cleanup_free char *id = submit_good();
    wait_end(id, "done");
    Plimsoll__Show ask = PLIMSOLL__SHOW__INIT;
    Plimsoll__Envelope m = PLIMSOLL__ENVELOPE__INIT;
    ask.campaign = id;
    ask.trial = a.trials[0];
    m.kind_case = PLIMSOLL__ENVELOPE__KIND_SHOW;
    m.show = &ask;
    const Plimsoll__Envelope *answer = client_ask(&desk, &m);
    assert_int_equal(answer->kind_case, PLIMSOLL__ENVELOPE__KIND_FAILURE);
    assert_non_null(strstr(answer->failure->text, "does not fit"));
}

static void a_report_is_pulled_to_its_end(void **state)
{
    (void)state;
    agent_join(&a);
    cleanup_free char *id = submit_good();
    wait_end(id, "done");
    Plimsoll__Report ask = PLIMSOLL__REPORT__INIT;
    Plimsoll__Envelope m = PLIMSOLL__ENVELOPE__INIT;
    ask.campaign = id;
    ask.format = "json";
    m.kind_case = PLIMSOLL__ENVELOPE__KIND_REPORT;
    m.report = &ask;
    const Plimsoll__Envelope *answer = client_ask(&desk, &m);
    assert_int_equal(answer->kind_case, PLIMSOLL__ENVELOPE__KIND_BLOB);
    assert_true(answer->blob->last);
    assert_int_equal(answer->blob->data.len, answer->blob->total);
    assert_int_equal(answer->blob->data.data[0], '{');
    Plimsoll__Slice slice = PLIMSOLL__SLICE__INIT;
    slice.blob = answer->blob->blob;
    m.kind_case = PLIMSOLL__ENVELOPE__KIND_SLICE;
    m.slice = &slice;
    assert_int_equal(client_ask(&desk, &m)->kind_case, PLIMSOLL__ENVELOPE__KIND_FAILURE);
    ask.format = "interpretive dance";
    m.kind_case = PLIMSOLL__ENVELOPE__KIND_REPORT;
    m.report = &ask;
    assert_int_equal(client_ask(&desk, &m)->kind_case, PLIMSOLL__ENVELOPE__KIND_FAILURE);
}

static void a_resumed_campaign_runs_only_what_it_lacks(void **state)
{
    (void)state;
    a.fail_first = 3;
    agent_join(&a);
    cleanup_free char *id = submit_good();
    wait_end(id, "incomplete");
    const Plimsoll__Campaign *c = status(id);
    assert_int_equal(c->n_missing, 1);
    assert_string_equal(c->missing[0]->reason, "it would not start");
    unsigned before = a.assigns;
    assert_false(a.keeps_failed);
    keep_failed = true;
    const Plimsoll__Envelope *m = submit("", id);
    keep_failed = false;
    assert_int_equal(m->kind_case, PLIMSOLL__ENVELOPE__KIND_SUBMITTED);
    assert_string_equal(m->submitted->campaign, id);
    wait_end(id, "done");
    assert_int_equal(a.assigns, before + 1);
    assert_true(a.keeps_failed);
    /* A finished one has nothing left to do, and one that never was is refused. */
    assert_int_equal(submit("", id)->kind_case, PLIMSOLL__ENVELOPE__KIND_SUBMITTED);
    assert_int_equal(submit("", "nobody")->kind_case, PLIMSOLL__ENVELOPE__KIND_FAILURE);
    assert_int_equal(a.assigns, before + 1);
}

static void a_cancelled_campaign_is_told_as_such_and_its_hosts_are_listed(void **state)
{
    (void)state;
    a.hold = true;
    agent_join(&a);
    cleanup_free char *id = submit_good();
    scene_until(&scene, a.holds);
    Plimsoll__CancelCampaign ask = PLIMSOLL__CANCEL_CAMPAIGN__INIT;
    Plimsoll__Envelope m = PLIMSOLL__ENVELOPE__INIT;
    ask.campaign = id;
    m.kind_case = PLIMSOLL__ENVELOPE__KIND_CANCEL_CAMPAIGN;
    m.cancel_campaign = &ask;
    assert_int_equal(client_ask(&desk, &m)->kind_case, PLIMSOLL__ENVELOPE__KIND_DONE);
    wait_end(id, "cancelled");
    assert_int_equal(client_ask(&desk, &m)->kind_case, PLIMSOLL__ENVELOPE__KIND_FAILURE);
    Plimsoll__ListHosts hosts = PLIMSOLL__LIST_HOSTS__INIT;
    m.kind_case = PLIMSOLL__ENVELOPE__KIND_LIST_HOSTS;
    m.list_hosts = &hosts;
    const Plimsoll__Envelope *answer = client_ask(&desk, &m);
    assert_int_equal(answer->hosts->n_hosts, 1);
    assert_string_equal(answer->hosts->hosts[0]->state, "connected");
    assert_string_equal(answer->hosts->hosts[0]->fingerprint->facts[0]->value, "486");
}

/* Keeps the store's next commit waiting. */
static sqlite3 *hold_store(void)
{
    sqlite3 *db = NULL;
    assert_int_equal(sqlite3_open(scene.store_path, &db), SQLITE_OK);
    sqlite3_busy_timeout(db, 10000);
    assert_int_equal(sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    return db;
}

static void a_cancel_is_answered_once_the_store_has_it(void **state)
{
    (void)state;
    a.hold = true;
    agent_join(&a);
    cleanup_free char *id = submit_good();
    scene_until(&scene, a.holds);
    sqlite3 *holder = hold_store();
    Plimsoll__CancelCampaign ask = PLIMSOLL__CANCEL_CAMPAIGN__INIT;
    Plimsoll__Envelope m = PLIMSOLL__ENVELOPE__INIT;
    ask.campaign = id;
    m.kind_case = PLIMSOLL__ENVELOPE__KIND_CANCEL_CAMPAIGN;
    m.cancel_campaign = &ask;
    m.request = 77;
    assert_int_equal(peer_send(desk.peer, &m, NULL), 0);
    /* Requests are taken in order, so the cancel was heard before this was answered. */
    assert_string_equal(status(id)->note, "cancelling");
    unsigned answers = desk.answers;
    assert_int_equal(a.cancels, 0);
    assert_true(scene_is(&scene, id, "running"));
    sqlite3_close(holder);
    scene_until(&scene, desk.answers > answers);
    assert_int_equal(desk.answer->kind_case, PLIMSOLL__ENVELOPE__KIND_DONE);
    assert_false(scene_is(&scene, id, "running"));
    wait_end(id, "cancelled");
}

static unsigned answers_of(const struct client_end *ends, size_t n)
{
    unsigned sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += ends[i].answers;
    return sum;
}

static void one_key_with_many_sessions_leaves_room_for_others(void **state)
{
    (void)state;
    enum { SESSIONS = 5, REQUESTS = 4, SHARE = 16 };
    struct client_end more[SESSIONS];
    a.hold = true;
    agent_join(&a);
    cleanup_free char *id = submit_good();
    scene_until(&scene, a.holds);
    for (size_t i = 0; i < SESSIONS; i++)
        client_open_with(&scene, &more[i], &desk.key);
    sqlite3 *holder = hold_store();
    Plimsoll__CancelCampaign ask = PLIMSOLL__CANCEL_CAMPAIGN__INIT;
    Plimsoll__Envelope m = PLIMSOLL__ENVELOPE__INIT;
    ask.campaign = id;
    m.kind_case = PLIMSOLL__ENVELOPE__KIND_CANCEL_CAMPAIGN;
    m.cancel_campaign = &ask;
    for (size_t i = 0; i < SESSIONS * REQUESTS; i++)
        assert_int_equal(peer_send(more[i % SESSIONS].peer, &m, NULL), 0);
    scene_until(&scene, answers_of(more, SESSIONS) == SESSIONS * REQUESTS - SHARE);
    sqlite3_close(holder);
    scene_until(&scene, answers_of(more, SESSIONS) == SESSIONS * REQUESTS);
    for (size_t i = 0; i < SESSIONS; i++)
        client_close_end(&more[i]);
}

/* The queue before the store would grow with whatever it sends. */
static void an_agent_that_does_not_wait_for_the_store_is_cut_off(void **state)
{
    (void)state;
    Plimsoll__Lease nobodys = PLIMSOLL__LEASE__INIT;
    nobodys.campaign = "no-such-campaign";
    agent_join(&a);
    scene_until(&scene, a.welcomed);
    sqlite3 *holder = hold_store();
    for (uint64_t sequence = 1; sequence <= 100; sequence++)
        agent_send_result(&a, &nobodys, sequence, PLIMSOLL__OUTCOME__OUTCOME_VALID);
    scene_until(&scene, a.refused && strstr(a.why, "without waiting"));
    sqlite3_close(holder);
    scene_until(&scene, a.welcomed);
}

#define WITH_SCENE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_SCENE(a_plans_text_becomes_a_campaign_that_is_listed_and_told),
        WITH_SCENE(a_wrong_plan_is_answered_with_its_lines_and_nothing_is_stored),
        WITH_SCENE(a_watcher_is_told_each_change_and_the_end),
        WITH_SCENE(a_stage_of_any_length_is_told),
        WITH_SCENE(a_trial_is_shown_with_all_its_attempts),
        WITH_SCENE(an_answer_that_fits_no_message_is_told_as_a_failure),
        WITH_SCENE(a_report_is_pulled_to_its_end),
        WITH_SCENE(a_resumed_campaign_runs_only_what_it_lacks),
        WITH_SCENE(a_cancelled_campaign_is_told_as_such_and_its_hosts_are_listed),
        WITH_SCENE(one_key_with_many_sessions_leaves_room_for_others),
        WITH_SCENE(an_agent_that_does_not_wait_for_the_store_is_cut_off),
        WITH_SCENE(a_cancel_is_answered_once_the_store_has_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
