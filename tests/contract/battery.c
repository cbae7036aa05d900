// SPDX-License-Identifier: GPL-3.0-or-later
//
// The contract of agent/guest/guest.h, held against one backend: `contract_battery BACKEND`. Exit
// code 77 where the backend cannot run here, with the reason.
#include "tests/cmocka_with_needs.h"

#include "tests/contract/battery.h"
#include "tests/contract/fixture.h"

#include "agent/host/cgroup.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/fs.h"
#include "proto/frame.h"

#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>

struct fixture fixture;

void must_work(int result, struct err *e, const char *what)
{
    if (result < 0)
        fprintf(stderr, "%s %s: %s\n", fixture.ops->catalog->name, what, err_text(e));
    assert_int_equal(result, 0);
}

int wait_until_ready(struct guest *g, int64_t deadline_ns, int cancel_fd, struct err *e)
{
    if (g->ops->wait_ready)
        return g->ops->wait_ready(g, deadline_ns, cancel_fd, e);
    return channel_wait(g->channel, STAMP_READY, deadline_ns, cancel_fd, e);
}

int go_to(struct guest *g, enum state wanted, int64_t deadline_ns, int cancel_fd, struct err *e)
{
    if (wanted >= PREPARED && g->ops->prepare(g, deadline_ns, cancel_fd, e) < 0)
        return -1;
    if (wanted >= CREATED) {
        channel_stamp(g->channel, STAMP_REQUEST, clock_monotonic_ns());
        if (g->ops->create(g, deadline_ns, cancel_fd, e) < 0)
            return -1;
    }
    if (wanted >= STARTED && g->ops->start(g, deadline_ns, cancel_fd, e) < 0)
        return -1;
    if (wanted >= READY && wait_until_ready(g, deadline_ns, cancel_fd, e) < 0)
        return -1;
    if (wanted >= STOPPED && g->ops->stop(g, deadline_ns, e) < 0)
        return -1;
    return 0;
}

static void print_texts(struct guest *g)
{
    struct guest_texts texts = {0};
    g->ops->texts(g, &texts);
    for (size_t i = 0; i < texts.n; i++)
        fprintf(stderr, "---- %s\n%s\n", texts.items[i]->name, texts.items[i]->text);
    guest_texts_clear(&texts);
}

void must_go_to(struct guest *g, enum state wanted)
{
    cleanup_err struct err e = ERR_INIT;
    int result = go_to(g, wanted, in_seconds(120), -1, &e);
    if (result < 0)
        print_texts(g);
    must_work(result, &e, "on its way");
}

/* ---- Life ---- */

static void stamps_are_in_order(struct guest *g)
{
    int64_t last_ns = 0;
    for (int which = STAMP_REQUEST; which < STAMP_COUNT; which++) {
        int64_t at_ns = channel_stamped_ns(g->channel, (enum stamp)which);
        if (at_ns == 0)
            continue;
        if (at_ns < last_ns)
            fprintf(stderr, "stamp %d is %lld ns before its predecessor\n", which,
                    (long long)(last_ns - at_ns));
        assert_true(at_ns >= last_ns);
        last_ns = at_ns;
    }
    assert_true(channel_stamped_ns(g->channel, STAMP_READY) > 0);
}

static void texts_have_a_definition(struct guest *g)
{
    struct guest_texts texts = {0};
    g->ops->texts(g, &texts);
    bool found = false;
    for (size_t i = 0; i < texts.n; i++)
        found =
            found || strstr(texts.items[i]->name, ".conf") || strstr(texts.items[i]->name, ".xml");
    guest_texts_clear(&texts);
    assert_true(found);
}

static void programs_run_inside(struct guest *g)
{
    cleanup_err struct err e = ERR_INIT;
    char *argv[] = {(char *)"/bin/echo", (char *)"aboard"};
    Plimsoll__Exec request = PLIMSOLL__EXEC__INIT;
    Plimsoll__Finished *finished = NULL;
    request.n_argv = 2;
    request.argv = argv;
    int (*exec)(struct guest *, const Plimsoll__Exec *, int64_t, int, Plimsoll__Finished **,
                struct err *) = g->ops->exec;
    must_work(exec ? exec(g, &request, in_seconds(30), -1, &finished, &e)
                   : channel_exec(g->channel, &request, in_seconds(30), -1, &finished, &e),
              &e, "exec");
    assert_int_equal(finished->status, 0);
    if (fixture.ops->catalog->needs_image) {
        assert_int_equal(finished->output.len, strlen("aboard\n"));
        assert_memory_equal(finished->output.data, "aboard\n", finished->output.len);
    }
    frame_free(&finished->base);
}

static void a_guest_lives_in_order_and_leaves_nothing(void **state)
{
    (void)state;
    struct traces before;
    struct traces after;
    traces_count(&fixture.host, &before);
    Plimsoll__Section *section = section_new(fixture.ops->catalog, NULL, NULL);
    struct guest *g = fixture_guest(&fixture, section);
    must_go_to(g, READY);
    stamps_are_in_order(g);
    texts_have_a_definition(g);
    if (!fixture.ops->catalog->single)
        programs_run_inside(g);
    cleanup_err struct err e = ERR_INIT;
    cleanup_guest_scope struct guest_scope scope = {0};
    must_work(g->ops->scope(g, &scope, &e), &e, "scope");
    assert_true(scope.leader > 0);
    must_work(g->ops->stop(g, in_seconds(30), &e), &e, "stop");
    must_work(g->ops->stop(g, in_seconds(30), &e), &e, "stop, once more");
    texts_have_a_definition(g);
    must_work(g->ops->destroy(g, &e), &e, "destroy");
    guest_free(&g);
    section_free(&section);
    traces_count(&fixture.host, &after);
    assert_true(traces_equal(&before, &after));
}

static void destroy_works_from_every_state_and_twice(void **state)
{
    (void)state;
    struct traces before;
    struct traces after;
    Plimsoll__Section *section = section_new(fixture.ops->catalog, NULL, NULL);
    traces_count(&fixture.host, &before);
    for (enum state at = NEW; at <= STOPPED; at++) {
        if (fixture.slow && at == READY) /* has been there in another test */
            continue;
        struct guest *g = fixture_guest(&fixture, section);
        cleanup_err struct err e = ERR_INIT;
        if (at == STOPPED) {
            must_go_to(g, STARTED);
            must_work(g->ops->stop(g, in_seconds(30), &e), &e, "stop");
        } else {
            must_go_to(g, at);
        }
        must_work(g->ops->destroy(g, &e), &e, "destroy");
        must_work(g->ops->destroy(g, &e), &e, "destroy, once more");
        guest_free(&g);
        traces_count(&fixture.host, &after);
        assert_true(traces_equal(&before, &after));
    }
    section_free(&section);
}

/* ---- Giving up ---- */

/* `cancel_fd` is readable or the deadline passed before step `at`; all before went well. */
static void give_up_at(enum state at, int64_t deadline_ns, int cancel_fd, enum err_code expected)
{
    cleanup_err struct err e = ERR_INIT;
    Plimsoll__Section *section = section_new(fixture.ops->catalog, NULL, NULL);
    struct guest *g = fixture_guest(&fixture, section);
    int result = -2;
    if (at > PREPARED)
        must_go_to(g, at - 1);
    if (at == PREPARED)
        result = g->ops->prepare(g, deadline_ns, cancel_fd, &e);
    else if (at == CREATED)
        result = g->ops->create(g, deadline_ns, cancel_fd, &e);
    else if (at == STARTED)
        result = g->ops->start(g, deadline_ns, cancel_fd, &e);
    assert_int_equal(result, -1);
    assert_int_equal(e.code, expected);
    err_clear(&e);
    must_work(g->ops->destroy(g, &e), &e, "destroy");
    guest_free(&g);
    section_free(&section);
}

static void cancel_is_obeyed_before_each_step(void **state)
{
    (void)state;
    struct traces before;
    struct traces after;
    cleanup_close int cancel_fd = eventfd(1, EFD_CLOEXEC);
    traces_count(&fixture.host, &before);
    for (enum state at = PREPARED; at <= STARTED; at++)
        give_up_at(at, in_seconds(60), cancel_fd, ERR_CANCELLED);
    traces_count(&fixture.host, &after);
    assert_true(traces_equal(&before, &after));
}

static void a_deadline_is_obeyed_before_each_step(void **state)
{
    (void)state;
    struct traces before;
    struct traces after;
    traces_count(&fixture.host, &before);
    for (enum state at = PREPARED; at <= STARTED; at++)
        give_up_at(at, in_seconds(-1), -1, ERR_TIMEOUT);
    traces_count(&fixture.host, &after);
    assert_true(traces_equal(&before, &after));
}

/* A cancel that comes while a step is under way: a timer as the cancel descriptor, at moments
 * spread over the time that a start takes. */
static void cancel_is_obeyed_within_each_step(void **state)
{
    (void)state;
    struct traces before;
    struct traces after;
    Plimsoll__Section *section = section_new(fixture.ops->catalog, NULL, NULL);
    traces_count(&fixture.host, &before);
    unsigned rounds = fixture.slow ? 4 : 24;
    int64_t span_ns = fixture.slow ? 2 * NS_PER_S : 12 * NS_PER_MS;
    for (unsigned i = 0; i < rounds; i++) {
        cleanup_err struct err e = ERR_INIT;
        struct guest *g = fixture_guest(&fixture, section);
        must_go_to(g, PREPARED);
        int64_t after_ns = span_ns * (i + 1) / rounds;
        struct itimerspec timer = {
            .it_value = {.tv_sec = after_ns / NS_PER_S, .tv_nsec = after_ns % NS_PER_S}};
        cleanup_close int cancel_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
        timerfd_settime(cancel_fd, 0, &timer, NULL);
        int64_t deadline_ns = in_seconds(60);
        int result = g->ops->create(g, deadline_ns, cancel_fd, &e);
        if (result == 0)
            result = g->ops->start(g, deadline_ns, cancel_fd, &e);
        if (result == 0)
            result = wait_until_ready(g, deadline_ns, cancel_fd, &e);
        if (result < 0 && e.code != ERR_CANCELLED)
            fprintf(stderr, "cancelled after %lld ns: %s\n", (long long)after_ns, err_text(&e));
        assert_true(result == 0 || e.code == ERR_CANCELLED);
        err_clear(&e);
        must_work(g->ops->destroy(g, &e), &e, "destroy");
        guest_free(&g);
        traces_count(&fixture.host, &after);
        assert_true(traces_equal(&before, &after));
    }
    section_free(&section);
}

/* ---- One that does not come up ---- */

static void a_guest_that_dies_early_is_noticed(void **state)
{
    (void)state;
    if (fixture.slow)
        skip(); /* a VM whose initrd ends is the kernel's affair: a panic, not an end */
    cleanup_err struct err e = ERR_INIT;
    bool fake = !fixture.ops->catalog->needs_image;
    Plimsoll__Section *section = section_new(fixture.ops->catalog, NULL, NULL);
    if (fake) {
        section_set(section, "fail_at", "ready");
        section_set(section, "fail_how", "die");
    }
    /* In the runner's place, a program that ends without a word. */
    char *runner = fixture.host.runner_path;
    fixture.host.runner_path = (char *)"/bin/false";
    struct guest *g = fixture_guest(&fixture, section);
    int64_t deadline_ns = in_seconds(60);
    int result = go_to(g, READY, deadline_ns, -1, &e);
    fixture.host.runner_path = runner;
    assert_int_equal(result, -1);
    assert_int_equal(e.code, ERR_SYSTEM);
    assert_true(clock_monotonic_ns() < deadline_ns - 50 * NS_PER_S);
    guest_free(&g);
    section_free(&section);
}

static int close_fixture(void **state)
{
    (void)state;
    char id[9];
    memcpy(id, fixture.host.id, sizeof(id));
    bool clean = fixture_close(&fixture);
    return clean && traces_none_of_agent(id) ? 0 : -1;
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "Usage: %s BACKEND\n", argv[0]);
        return 2;
    }
    cleanup_free char *why_not = fixture_open(&fixture, argv[1]);
    if (why_not) {
        fprintf(stderr, "skipped: backend %s: %s\n", argv[1], why_not);
        return SKIPPED;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_guest_lives_in_order_and_leaves_nothing),
        cmocka_unit_test(destroy_works_from_every_state_and_twice),
        cmocka_unit_test(cancel_is_obeyed_before_each_step),
        cmocka_unit_test(a_deadline_is_obeyed_before_each_step),
        cmocka_unit_test(cancel_is_obeyed_within_each_step),
        cmocka_unit_test(a_guest_that_dies_early_is_noticed),
        cmocka_unit_test(the_guest_gets_the_resources_it_was_promised),
        cmocka_unit_test(the_hosts_devices_are_out_of_reach),
        cmocka_unit_test(without_a_network_there_is_no_device),
        cmocka_unit_test(two_guests_at_once_do_not_disturb_each_other),
        cmocka_unit_test(what_a_single_program_said_is_kept),
        cmocka_unit_test(a_killed_helper_costs_only_its_guests),
        cmocka_unit_test(what_a_killed_agent_left_is_swept),
    };
    return cmocka_run_group_tests(tests, NULL, close_fixture);
}
