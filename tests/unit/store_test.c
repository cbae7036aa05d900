/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "coordinator/store/store.h"

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/fs.h"
#include "coordinator/store/migrate.h"
#include "coordinator/store/read.h"

#include <fcntl.h>
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static const char ID[] = "20261123T091500Z-test-1a2b";

/* libsqlite3 calls this one: how many syncs the store really asked of the kernel. */
static atomic_uint syncs;
int fdatasync(int fd)
{
    atomic_fetch_add(&syncs, 1);
    return (int)syscall(SYS_fdatasync, fd);
}

struct scene {
    uv_loop_t loop;
    struct store *store;
    char folder[64];
    char *path;
    unsigned answered, failed;
    char *last_error;
};

static void on_done(void *arg, const struct err *e)
{
    struct scene *s = arg;
    s->answered++;
    if (!e)
        return;
    s->failed++;
    free(s->last_error);
    s->last_error = strdup(err_text(e));
}

static void open_scene_store(struct scene *s)
{
    cleanup_err struct err e = ERR_INIT;
    if (store_open(&s->loop, s->path, &s->store, &e) < 0)
        fail_msg("%s", err_text(&e));
}

static void close_scene_store(struct scene *s)
{
    store_close(&s->store);
    uv_run(&s->loop, UV_RUN_DEFAULT);
}

static int set_up(void **state)
{
    struct scene *s = calloc(1, sizeof *s);
    strcpy(s->folder, "/tmp/plimsoll-store-XXXXXX");
    assert_non_null(mkdtemp(s->folder));
    s->path = fs_path("%s/store.db", s->folder);
    assert_int_equal(uv_loop_init(&s->loop), 0);
    open_scene_store(s);
    *state = s;
    return 0;
}

static int tear_down(void **state)
{
    struct scene *s = *state;
    close_scene_store(s);
    assert_int_equal(uv_loop_close(&s->loop), 0);
    assert_int_equal(fs_remove_tree(s->folder, NULL), 0);
    free(s->path);
    free(s->last_error);
    free(s);
    return 0;
}

/* Runs the loop until so many writes were answered. */
static void wait_answered(struct scene *s, unsigned wanted)
{
    while (s->answered < wanted)
        uv_run(&s->loop, UV_RUN_ONCE);
}

static void add_campaign(struct scene *s, size_t n_trials)
{
    Plimsoll__Plan plan = PLIMSOLL__PLAN__INIT;
    plan.name = "test";
    plan.title = "A title";
    plan.text = "campaign = { name = \"test\" }";
    store_add_campaign(s->store, ID, &plan, 17, false, on_done, s);
    struct store_trial *trials = calloc(n_trials, sizeof *trials);
    for (size_t i = 0; i < n_trials; i++)
        trials[i] = (struct store_trial){.trial = i + 1,
                                         .cell = (uint32_t)(i % 2),
                                         .repetition = (uint32_t)(i / 2),
                                         .host = "a",
                                         .order = (uint32_t)i};
    store_add_schedule(s->store, ID, UINT64_MAX, 3, trials, n_trials, on_done, s);
    free(trials);
}

static Plimsoll__Lease lease_of(uint64_t trial, uint32_t attempt, uint64_t lease)
{
    Plimsoll__Lease l = PLIMSOLL__LEASE__INIT;
    l.campaign = (char *)ID;
    l.trial = trial;
    l.attempt = attempt;
    l.lease = lease;
    return l;
}

static void add_result(struct scene *s, Plimsoll__Lease *lease, uint64_t sequence,
                       Plimsoll__Outcome outcome, double value)
{
    Plimsoll__Sample sample = PLIMSOLL__SAMPLE__INIT;
    sample.metric = "ready";
    sample.unit = "s";
    sample.value = value;
    sample.time_ns = INT64_MAX;
    Plimsoll__Sample *samples[] = {&sample};
    Plimsoll__Factor condition = PLIMSOLL__FACTOR__INIT;
    condition.key = "accelerator";
    condition.value = "tcg";
    Plimsoll__Factor *conditions[] = {&condition};
    Plimsoll__Text text = PLIMSOLL__TEXT__INIT;
    text.name = "console";
    text.text = "Booting";
    Plimsoll__Text *texts[] = {&text};
    Plimsoll__Result r = PLIMSOLL__RESULT__INIT;
    r.spool = "5d9f";
    r.sequence = sequence;
    r.lease = lease;
    r.outcome = outcome;
    r.reason = "because";
    r.n_samples = r.n_conditions = r.n_texts = 1;
    r.samples = samples;
    r.conditions = conditions;
    r.texts = texts;
    store_add_result(s->store, "agent-key", "a", &r, on_done, s);
}

static struct read_counts count(struct scene *s)
{
    struct reader *r = NULL;
    struct read_counts counts;
    assert_int_equal(read_open(s->path, &r, NULL), 0);
    assert_int_equal(read_counts(r, ID, &counts, NULL), 0);
    read_close(&r);
    return counts;
}

struct seen {
    unsigned results, accepted, superseded, samples;
    double last_value;
};

static int see_result(void *arg, const struct read_result *r, struct err *e)
{
    (void)e;
    struct seen *seen = arg;
    seen->results++;
    seen->accepted += r->accepted;
    seen->superseded += r->superseded;
    seen->samples += (unsigned)r->n_samples;
    if (r->n_samples > 0)
        seen->last_value = r->samples[0].value;
    assert_string_equal(r->samples[0].metric, "ready");
    assert_string_equal(r->samples[0].unit, "s");
    assert_int_equal(r->samples[0].time_ns, INT64_MAX);
    assert_int_equal(r->n_conditions, 1);
    assert_string_equal(r->conditions[0]->value, "tcg");
    return 0;
}

static struct seen see_results(struct scene *s, uint64_t trial, unsigned flags)
{
    struct reader *r = NULL;
    struct seen seen = {0};
    assert_int_equal(read_open(s->path, &r, NULL), 0);
    assert_int_equal(read_results(r, ID, trial, flags, see_result, &seen, NULL), 0);
    read_close(&r);
    return seen;
}

static void a_result_of_the_current_lease_is_accepted_with_all_it_said(void **state)
{
    struct scene *s = *state;
    add_campaign(s, 2);
    Plimsoll__Lease l = lease_of(1, 1, UINT64_MAX - 1);
    store_add_attempt(s->store, &l, "a", on_done, s);
    add_result(s, &l, 0, PLIMSOLL__OUTCOME__OUTCOME_VALID, 0.25);
    wait_answered(s, 4);
    assert_int_equal(s->failed, 0);
    struct seen seen = see_results(s, 0, READ_ACCEPTED_ONLY);
    assert_int_equal(seen.accepted, 1);
    assert_true(seen.last_value == 0.25);
    struct read_counts c = count(s);
    assert_int_equal(c.trials, 2);
    assert_int_equal(c.accepted, 1);
    assert_int_equal(c.unavailable, 3);
}

static void a_result_that_comes_twice_is_stored_once(void **state)
{
    struct scene *s = *state;
    add_campaign(s, 1);
    Plimsoll__Lease l = lease_of(1, 1, 77);
    store_add_attempt(s->store, &l, "a", on_done, s);
    for (int i = 0; i < 3; i++)
        add_result(s, &l, 5, PLIMSOLL__OUTCOME__OUTCOME_VALID, 1.0);
    wait_answered(s, 6);
    assert_int_equal(s->failed, 0);
    struct seen seen = see_results(s, 0, 0);
    assert_int_equal(seen.results, 1);
    assert_int_equal(seen.samples, 1);
}

static void a_late_result_of_an_old_attempt_is_kept_as_superseded(void **state)
{
    struct scene *s = *state;
    add_campaign(s, 1);
    Plimsoll__Lease first = lease_of(1, 1, 10);
    Plimsoll__Lease second = lease_of(1, 2, 20);
    store_add_attempt(s->store, &first, "a", on_done, s);
    store_end_attempt(s->store, &first, "host a is gone", on_done, s);
    store_add_attempt(s->store, &second, "b", on_done, s);
    add_result(s, &first, 1, PLIMSOLL__OUTCOME__OUTCOME_VALID, 1.0);
    add_result(s, &second, 2, PLIMSOLL__OUTCOME__OUTCOME_VALID, 2.0);
    add_result(s, &second, 3, PLIMSOLL__OUTCOME__OUTCOME_VALID, 3.0);
    wait_answered(s, 8);
    assert_int_equal(s->failed, 0);
    struct seen all = see_results(s, 0, 0);
    assert_int_equal(all.results, 3);
    assert_int_equal(all.accepted, 1);
    assert_int_equal(all.superseded, 2);
    assert_true(see_results(s, 0, READ_ACCEPTED_ONLY).last_value == 2.0);
    assert_int_equal(count(s).failed, 1);
}

static void a_result_of_a_campaign_nobody_knows_is_kept_too(void **state)
{
    struct scene *s = *state;
    Plimsoll__Lease l = lease_of(9, 1, 5);
    add_result(s, &l, 0, PLIMSOLL__OUTCOME__OUTCOME_VALID, 1.0);
    wait_answered(s, 1);
    assert_int_equal(s->failed, 0);
    assert_int_equal(see_results(s, 0, 0).superseded, 1);
}

static int see_trial_state(void *arg, const struct read_trial *t, struct err *e)
{
    (void)e;
    *(enum read_trial_state *)arg = t->state;
    return 0;
}

static enum read_trial_state trial_state(struct scene *s)
{
    struct reader *r = NULL;
    enum read_trial_state state = READ_TRIAL_PENDING;
    assert_int_equal(read_open(s->path, &r, NULL), 0);
    assert_int_equal(read_trials(r, ID, see_trial_state, &state, NULL), 0);
    read_close(&r);
    return state;
}

static void a_trial_is_given_up_after_three_failures_and_taken_up_again_by_a_resume(void **state)
{
    struct scene *s = *state;
    add_campaign(s, 1);
    for (unsigned i = 1; i <= STORE_MOST_ANSWERED; i++) {
        Plimsoll__Lease l = lease_of(1, i, i);
        store_add_attempt(s->store, &l, "a", on_done, s);
        wait_answered(s, s->answered + 1);
        add_result(s, &l, i, PLIMSOLL__OUTCOME__OUTCOME_FAILED, NAN);
        wait_answered(s, 2 + 2 * i);
        assert_int_equal(trial_state(s),
                         i < STORE_MOST_ANSWERED ? READ_TRIAL_PENDING : READ_TRIAL_GIVEN_UP);
    }
    assert_true(isnan(see_results(s, 1, 0).last_value));
    assert_int_equal(count(s).given_up, 1);
    store_set_state(s->store, ID, "incomplete", "1 trial is missing", on_done, s);
    store_resume(s->store, ID, false, on_done, s);
    wait_answered(s, 10);
    assert_int_equal(s->failed, 0);
    assert_int_equal(trial_state(s), READ_TRIAL_PENDING);
    assert_int_equal(count(s).failed, STORE_MOST_ANSWERED);
}

static void a_cancelled_attempt_does_not_count_against_its_trial(void **state)
{
    struct scene *s = *state;
    add_campaign(s, 1);
    for (unsigned i = 1; i <= 5; i++) {
        Plimsoll__Lease l = lease_of(1, i, i);
        store_add_attempt(s->store, &l, "a", on_done, s);
        add_result(s, &l, i, PLIMSOLL__OUTCOME__OUTCOME_CANCELLED, 1.0);
    }
    wait_answered(s, 12);
    assert_int_equal(s->failed, 0);
    assert_int_equal(trial_state(s), READ_TRIAL_PENDING);
}

static void writes_that_wait_together_are_synced_together(void **state)
{
    struct scene *s = *state;
    enum { WRITES = 2000 };
    add_campaign(s, WRITES);
    wait_answered(s, 2);
    uint64_t commits = store_commits(s->store);
    unsigned before = atomic_load(&syncs);
    assert_true(before > 0);
    for (unsigned i = 1; i <= WRITES; i++) {
        Plimsoll__Lease l = lease_of(i, 1, i);
        store_add_attempt(s->store, &l, "a", on_done, s);
    }
    wait_answered(s, 2 + WRITES);
    assert_int_equal(s->failed, 0);
    uint64_t groups = store_commits(s->store) - commits;
    unsigned asked = atomic_load(&syncs) - before;
    assert_true(groups < WRITES / 4);
    /* Each group is synced at least once; a checkpoint of the log adds a few. */
    assert_true(asked >= groups);
    assert_true(asked <= groups + 40);
}

static void a_write_that_fails_leaves_the_others_of_its_group_alone(void **state)
{
    struct scene *s = *state;
    add_campaign(s, 1);
    store_set_state(s->store, "nobody", "done", "", on_done, s);
    Plimsoll__Lease l = lease_of(1, 1, 4);
    store_add_attempt(s->store, &l, "a", on_done, s);
    Plimsoll__Lease no_such_trial = lease_of(99, 1, 5);
    store_add_attempt(s->store, &no_such_trial, "a", on_done, s);
    wait_answered(s, 5);
    assert_int_equal(s->failed, 2);
    assert_non_null(strstr(s->last_error, "trial 99"));
    assert_int_equal(trial_state(s), READ_TRIAL_LEASED);
}

static void a_second_writer_is_refused(void **state)
{
    struct scene *s = *state;
    struct store *second = NULL;
    cleanup_err struct err e = ERR_INIT;
    assert_int_equal(store_open(&s->loop, s->path, &second, &e), -1);
    assert_int_equal(e.code, ERR_UNAVAILABLE);
    assert_null(second);
}

static void on_told(void *arg, const struct err *e)
{
    if (!e && write(*(int *)arg, "+", 1) != 1)
        _exit(9);
}

/* Writes attempts for ever and tells each answer through the pipe, until it is killed. */
static void write_until_killed(const char *path, int fd)
{
    uv_loop_t loop;
    struct store *store = NULL;
    if (uv_loop_init(&loop) < 0 || store_open(&loop, path, &store, NULL) < 0)
        _exit(8);
    for (unsigned i = 1;; i++) {
        Plimsoll__Lease l = lease_of(1, i, i);
        store_add_attempt(store, &l, "a", on_told, &fd);
        uv_run(&loop, UV_RUN_NOWAIT);
    }
}

static int count_attempt(void *arg, const struct read_attempt *a, struct err *e)
{
    (void)a;
    (void)e;
    ++*(unsigned *)arg;
    return 0;
}

static void what_was_answered_is_there_after_the_writer_was_killed(void **state)
{
    struct scene *s = *state;
    add_campaign(s, 1);
    wait_answered(s, 2);
    close_scene_store(s);
    int ends[2];
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    pid_t child = fork();
    if (child == 0)
        write_until_killed(s->path, ends[1]);
    close(ends[1]);
    unsigned told = 0;
    char bytes[256];
    while (told < 200) {
        ssize_t n = read(ends[0], bytes, sizeof bytes);
        assert_true(n > 0);
        told += (unsigned)n;
    }
    kill(child, SIGKILL);
    for (ssize_t n; (n = read(ends[0], bytes, sizeof bytes)) > 0;)
        told += (unsigned)n;
    close(ends[0]);
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(WTERMSIG(status), SIGKILL);
    open_scene_store(s);
    unsigned stored = 0;
    struct reader *r = NULL;
    assert_int_equal(read_open(s->path, &r, NULL), 0);
    assert_int_equal(read_attempts(r, ID, count_attempt, &stored, NULL), 0);
    read_close(&r);
    assert_true(stored >= told);
}

static void a_reader_sees_one_moment_while_the_writer_goes_on(void **state)
{
    struct scene *s = *state;
    add_campaign(s, 2);
    wait_answered(s, 2);
    struct reader *r = NULL;
    assert_int_equal(read_open(s->path, &r, NULL), 0);
    assert_int_equal(read_begin(r, NULL), 0);
    Plimsoll__Lease l = lease_of(1, 1, 77);
    store_add_attempt(s->store, &l, "a", on_done, s);
    add_result(s, &l, 5, PLIMSOLL__OUTCOME__OUTCOME_VALID, 1.0);
    wait_answered(s, 4);
    struct read_counts c;
    assert_int_equal(read_counts(r, ID, &c, NULL), 0);
    assert_int_equal(c.accepted, 0);
    read_end(r);
    assert_int_equal(read_counts(r, ID, &c, NULL), 0);
    assert_int_equal(c.accepted, 1);
    read_close(&r);
}

static int see_source(void *arg, const char *key, const char *spool, uint64_t next, struct err *e)
{
    (void)e;
    assert_string_equal(key, "agent-key");
    assert_string_equal(spool, "5d9f");
    *(uint64_t *)arg = next;
    return 0;
}

static void the_next_sequence_of_a_spool_is_remembered(void **state)
{
    struct scene *s = *state;
    Plimsoll__Lease l = lease_of(9, 1, 5);
    add_result(s, &l, 41, PLIMSOLL__OUTCOME__OUTCOME_VALID, 1.0);
    add_result(s, &l, 40, PLIMSOLL__OUTCOME__OUTCOME_VALID, 1.0);
    wait_answered(s, 2);
    struct reader *r = NULL;
    uint64_t next = 0;
    assert_int_equal(read_open(s->path, &r, NULL), 0);
    assert_int_equal(read_sources(r, see_source, &next, NULL), 0);
    read_close(&r);
    assert_int_equal(next, 42);
}

/* ---- Migrations, on a schema of the test's own ---- */

static const struct migration steps[] = {
    {2, "ALTER TABLE thing ADD COLUMN colour TEXT NOT NULL DEFAULT 'red'"},
    {3, "CREATE TABLE other (x INTEGER); INSERT INTO other SELECT count(*) FROM thing"},
};
static const struct migration broken_steps[] = {
    {2, "ALTER TABLE thing ADD COLUMN colour TEXT"},
    {3, "INSERT INTO nowhere VALUES (1)"},
};
static const struct schema version_1 = {
    1, "CREATE TABLE thing (x INTEGER); INSERT INTO thing VALUES (7)", NULL, 0};
static const struct schema version_3 = {3, "", steps, 2};
static const struct schema version_3_broken = {3, "", broken_steps, 2};

static void an_older_store_is_brought_up_step_by_step_or_left_as_it_was(void **state)
{
    (void)state;
    sqlite3 *db = NULL;
    int version = 0;
    cleanup_err struct err e = ERR_INIT;
    assert_int_equal(sqlite3_open(":memory:", &db), SQLITE_OK);
    assert_int_equal(migrate(db, &version_1, NULL), 0);
    assert_int_equal(migrate(db, &version_3_broken, &e), -1);
    assert_non_null(strstr(err_text(&e), "from version 2 to 3"));
    assert_int_equal(migrate_version(db, &version, NULL), 0);
    assert_int_equal(version, 1);
    assert_int_equal(migrate(db, &version_3, NULL), 0);
    assert_int_equal(migrate_version(db, &version, NULL), 0);
    assert_int_equal(version, 3);
    assert_int_equal(
        sqlite3_exec(db, "SELECT colour FROM thing, other WHERE other.x = 1", NULL, NULL, NULL),
        SQLITE_OK);
    err_clear(&e);
    assert_int_equal(migrate(db, &version_1, &e), -1);
    assert_int_equal(e.code, ERR_INPUT);
    sqlite3_close(db);
}

static void a_file_that_is_no_store_is_refused_and_left_alone(void **state)
{
    struct scene *s = *state;
    cleanup_free char *path = fs_path("%s/other.db", s->folder);
    cleanup_err struct err e = ERR_INIT;
    struct store *store = NULL;
    assert_int_equal(
        fs_write_atomic(path, "Dear diary, this is no database at all.", 39, 0600, NULL), 0);
    assert_int_equal(store_open(&s->loop, path, &store, &e), -1);
    assert_int_equal(e.code, ERR_INPUT);
    cleanup_free char *text = NULL;
    size_t length = 0;
    assert_int_equal(fs_read(path, 100, &text, &length, NULL), 0);
    assert_string_equal(text, "Dear diary, this is no database at all.");
}

#define WITH_STORE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_STORE(a_result_of_the_current_lease_is_accepted_with_all_it_said),
        WITH_STORE(a_result_that_comes_twice_is_stored_once),
        WITH_STORE(a_late_result_of_an_old_attempt_is_kept_as_superseded),
        WITH_STORE(a_result_of_a_campaign_nobody_knows_is_kept_too),
        WITH_STORE(a_trial_is_given_up_after_three_failures_and_taken_up_again_by_a_resume),
        WITH_STORE(a_cancelled_attempt_does_not_count_against_its_trial),
        WITH_STORE(writes_that_wait_together_are_synced_together),
        WITH_STORE(a_write_that_fails_leaves_the_others_of_its_group_alone),
        WITH_STORE(a_second_writer_is_refused),
        WITH_STORE(what_was_answered_is_there_after_the_writer_was_killed),
        WITH_STORE(a_reader_sees_one_moment_while_the_writer_goes_on),
        WITH_STORE(the_next_sequence_of_a_spool_is_remembered),
        cmocka_unit_test(an_older_store_is_brought_up_step_by_step_or_left_as_it_was),
        WITH_STORE(a_file_that_is_no_store_is_refused_and_left_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
