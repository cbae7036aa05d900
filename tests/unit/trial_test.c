/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agent/trial.h"

#include "agent/verdict.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "tests/unit/agent_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>

static int set_up(void **state)
{
    struct agent_fixture *f = malloc(sizeof *f);
    *state = f;
    return agent_fixture_open(f);
}

static int tear_down(void **state)
{
    agent_fixture_close(*state);
    free(*state);
    return 0;
}

static const Plimsoll__Sample *sample_of(const Plimsoll__Result *r, const char *metric)
{
    for (size_t i = 0; i < r->n_samples; i++)
        if (strcmp(r->samples[i]->metric, metric) == 0)
            return r->samples[i];
    return NULL;
}

static const char *condition_of(const Plimsoll__Result *r, const char *key)
{
    for (size_t i = 0; i < r->n_conditions; i++)
        if (strcmp(r->conditions[i]->key, key) == 0)
            return r->conditions[i]->value;
    return NULL;
}

static Plimsoll__Result *run(struct agent_fixture *f, const char *const *settings, int cancel_fd)
{
    Plimsoll__Assign *a = agent_fixture_assign(settings);
    Plimsoll__Result *r = trial_run(&f->bench, &a, cancel_fd);
    assert_null(a);
    assert_non_null(r->lease);
    assert_int_equal(r->lease->trial, 7);
    assert_int_equal(agent_fixture_leftovers(f), 0);
    return r;
}

static void a_good_trial_has_its_phases_and_conditions(void **state)
{
    struct agent_fixture *f = *state;
    Plimsoll__Result *r = run(f, (const char *[]){"ready_after", "20000000", NULL}, -1);
    assert_int_equal(r->outcome, PLIMSOLL__OUTCOME__OUTCOME_VALID);
    const Plimsoll__Sample *start = sample_of(r, "start");
    const Plimsoll__Sample *started = sample_of(r, "started");
    assert_non_null(start);
    assert_non_null(started);
    assert_string_equal(start->unit, "s");
    assert_true(start->value >= 0.020 && start->value < 5);
    assert_true(started->value > 0 && started->value <= start->value - 0.020 + 1e-9);
    /* The fake has no kernel, no init and no paused start: absent, not zero. */
    assert_null(sample_of(r, "kernel"));
    assert_null(sample_of(r, "init"));
    assert_null(sample_of(r, "created"));
    const Plimsoll__Sample *cost = sample_of(r, "agent_cpu");
    assert_true(cost->value > 0 && cost->value < start->value);
    assert_true(start->clock_ns > INT64_C(1600000000) * NS_PER_S);
    assert_string_equal(condition_of(r, "backend"), "fake");
    assert_string_equal(condition_of(r, "ready"), "the scripted delay passed");
    assert_string_equal(condition_of(r, "stamper"), stamper_policy(f->stamper));
    assert_non_null(condition_of(r, "cpu"));
    plimsoll__result__free_unpacked(r, NULL);
}

static void a_warm_up_is_flagged(void **state)
{
    struct agent_fixture *f = *state;
    Plimsoll__Assign *a = agent_fixture_assign(NULL);
    a->warmup = true;
    Plimsoll__Result *r = trial_run(&f->bench, &a, -1);
    assert_true(r->warmup);
    plimsoll__result__free_unpacked(r, NULL);
}

static void a_failure_at_each_step_is_told_and_leaves_nothing(void **state)
{
    struct agent_fixture *f = *state;
    static const char *const steps[] = {"prepare", "create", "start", "ready"};
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        Plimsoll__Result *r = run(f, (const char *[]){"fail_at", steps[i], NULL}, -1);
        assert_int_equal(r->outcome, PLIMSOLL__OUTCOME__OUTCOME_FAILED);
        assert_non_null(strstr(r->reason, "the script lets"));
        assert_non_null(strstr(r->reason, steps[i]));
        assert_null(sample_of(r, "start"));
        assert_string_equal(condition_of(r, "backend"), "fake");
        plimsoll__result__free_unpacked(r, NULL);
    }
}

static void a_guest_that_does_not_go_makes_its_trial_suspect(void **state)
{
    struct agent_fixture *f = *state;
    static const char *const steps[] = {"stop", "destroy"};
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        Plimsoll__Result *r = run(f, (const char *[]){"fail_at", steps[i], NULL}, -1);
        assert_int_equal(r->outcome, PLIMSOLL__OUTCOME__OUTCOME_SUSPECT);
        assert_non_null(strstr(r->reason, "did not go cleanly"));
        assert_non_null(sample_of(r, "start"));
        plimsoll__result__free_unpacked(r, NULL);
    }
}

static void a_hanging_step_ends_at_the_deadline(void **state)
{
    struct agent_fixture *f = *state;
    static const char *const steps[] = {"prepare", "create", "start", "ready"};
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        const char *settings[] = {"fail_at", steps[i], "fail_how", "hang", NULL};
        Plimsoll__Assign *a = agent_fixture_assign(settings);
        a->cell->deadline_ns = (uint64_t)(50 * NS_PER_MS);
        int64_t begin_ns = clock_monotonic_ns();
        Plimsoll__Result *r = trial_run(&f->bench, &a, -1);
        int64_t took_ns = clock_monotonic_ns() - begin_ns;
        assert_int_equal(r->outcome, PLIMSOLL__OUTCOME__OUTCOME_FAILED);
        assert_true(took_ns >= 50 * NS_PER_MS && took_ns < 10 * NS_PER_S);
        assert_int_equal(agent_fixture_leftovers(f), 0);
        plimsoll__result__free_unpacked(r, NULL);
    }
}

struct stage_watch {
    const char *stage;
    int cancel_fd;
    bool seen;
};

static void cancel_at_stage(void *arg, const Plimsoll__Lease *lease, const char *stage)
{
    struct stage_watch *w = arg;
    assert_int_equal(lease->trial, 7);
    if (strcmp(stage, w->stage) == 0) {
        w->seen = true;
        eventfd_write(w->cancel_fd, 1);
    }
}

static void cancel_at_each_stage_ends_in_cancelled(void **state)
{
    struct agent_fixture *f = *state;
    static const char *const stages[] = {"lock", "prepare", "start"};
    for (size_t i = 0; i < sizeof stages / sizeof *stages; i++) {
        cleanup_close int cancel_fd = eventfd(0, EFD_CLOEXEC);
        struct stage_watch watch = {stages[i], cancel_fd, false};
        f->bench.stage = cancel_at_stage;
        f->bench.arg = &watch;
        Plimsoll__Result *r =
            run(f, (const char *[]){"ready_after", "60000000000", NULL}, cancel_fd);
        assert_true(watch.seen);
        assert_int_equal(r->outcome, PLIMSOLL__OUTCOME__OUTCOME_CANCELLED);
        plimsoll__result__free_unpacked(r, NULL);
    }
    f->bench.stage = NULL;
}

struct later {
    int fd;
    int64_t after_ns;
};

static void *cancel_later(void *arg)
{
    const struct later *l = arg;
    struct timespec wait = {.tv_nsec = l->after_ns};
    nanosleep(&wait, NULL);
    eventfd_write(l->fd, 1);
    return NULL;
}

static void cancel_ends_a_step_that_hangs(void **state)
{
    struct agent_fixture *f = *state;
    static const char *const steps[] = {"prepare", "create", "start", "ready"};
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        cleanup_close int cancel_fd = eventfd(0, EFD_CLOEXEC);
        struct later later = {cancel_fd, 20 * NS_PER_MS};
        pthread_t thread;
        pthread_create(&thread, NULL, cancel_later, &later);
        const char *settings[] = {"fail_at", steps[i], "fail_how", "hang", NULL};
        Plimsoll__Result *r = run(f, settings, cancel_fd);
        pthread_join(thread, NULL);
        assert_int_equal(r->outcome, PLIMSOLL__OUTCOME__OUTCOME_CANCELLED);
        plimsoll__result__free_unpacked(r, NULL);
    }
}

static void what_this_agent_does_not_run_is_refused_with_the_reason(void **state)
{
    struct agent_fixture *f = *state;
    static const struct {
        const char *plugin;
        const char *reason;
    } cases[] = {{"process", "allow_process"}, {"hovercraft", "without the backend hovercraft"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Plimsoll__Assign *a = agent_fixture_assign(NULL);
        free(a->cell->guest->plugin);
        a->cell->guest->plugin = strdup(cases[i].plugin);
        Plimsoll__Result *r = trial_run(&f->bench, &a, -1);
        assert_int_equal(r->outcome, PLIMSOLL__OUTCOME__OUTCOME_FAILED);
        assert_non_null(strstr(r->reason, cases[i].reason));
        plimsoll__result__free_unpacked(r, NULL);
    }
    f->host.allow_fake = false;
    Plimsoll__Result *r = run(f, NULL, -1);
    assert_non_null(strstr(r->reason, "allow_fake"));
    plimsoll__result__free_unpacked(r, NULL);
}

static void a_setting_that_the_catalog_does_not_know_is_refused(void **state)
{
    struct agent_fixture *f = *state;
    Plimsoll__Result *r = run(f, (const char *[]){"ready_afterwards", "5", NULL}, -1);
    assert_int_equal(r->outcome, PLIMSOLL__OUTCOME__OUTCOME_FAILED);
    assert_non_null(strstr(r->reason, "ready_afterwards"));
    plimsoll__result__free_unpacked(r, NULL);
}

static void a_missing_image_says_how_to_build_it(void **state)
{
    struct agent_fixture *f = *state;
    Plimsoll__Assign *a = agent_fixture_assign(NULL);
    f->host.allow_process = true;
    free(a->cell->guest->plugin);
    a->cell->guest->plugin = strdup("process");
    a->cell->image = agent_fixture_guest((const char *[]){"suite", "bookworm", NULL});
    free(a->cell->image->plugin);
    a->cell->image->plugin = strdup("");
    Plimsoll__Result *r = trial_run(&f->bench, &a, -1);
    assert_int_equal(r->outcome, PLIMSOLL__OUTCOME__OUTCOME_FAILED);
    assert_non_null(strstr(r->reason, "deploy/image"));
    plimsoll__result__free_unpacked(r, NULL);
}

static void trials_of_two_agents_on_one_host_take_turns(void **state)
{
    struct agent_fixture *f = *state;
    struct err e = ERR_INIT;
    int held = -1;
    assert_int_equal(host_lock(&f->host, clock_monotonic_ns() + NS_PER_S, -1, &held, &e), 0);
    cleanup_close int cancel_fd = eventfd(0, EFD_CLOEXEC);
    struct later later = {cancel_fd, 30 * NS_PER_MS};
    pthread_t thread;
    pthread_create(&thread, NULL, cancel_later, &later);
    Plimsoll__Result *r = run(f, NULL, cancel_fd);
    pthread_join(thread, NULL);
    assert_int_equal(r->outcome, PLIMSOLL__OUTCOME__OUTCOME_CANCELLED);
    assert_non_null(strstr(r->reason, "lock"));
    plimsoll__result__free_unpacked(r, NULL);
    close(held);
    r = run(f, NULL, -1);
    assert_int_equal(r->outcome, PLIMSOLL__OUTCOME__OUTCOME_VALID);
    plimsoll__result__free_unpacked(r, NULL);
}

/* ---- Verdicts ---- */

static Plimsoll__Result *measured(const char *metric, double value)
{
    Plimsoll__Result *r = trial_result(NULL, false, PLIMSOLL__OUTCOME__OUTCOME_VALID, "");
    r->samples = calloc(4, sizeof *r->samples);
    const char *const metrics[] = {"start", "canary_before", metric};
    const double values[] = {2.0, 0.002, value};
    for (size_t i = 0; i < 3; i++) {
        Plimsoll__Sample *s = malloc(sizeof *s);
        plimsoll__sample__init(s);
        s->metric = strdup(metrics[i]);
        s->value = values[i];
        r->samples[r->n_samples++] = s;
    }
    return r;
}

static void contamination_is_judged_by_its_share_of_the_window(void **state)
{
    (void)state;
    static const struct {
        const char *metric;
        double value;
        Plimsoll__Outcome expected;
    } cases[] = {
        {"other_cpu", 0.4, PLIMSOLL__OUTCOME__OUTCOME_VALID},
        {"other_cpu", 0.6, PLIMSOLL__OUTCOME__OUTCOME_SUSPECT},
        {"steal", 0.07, PLIMSOLL__OUTCOME__OUTCOME_VALID},
        {"steal", 0.1, PLIMSOLL__OUTCOME__OUTCOME_SUSPECT},
        {"steal", 0.5, PLIMSOLL__OUTCOME__OUTCOME_REJECTED},
        {"canary_after", 0.0025, PLIMSOLL__OUTCOME__OUTCOME_VALID},
        {"canary_after", 0.0035, PLIMSOLL__OUTCOME__OUTCOME_SUSPECT},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Plimsoll__Result *r = measured(cases[i].metric, cases[i].value);
        verdict_contamination(r, 2);
        assert_int_equal(r->outcome, cases[i].expected);
        assert_int_equal(r->reason[0] == '\0',
                         cases[i].expected == PLIMSOLL__OUTCOME__OUTCOME_VALID);
        plimsoll__result__free_unpacked(r, NULL);
    }
}

#define TRIAL_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TRIAL_TEST(a_good_trial_has_its_phases_and_conditions),
        TRIAL_TEST(a_warm_up_is_flagged),
        TRIAL_TEST(a_failure_at_each_step_is_told_and_leaves_nothing),
        TRIAL_TEST(a_guest_that_does_not_go_makes_its_trial_suspect),
        TRIAL_TEST(a_hanging_step_ends_at_the_deadline),
        TRIAL_TEST(cancel_at_each_stage_ends_in_cancelled),
        TRIAL_TEST(cancel_ends_a_step_that_hangs),
        TRIAL_TEST(what_this_agent_does_not_run_is_refused_with_the_reason),
        TRIAL_TEST(a_setting_that_the_catalog_does_not_know_is_refused),
        TRIAL_TEST(a_missing_image_says_how_to_build_it),
        TRIAL_TEST(trials_of_two_agents_on_one_host_take_turns),
        cmocka_unit_test(contamination_is_judged_by_its_share_of_the_window),
    };
    return cmocka_run_group_tests_name("trial", tests, NULL, NULL);
}
