/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "coordinator/schedule/schedule.h"

#include "common/clock.h"
#include "coordinator/schedule/rng.h"
#include "coordinator/store/store.h"
#include "tests/cmocka_with_needs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CELLS = 4, HOSTS = 3 };

/* A plan of four cells: guests g0 to g3, 10 counted trials each (g3: 3 under tcg) after 2 warm-ups.
 */
struct scene {
    Plimsoll__Plan plan;
    Plimsoll__Cell cells[CELLS];
    Plimsoll__Section guests[CELLS];
    Plimsoll__Repeat repeats[CELLS];
    Plimsoll__Cell *cell_list[CELLS];
    char names[CELLS][8];
    Plimsoll__Offer offers[HOSTS][CELLS];
    Plimsoll__Offer *offer_list[HOSTS][CELLS];
    Plimsoll__Prepared prepared[HOSTS];
    struct schedule_host hosts[HOSTS];
    struct schedule *schedule;
};

static void make_cell(struct scene *s, unsigned i)
{
    snprintf(s->names[i], sizeof s->names[i], "g%u", i);
    plimsoll__section__init(&s->guests[i]);
    s->guests[i].name = s->names[i];
    plimsoll__repeat__init(&s->repeats[i]);
    s->repeats[i].default_count = 10;
    s->repeats[i].tcg = 3;
    plimsoll__cell__init(&s->cells[i]);
    s->cells[i].index = i;
    s->cells[i].guest = &s->guests[i];
    s->cells[i].repeat = &s->repeats[i];
    s->cells[i].warmup = 2;
    s->cell_list[i] = &s->cells[i];
}

static void make_host(struct scene *s, unsigned h, const char *name, const char *identity)
{
    plimsoll__prepared__init(&s->prepared[h]);
    for (unsigned i = 0; i < CELLS; i++) {
        plimsoll__offer__init(&s->offers[h][i]);
        s->offers[h][i].guest = s->names[i];
        s->offers[h][i].available = true;
        s->offers[h][i].accelerator = i == 3 ? "tcg" : "";
        s->offer_list[h][i] = &s->offers[h][i];
    }
    s->prepared[h].n_offers = CELLS;
    s->prepared[h].offers = s->offer_list[h];
    s->hosts[h] = (struct schedule_host){name, identity, &s->prepared[h]};
}

static int set_up(void **state)
{
    struct scene *s = calloc(1, sizeof *s);
    for (unsigned i = 0; i < CELLS; i++)
        make_cell(s, i);
    plimsoll__plan__init(&s->plan);
    s->plan.n_cells = CELLS;
    s->plan.cells = s->cell_list;
    s->plan.random_order = true;
    s->plan.seed = 7;
    make_host(s, 0, "a", "same");
    make_host(s, 1, "b", "same");
    make_host(s, 2, "c", "other");
    *state = s;
    return 0;
}

static int tear_down(void **state)
{
    struct scene *s = *state;
    schedule_free(&s->schedule);
    free(s);
    return 0;
}

static void draw(struct scene *s, size_t n_hosts)
{
    schedule_free(&s->schedule);
    assert_int_equal(schedule_new(&s->plan, s->hosts, n_hosts, &s->schedule, NULL), 0);
    assert_int_equal(schedule_draw(s->schedule, NULL), 0);
}

/* "host:cell/repetition" of every trial in order. */
static char *order_text(const struct schedule *s)
{
    size_t n = 0;
    const struct trial *t = schedule_trials(s, &n);
    char *text = calloc(n + 1, 24);
    char *at = text;
    for (size_t i = 0; i < n; i++)
        at += sprintf(at, "%u:%s%u/%u ", t[i].host, t[i].warmup ? "w" : "", t[i].cell,
                      t[i].repetition);
    return text;
}

static uint64_t lease_next(struct scene *s, uint32_t host, uint64_t lease)
{
    const struct trial *t = schedule_next(s->schedule, host);
    assert_non_null(t);
    uint64_t number = t->number;
    schedule_lease(s->schedule, number, lease, 0);
    return number;
}

static void accept_next(struct scene *s, uint32_t host)
{
    uint64_t number = lease_next(s, host, 99);
    assert_true(schedule_answer(s->schedule, number, 99, PLIMSOLL__OUTCOME__OUTCOME_VALID, "", 5));
}

static void the_generator_gives_the_numbers_it_always_gave(void **state)
{
    (void)state;
    /* From the reference implementation, started with 1, 2, 3, 4. */
    struct rng r = {{1, 2, 3, 4}};
    assert_int_equal(rng_next(&r), 11520);
    assert_int_equal(rng_next(&r), 0);
    assert_int_equal(rng_next(&r), 1509978240);
    assert_int_equal(rng_next(&r), 1215971899390074240);
    unsigned seen[6] = {0};
    rng_seed(&r, 1, "a");
    for (int i = 0; i < 60000; i++)
        seen[rng_below(&r, 6)]++;
    for (int i = 0; i < 6; i++)
        assert_in_range(seen[i], 9500, 10500);
}

static void the_same_seed_gives_the_same_order_and_another_another(void **state)
{
    struct scene *s = *state;
    draw(s, 2);
    char *first = order_text(s->schedule);
    draw(s, 2);
    char *again = order_text(s->schedule);
    s->plan.seed = 8;
    draw(s, 2);
    char *other = order_text(s->schedule);
    assert_string_equal(first, again);
    assert_string_not_equal(first, other);
    free(first);
    free(again);
    free(other);
}

static void each_host_runs_every_cell_as_often_as_its_accelerator_asks(void **state)
{
    struct scene *s = *state;
    draw(s, HOSTS);
    unsigned counted[HOSTS][CELLS] = {{0}};
    unsigned warmups[HOSTS][CELLS] = {{0}};
    size_t n = 0;
    const struct trial *t = schedule_trials(s->schedule, &n);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(t[i].number, i + 1);
        (t[i].warmup ? warmups : counted)[t[i].host][t[i].cell]++;
    }
    for (unsigned h = 0; h < HOSTS; h++)
        for (unsigned c = 0; c < CELLS; c++) {
            assert_int_equal(warmups[h][c], 2);
            assert_int_equal(counted[h][c], c == 3 ? 3 : 10);
        }
}

static void warm_ups_come_before_anything_that_counts(void **state)
{
    struct scene *s = *state;
    draw(s, 1);
    for (int i = 0; i < 2 * CELLS; i++) {
        assert_true(schedule_next(s->schedule, 0)->warmup);
        accept_next(s, 0);
    }
    assert_false(schedule_next(s->schedule, 0)->warmup);
}

static void each_round_holds_every_cell_once_in_an_order_of_its_own(void **state)
{
    struct scene *s = *state;
    for (unsigned i = 0; i < CELLS; i++)
        s->repeats[i].tcg = 10;
    draw(s, 1);
    size_t n = 0;
    const struct trial *t = schedule_trials(s->schedule, &n);
    unsigned unlike = 0;
    for (unsigned round = 0; round < 10; round++) {
        const struct trial *in = &t[2 * CELLS + round * CELLS];
        unsigned cells = 0;
        for (unsigned i = 0; i < CELLS; i++) {
            cells |= 1U << in[i].cell;
            assert_int_equal(in[i].repetition, round);
            unlike += in[i].cell != t[2 * CELLS + i].cell;
        }
        assert_int_equal(cells, 0xf);
    }
    assert_true(unlike > 10);
}

static void a_cell_with_few_trials_is_spread_over_the_whole_run(void **state)
{
    struct scene *s = *state;
    draw(s, 1);
    size_t n = 0;
    const struct trial *t = schedule_trials(s->schedule, &n);
    size_t counted = n - 2 * CELLS;
    for (size_t i = 2 * CELLS; i < n; i++) {
        if (t[i].cell != 3)
            continue;
        size_t place = i - 2 * CELLS;
        /* Within its own third, give or take one place of each other cell. */
        assert_true(place + CELLS >= t[i].repetition * counted / 3);
        assert_true(place <= (t[i].repetition + 1) * counted / 3 + CELLS);
    }
}

static void the_listed_order_goes_cell_by_cell(void **state)
{
    struct scene *s = *state;
    s->plan.random_order = false;
    draw(s, 1);
    char *text = order_text(s->schedule);
    static const char begin[] = "0:w0/0 0:w0/1 0:0/0 0:0/1 ";
    assert_int_equal(strncmp(text, begin, sizeof begin - 1), 0);
    assert_non_null(strstr(text, "0:0/9 0:w1/0 0:w1/1 0:1/0 "));
    free(text);
}

static void what_a_host_cannot_run_is_left_out_and_counted(void **state)
{
    struct scene *s = *state;
    s->offers[0][1].available = false;
    s->offers[1][1].available = false;
    s->prepared[1].n_offers = 3; /* says nothing of g3 */
    draw(s, 2);
    struct schedule_counts c = schedule_counts(s->schedule);
    assert_int_equal(c.unavailable, 3);
    assert_int_equal(c.trials, 12 + 12 + 5 + 12 + 12);
}

static void a_campaign_that_nobody_can_run_says_why(void **state)
{
    struct scene *s = *state;
    struct err e = ERR_INIT;
    for (unsigned i = 0; i < CELLS; i++) {
        s->offers[0][i].available = false;
        s->offers[0][i].reason = "not today";
    }
    assert_int_equal(schedule_new(&s->plan, s->hosts, 1, &s->schedule, NULL), 0);
    assert_int_equal(schedule_draw(s->schedule, &e), -1);
    assert_int_equal(e.code, ERR_UNAVAILABLE);
    assert_non_null(strstr(err_text(&e), "g2: not today"));
    err_clear(&e);
}

static void what_failed_comes_again_after_everything_else_and_is_given_up_in_the_end(void **state)
{
    struct scene *s = *state;
    draw(s, 1);
    for (int i = 0; i < 2 * CELLS; i++)
        accept_next(s, 0);
    uint64_t bad = lease_next(s, 0, 1);
    assert_true(schedule_answer(s->schedule, bad, 1, PLIMSOLL__OUTCOME__OUTCOME_FAILED, "boom", 1));
    while (schedule_next(s->schedule, 0)->number != bad)
        accept_next(s, 0);
    assert_int_equal(schedule_counts(s->schedule).accepted,
                     schedule_counts(s->schedule).trials - 1);
    for (uint64_t lease = 2; lease <= STORE_MOST_ANSWERED; lease++) {
        assert_false(schedule_is_over(s->schedule));
        assert_int_equal(lease_next(s, 0, lease), bad);
        schedule_answer(s->schedule, bad, lease, PLIMSOLL__OUTCOME__OUTCOME_REJECTED, "noise", 1);
    }
    assert_true(schedule_is_over(s->schedule));
    assert_int_equal(schedule_find(s->schedule, bad)->state, TRIAL_GIVEN_UP);
    assert_string_equal(schedule_find(s->schedule, bad)->reason, "noise");
    schedule_forgive(s->schedule);
    assert_int_equal(lease_next(s, 0, 9), bad);
    assert_int_equal(schedule_find(s->schedule, bad)->attempts, STORE_MOST_ANSWERED + 1);
}

static void a_lease_that_ended_is_worth_nothing(void **state)
{
    struct scene *s = *state;
    draw(s, 1);
    uint64_t number = lease_next(s, 0, 1);
    assert_false(schedule_answer(s->schedule, number, 2, PLIMSOLL__OUTCOME__OUTCOME_VALID, "", 1));
    assert_true(schedule_lose(s->schedule, number, 1, "gone"));
    assert_false(schedule_answer(s->schedule, number, 1, PLIMSOLL__OUTCOME__OUTCOME_VALID, "", 1));
    assert_false(schedule_lose(s->schedule, number, 1, "gone"));
    assert_false(schedule_answer(s->schedule, 9999, 1, PLIMSOLL__OUTCOME__OUTCOME_VALID, "", 1));
    assert_int_equal(schedule_counts(s->schedule).accepted, 0);
    assert_null(schedule_held(s->schedule, 0));
}

static void a_rejected_warm_up_has_warmed_up(void **state)
{
    struct scene *s = *state;
    draw(s, 1);
    uint64_t number = lease_next(s, 0, 1);
    assert_true(
        schedule_answer(s->schedule, number, 1, PLIMSOLL__OUTCOME__OUTCOME_REJECTED, "", 1));
    assert_int_equal(schedule_find(s->schedule, number)->state, TRIAL_ACCEPTED);
}

static void any_gives_each_cell_to_one_of_the_identical_hosts(void **state)
{
    struct scene *s = *state;
    s->plan.any_host = true;
    draw(s, HOSTS);
    int owner[CELLS] = {-1, -1, -1, -1};
    unsigned trials[HOSTS] = {0};
    size_t n = 0;
    const struct trial *t = schedule_trials(s->schedule, &n);
    for (size_t i = 0; i < n; i++) {
        assert_true(owner[t[i].cell] < 0 || owner[t[i].cell] == (int)t[i].host);
        owner[t[i].cell] = (int)t[i].host;
        trials[t[i].host]++;
    }
    assert_int_equal(n, 12 + 12 + 12 + 5);
    assert_int_equal(trials[2], 0);
    assert_false(schedule_host_works(s->schedule, 2));
    assert_true(trials[0] >= 12 && trials[1] >= 12);
}

static void an_identical_host_takes_over_with_warm_ups_of_its_own(void **state)
{
    struct scene *s = *state;
    s->plan.any_host = true;
    draw(s, HOSTS);
    size_t before = 0;
    schedule_trials(s->schedule, &before);
    /* Host a does its warm-ups and one more, then is gone. */
    while (schedule_next(s->schedule, 0)->warmup)
        accept_next(s, 0);
    accept_next(s, 0);
    size_t left_on_a = 0;
    size_t n = 0;
    const struct trial *t = schedule_trials(s->schedule, &n);
    for (size_t i = 0; i < n; i++)
        left_on_a += t[i].host == 0 && t[i].state == TRIAL_PENDING;
    bool alive[HOSTS] = {false, true, true};
    assert_int_equal(schedule_move(s->schedule, 0, alive), left_on_a);
    assert_false(schedule_has_work(s->schedule, 0));
    t = schedule_trials(s->schedule, &n);
    assert_true(n > before);
    for (size_t i = before; i < n; i++) {
        assert_true(t[i].warmup);
        assert_int_equal(t[i].host, 1);
    }
    while (schedule_next(s->schedule, 1))
        accept_next(s, 1);
    assert_true(schedule_is_over(s->schedule));
    assert_int_equal(schedule_counts(s->schedule).given_up, 0);
}

static void under_all_nothing_moves(void **state)
{
    struct scene *s = *state;
    draw(s, 2);
    bool alive[HOSTS] = {false, true, true};
    assert_int_equal(schedule_move(s->schedule, 0, alive), 0);
    assert_true(schedule_has_work(s->schedule, 0));
}

static void the_time_left_is_what_the_slowest_host_still_needs(void **state)
{
    struct scene *s = *state;
    draw(s, 2);
    assert_int_equal(schedule_left_ns(s->schedule, 0), 0);
    for (uint32_t c = 0; c < CELLS; c++)
        schedule_saw(s->schedule, c, (c == 3 ? 10 : 1) * NS_PER_S);
    /* 3 cells x 12 x 1 s and 5 x 10 s. */
    assert_int_equal(schedule_left_ns(s->schedule, 0) / NS_PER_S, 86);
    const struct trial *next = schedule_next(s->schedule, 0);
    int64_t takes_ns = (next->cell == 3 ? 10 : 1) * NS_PER_S;
    schedule_lease(s->schedule, next->number, 1, 0);
    schedule_answer(s->schedule, next->number, 1, PLIMSOLL__OUTCOME__OUTCOME_VALID, "", takes_ns);
    assert_int_equal(schedule_left_ns(s->schedule, 0) / NS_PER_S,
                     86); /* b has them all before it */
}

static void a_cell_that_was_not_seen_is_expected_to_take_what_its_guest_did_else_what_all_did(
    void **state)
{
    struct scene *s = *state;
    s->guests[1].name = s->names[0];
    draw(s, 1);
    schedule_saw(s->schedule, 0, NS_PER_S);
    schedule_saw(s->schedule, 3, 10 * NS_PER_S);
    /* 2 x 12 x 1 s, 12 x 5.5 s, and 5 x 10 s. */
    assert_int_equal(schedule_left_ns(s->schedule, 0) / NS_PER_S, 140);
}

#define WITH_SCENE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_generator_gives_the_numbers_it_always_gave),
        WITH_SCENE(the_same_seed_gives_the_same_order_and_another_another),
        WITH_SCENE(each_host_runs_every_cell_as_often_as_its_accelerator_asks),
        WITH_SCENE(warm_ups_come_before_anything_that_counts),
        WITH_SCENE(each_round_holds_every_cell_once_in_an_order_of_its_own),
        WITH_SCENE(a_cell_with_few_trials_is_spread_over_the_whole_run),
        WITH_SCENE(the_listed_order_goes_cell_by_cell),
        WITH_SCENE(what_a_host_cannot_run_is_left_out_and_counted),
        WITH_SCENE(a_campaign_that_nobody_can_run_says_why),
        WITH_SCENE(what_failed_comes_again_after_everything_else_and_is_given_up_in_the_end),
        WITH_SCENE(a_lease_that_ended_is_worth_nothing),
        WITH_SCENE(a_rejected_warm_up_has_warmed_up),
        WITH_SCENE(any_gives_each_cell_to_one_of_the_identical_hosts),
        WITH_SCENE(an_identical_host_takes_over_with_warm_ups_of_its_own),
        WITH_SCENE(under_all_nothing_moves),
        WITH_SCENE(the_time_left_is_what_the_slowest_host_still_needs),
        WITH_SCENE(
            a_cell_that_was_not_seen_is_expected_to_take_what_its_guest_did_else_what_all_did),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
