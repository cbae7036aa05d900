/* SPDX-License-Identifier: GPL-3.0-or-later */
/* coordctl as its user meets it: words, exit codes, and what it leaves alone. */
#include "common/fs.h"
#include "coordinator/ctl/verb.h"
#include "proto/keys.h"
#include "tests/ctl/program.h"
#include "tests/report/scene.h"

#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static const char *const verbs[] = {"check",  "run",    "submit", "list", "status",
                                    "watch",  "cancel", "hosts",  "show", "report",
                                    "images", "doctor", "keys"};
enum { VERBS = sizeof verbs / sizeof *verbs };

static char folder[] = "/tmp/plimsoll-ctl-XXXXXX";

static void expect(struct said s, int status, const char *output, const char *error)
{
    if (s.status != status)
        fail_msg("exit code %d, wanted %d; it said:\n%s%s", s.status, status, s.output, s.error);
    if (output && !strstr(s.output, output))
        fail_msg("wanted \"%s\" on standard output, which was:\n%s", output, s.output);
    if (error && !strstr(s.error, error))
        fail_msg("wanted \"%s\" on standard error, which was:\n%s", error, s.error);
    said_clear(&s);
}

static char *file(const char *name, const char *text)
{
    char *path = fs_path("%s/%s", folder, name);
    if (text)
        assert_int_equal(fs_write_atomic(path, text, strlen(text), 0600, NULL), 0);
    return path;
}

static unsigned entries(const char *path)
{
    unsigned n = 0;
    DIR *d = opendir(path);
    if (!d)
        return 0;
    for (const struct dirent *e; (e = readdir(d));)
        n += e->d_name[0] != '.';
    closedir(d);
    return n;
}

/* ---- Words ---- */

static void without_a_verb_it_lists_them(void **state)
{
    (void)state;
    expect(coordctl(NULL, NULL), EXIT_USAGE, NULL, "usage: coordctl VERB");
    for (size_t i = 0; i < VERBS; i++) {
        char *line = fs_path("\n  %s ", verbs[i]);
        expect(coordctl("help", NULL), EXIT_GOOD, line, NULL);
        free(line);
    }
    expect(coordctl("--version", NULL), EXIT_GOOD, PLIMSOLL_VERSION, NULL);
}

static void every_verb_explains_itself(void **state)
{
    (void)state;
    for (size_t i = 0; i < VERBS; i++) {
        char *usage = fs_path("usage: coordctl %s", verbs[i]);
        expect(coordctl("help", verbs[i], NULL), EXIT_GOOD, usage, NULL);
        expect(coordctl(verbs[i], "--help", NULL), EXIT_GOOD, usage, NULL);
        free(usage);
    }
}

static void a_misspelt_verb_is_answered_with_the_nearest(void **state)
{
    (void)state;
    expect(coordctl("rnu", NULL), EXIT_USAGE, NULL, "did you mean `run`?");
    expect(coordctl("reprot", "x", NULL), EXIT_USAGE, NULL, "did you mean `report`?");
    expect(coordctl("help", "statsu", NULL), EXIT_USAGE, NULL, "did you mean `status`?");
    expect(coordctl("bombastic", NULL), EXIT_USAGE, NULL, "`coordctl help` lists them");
    char *far = fs_path("%0512d", 0);
    expect(coordctl(far, NULL), EXIT_USAGE, NULL, "unknown verb");
    free(far);
}

static void every_verb_refuses_an_unknown_option(void **state)
{
    (void)state;
    for (size_t i = 0; i < VERBS; i++)
        if (strcmp(verbs[i], "keys") != 0)
            expect(coordctl(verbs[i], "--bogus", NULL), EXIT_USAGE, NULL, "`--bogus`");
}

static void every_verb_refuses_too_much(void **state)
{
    (void)state;
    for (size_t i = 0; i < VERBS; i++)
        if (strcmp(verbs[i], "keys") != 0)
            expect(coordctl(verbs[i], "a", "b", "c", NULL), EXIT_USAGE, NULL,
                   "one argument too many");
}

static void what_a_verb_needs_is_named(void **state)
{
    (void)state;
    static const char *const need[] = {"check",  "run",  "submit", "status", "watch",
                                       "cancel", "show", "report", "images"};
    for (size_t i = 0; i < sizeof need / sizeof *need; i++)
        expect(coordctl(need[i], NULL), EXIT_USAGE, NULL, "is missing");
    expect(coordctl("submit", "x", "--wait=3", NULL), EXIT_USAGE, NULL, "takes no value");
    expect(coordctl("report", "x", "--format", NULL), EXIT_USAGE, NULL, "`--format` needs a value");
    expect(coordctl("report", "x", "--format", "pdf", NULL), EXIT_USAGE, NULL,
           "text, html, csv or json, not `pdf`");
    expect(coordctl("show", "x", "0", NULL), EXIT_USAGE, NULL, "a whole number from 1");
    expect(coordctl("show", "x", "1e3", NULL), EXIT_USAGE, NULL, "not `1e3`");
    expect(coordctl("list", "--most", "-4", NULL), EXIT_USAGE, NULL, "not `-4`");
    expect(coordctl("run", "--resume", "x", "y.plan", NULL), EXIT_USAGE, NULL,
           "leave `y.plan` out");
}

/* ---- Plans that are wrong ---- */

static void run_of_a_wrong_plan_starts_nothing(void **state)
{
    (void)state;
    char *runs = file("runs-none", NULL);
    char *plan = file("bad.plan", "campaign = { nme = \"x\" }\n");
    char *images = file("images-none", NULL);
    setenv("PLIMSOLL_RUNS", runs, 1);
    setenv("PLIMSOLL_IMAGES", images, 1);
    expect(coordctl("run", plan, NULL), EXIT_USAGE, NULL, "bad.plan:1:");
    expect(coordctl("run", "/nix/nix.plan", NULL), EXIT_USAGE, NULL, "/nix/nix.plan");
    expect(coordctl("run", folder, NULL), EXIT_USAGE, NULL, "directory");
    expect(coordctl("submit", plan, NULL), EXIT_USAGE, NULL, "bad.plan:1:");
    expect(coordctl("images", plan, NULL), EXIT_USAGE, NULL, "bad.plan:1:");
    assert_int_equal(entries(runs), 0);
    assert_int_equal(entries(images), 0);
    free(images);
    free(plan);
    free(runs);
}

/* ---- No coordinator ---- */

static void where_no_coordinator_is_known_the_options_are_named(void **state)
{
    (void)state;
    expect(coordctl("hosts", NULL), EXIT_USAGE, NULL, "--coordinator");
    char *conf = file("client.conf", "coordinator = \"tcp://127.0.0.1:1\"\nkye = \"x\"\n");
    setenv("PLIMSOLL_CLIENT_CONF", conf, 1);
    expect(coordctl("hosts", NULL), EXIT_USAGE, NULL, "client.conf:2:");
    setenv("PLIMSOLL_CLIENT_CONF", "/nonexistent", 1);
    free(conf);
}

static void where_no_coordinator_answers_the_exit_code_is_three(void **state)
{
    (void)state;
    struct key_pair pair;
    char *key = file("own.key", NULL);
    assert_int_equal(key_pair_make(&pair, NULL), 0);
    assert_int_equal(key_pair_save(key, &pair, NULL), 0);
    expect(coordctl("hosts", "--coordinator", "tcp://127.0.0.1:1", "--server-key", pair.public_z85,
                    "--key", key, NULL),
           EXIT_NO_COORDINATOR, NULL, "no coordinator answers at tcp://127.0.0.1:1");
    free(key);
}

/* ---- Runs of this host, without any coordinator ---- */

static void make_run(const char *runs)
{
    struct scene *s = scene_open();
    struct store_trial trials[] = {{.trial = 1, .host = "a", .warmup = true},
                                   {.trial = 2, .host = "a", .order = 1}};
    scene_add_campaign(s, 0.2);
    scene_add_trials(s, trials, 2, 1);
    for (unsigned i = 1; i <= 2; i++)
        scene_add_result(s, &(struct scene_result){.trial = i,
                                                   .attempt = 1,
                                                   .host = "a",
                                                   .accelerator = "",
                                                   .warmup = i == 1,
                                                   .outcome = PLIMSOLL__OUTCOME__OUTCOME_VALID,
                                                   .start_s = 0.0004});
    scene_end(s, "done", "");
    scene_settle(s);
    char *run = fs_path("%s/%s", runs, SCENE_ID);
    char *store = fs_path("%s/store.db", run);
    assert_int_equal(fs_make_dirs(run, 0700, NULL), 0);
    assert_int_equal(rename(s->path, store), 0);
    free(store);
    free(run);
    scene_free(&s);
}

static void runs_of_this_host_are_read_without_a_coordinator(void **state)
{
    (void)state;
    char *runs = file("runs", NULL);
    char *json = file("out.json", NULL);
    setenv("PLIMSOLL_RUNS", runs, 1);
    expect(coordctl("list", NULL), EXIT_GOOD, "No campaign was run", NULL);
    make_run(runs);
    expect(coordctl("list", NULL), EXIT_GOOD, SCENE_ID, NULL);
    char *wrong = file("wrong.conf", "coordinator = tcp\n");
    setenv("PLIMSOLL_CLIENT_CONF", wrong, 1);
    expect(coordctl("list", NULL), EXIT_USAGE, SCENE_ID, "wrong.conf:1");
    expect(coordctl("list", "--local", NULL), EXIT_GOOD, SCENE_ID, NULL);
    setenv("PLIMSOLL_CLIENT_CONF", "/nonexistent", 1);
    free(wrong);
    expect(coordctl("status", SCENE_ID, NULL), EXIT_GOOD, "2 of 2 trials are done", NULL);
    expect(coordctl("report", SCENE_ID, NULL), EXIT_GOOD, "process", NULL);
    expect(coordctl("report", SCENE_ID, "-o", json, "--format=json", NULL), EXIT_GOOD, NULL, NULL);
    assert_true(fs_exists(json));
    expect(coordctl("show", SCENE_ID, "2", NULL), EXIT_GOOD, "lxc.net.0.type = empty", NULL);
    expect(coordctl("show", SCENE_ID, "2", "--no-texts", NULL), EXIT_GOOD, "400 us", NULL);
    expect(coordctl("show", SCENE_ID, "3", NULL), EXIT_USAGE, NULL, "has no trial 3");
    expect(coordctl("report", SCENE_ID, "-o", "/nonexistent/x", NULL), EXIT_USAGE, NULL,
           "cannot write /nonexistent/x");
    free(json);
    free(runs);
}

/* As root, `-o /dev/null` would otherwise put a file in the device's place. */
static void a_pipe_that_is_given_as_output_is_written_to_and_stays(void **state)
{
    (void)state;
    char *runs = file("runs", NULL);
    char *pipe = file("pipe", NULL);
    struct stat st;
    char text[16] = "";
    setenv("PLIMSOLL_RUNS", runs, 1);
    assert_int_equal(mkfifo(pipe, 0600), 0);
    int reader = open(pipe, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    assert_true(reader >= 0);
    expect(coordctl("report", SCENE_ID, "-o", pipe, NULL), EXIT_GOOD, NULL, NULL);
    assert_int_equal(stat(pipe, &st), 0);
    assert_true(S_ISFIFO(st.st_mode));
    assert_true(read(reader, text, sizeof text - 1) > 0);
    close(reader);
    free(pipe);
    free(runs);
}

static void a_report_has_the_mode_that_the_umask_gives(void **state)
{
    (void)state;
    char *runs = file("runs", NULL);
    char *path = file("private.txt", NULL);
    struct stat st;
    setenv("PLIMSOLL_RUNS", runs, 1);
    mode_t before = umask(027);
    expect(coordctl("report", SCENE_ID, "-o", path, NULL), EXIT_GOOD, NULL, NULL);
    umask(before);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0640);
    free(path);
    free(runs);
}

static void a_store_that_is_none_is_told(void **state)
{
    (void)state;
    char *path = file("garbage.db", "this is no database, whatever its name says\n");
    setenv("PLIMSOLL_RUNS", folder, 1);
    struct said s = coordctl("report", path, NULL);
    assert_int_equal(s.status, EXIT_USAGE);
    assert_string_not_equal(s.error, "");
    said_clear(&s);
    free(path);
}

static int set_up(void **state)
{
    (void)state;
    setenv("PLIMSOLL_CLIENT_CONF", "/nonexistent", 1);
    return mkdtemp(folder) ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    return fs_remove_tree(folder, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_verb_it_lists_them),
        cmocka_unit_test(every_verb_explains_itself),
        cmocka_unit_test(a_misspelt_verb_is_answered_with_the_nearest),
        cmocka_unit_test(every_verb_refuses_an_unknown_option),
        cmocka_unit_test(every_verb_refuses_too_much),
        cmocka_unit_test(what_a_verb_needs_is_named),
        cmocka_unit_test(run_of_a_wrong_plan_starts_nothing),
        cmocka_unit_test(where_no_coordinator_is_known_the_options_are_named),
        cmocka_unit_test(where_no_coordinator_answers_the_exit_code_is_three),
        cmocka_unit_test(runs_of_this_host_are_read_without_a_coordinator),
        cmocka_unit_test(a_pipe_that_is_given_as_output_is_written_to_and_stays),
        cmocka_unit_test(a_report_has_the_mode_that_the_umask_gives),
        cmocka_unit_test(a_store_that_is_none_is_told),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
