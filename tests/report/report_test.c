/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Reports against golden files, from a store made here. PLIMSOLL_GOLDEN=write test_report writes
 * them anew.
 */
#include "coordinator/report/report.h"

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/fs.h"
#include "tests/report/scene.h"

#include <jansson.h>
#include <math.h>
#include <setjmp.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { TRIALS = 22, MISSING_TRIAL = 22 };

/* 1 to 11: process on a, 12 to 14: lxc on a, 15 to 17: kvm on a (tcg), 18 to 22: kvm on b (intel);
 * the first of each is the warm-up. */
static struct store_trial trial_of(unsigned i)
{
    struct store_trial t = {.trial = i + 1, .host = i < 17 ? "a" : "b", .order = i};
    unsigned first = i < 11 ? 0 : i < 14 ? 11 : i < 17 ? 14 : 17;
    t.cell = i < 11 ? 0 : i < 14 ? 1 : 2;
    t.warmup = i == first;
    t.repetition = t.warmup ? 0 : i - first - 1;
    return t;
}

static void add_results(struct scene *s, const struct store_trial *t, bool mishaps)
{
    static const double base_s[] = {0.0004, 0.22, 0};
    bool on_b = strcmp(t->host, "b") == 0;
    double start_s = t->cell == 2 ? (on_b ? 1.5 : 9) : base_s[t->cell];
    struct scene_result r = {
        .trial = t->trial,
        .attempt = mishaps && (t->trial == 13 || t->trial == 19 || t->trial == 20) ? 2 : 1,
        .host = t->host,
        .accelerator = t->cell < 2 ? ""
                       : on_b      ? "kvm/intel"
                                   : "tcg",
        .outcome = PLIMSOLL__OUTCOME__OUTCOME_VALID,
        .warmup = t->warmup,
        .start_s = start_s * (1 + 0.01 * (double)t->repetition) * (t->warmup ? 3 : 1),
    };
    scene_add_result(s, &r);
}

/* Attempts that went wrong, before the one that went well. */
static void add_mishaps(struct scene *s)
{
    struct scene_result r = {.trial = 13,
                             .attempt = 1,
                             .host = "a",
                             .accelerator = "",
                             .outcome = PLIMSOLL__OUTCOME__OUTCOME_REJECTED,
                             .reason = "other processes took 0.4 s of CPU",
                             .start_s = 0.9};
    scene_add_result(s, &r);
    r = (struct scene_result){.trial = 19,
                              .attempt = 1,
                              .host = "b",
                              .accelerator = "kvm/intel",
                              .outcome = PLIMSOLL__OUTCOME__OUTCOME_FAILED,
                              .reason = "not ready within 60 s"};
    scene_add_result(s, &r);
    scene_lose_attempt(s, 20, 1, "b", "host b was gone for 45 s");
    r = (struct scene_result){.trial = 20,
                              .attempt = 1,
                              .host = "b",
                              .accelerator = "kvm/intel",
                              .outcome = PLIMSOLL__OUTCOME__OUTCOME_VALID,
                              .start_s = 7};
    scene_add_late_result(s, &r);
    for (unsigned attempt = 1; attempt <= 3; attempt++) {
        r = (struct scene_result){.trial = MISSING_TRIAL,
                                  .attempt = attempt,
                                  .host = "b",
                                  .accelerator = "kvm/intel",
                                  .outcome = PLIMSOLL__OUTCOME__OUTCOME_FAILED,
                                  .reason = "not ready within 60 s"};
        scene_add_result(s, &r);
    }
}

static struct scene *fill_campaign(struct scene *s, double lxc_within, bool mishaps)
{
    struct store_trial trials[TRIALS];
    for (unsigned i = 0; i < TRIALS; i++)
        trials[i] = trial_of(i);
    scene_add_campaign(s, lxc_within);
    scene_add_trials(s, trials, TRIALS, 1);
    if (mishaps)
        add_mishaps(s);
    for (unsigned i = 0; i < TRIALS; i++)
        if (!mishaps || trials[i].trial != MISSING_TRIAL)
            add_results(s, &trials[i], mishaps);
    scene_end(s, mishaps ? "incomplete" : "done", mishaps ? "1 trial is missing" : "");
    scene_settle(s);
    return s;
}

/* A whole campaign; with mishaps its last trial never came. */
static struct scene *make_campaign(double lxc_within, bool mishaps)
{
    return fill_campaign(scene_open(), lxc_within, mishaps);
}

static char *write_report(const struct scene *s, enum report_format format,
                          struct report_verdict *ret)
{
    char *text = NULL;
    size_t length = 0;
    struct err e = ERR_INIT;
    FILE *out = open_memstream(&text, &length);
    if (report_write(s->path, SCENE_ID, format, out, ret, &e) < 0)
        fail_msg("%s", err_text(&e));
    fclose(out);
    return text;
}

/* ---- Golden files ---- */

static void check_golden(const char *name, const char *text)
{
    char *path = fs_path("%s/%s", REPORT_DIR, name);
    const char *told = getenv("PLIMSOLL_GOLDEN");
    struct err e = ERR_INIT;
    char *wanted = NULL;
    size_t length = 0;
    if (told && strcmp(told, "write") == 0 &&
        fs_write_atomic(path, text, strlen(text), 0644, &e) < 0)
        fail_msg("%s", err_text(&e));
    if (fs_read(path, 1 << 20, &wanted, &length, &e) < 0)
        fail_msg("%s", err_text(&e));
    if (strcmp(wanted, text) != 0)
        fail_msg("%s differs; this was written:\n%s", path, text);
    free(wanted);
    free(path);
}

/* Cuts out what stands between the marks: what is drawn and how it looks is looked at elsewhere. */
static void cut_out(char *text, const char *from, const char *to)
{
    for (char *start = text; (start = strstr(start, from));) {
        char *end = strstr(start, to);
        assert_non_null(end);
        start += strlen(from);
        memmove(start, end, strlen(end) + 1);
    }
}

static void check_format(enum report_format format, const char *name)
{
    struct scene *s = make_campaign(0.05, true);
    struct report_verdict verdict;
    char *text = write_report(s, format, &verdict);
    if (format == REPORT_HTML) {
        cut_out(text, "<style>", "</style>");
    }
    check_golden(name, text);
    assert_int_equal(verdict.trials_missing, 1);
    assert_int_equal(verdict.checks_failed, 1);
    assert_int_equal(verdict.exit_code, 1);
    free(text);
    scene_free(&s);
}

static void text_says_what_was_measured_and_what_was_not(void **state)
{
    (void)state;
    check_format(REPORT_TEXT, "incomplete.txt");
}

/* Figures are looked at by html_test.py. */
static void html_says_what_text_says_and_that_figures_need_gnuplot(void **state)
{
    (void)state;
    char *path = fs_path("%s", getenv("PATH"));
    setenv("PATH", "/nonexistent", 1);
    check_format(REPORT_HTML, "incomplete.html");
    setenv("PATH", path, 1);
    free(path);
}

static void csv_has_a_line_a_sample(void **state)
{
    (void)state;
    check_format(REPORT_CSV, "incomplete.csv");
}

static void json_has_everything(void **state)
{
    (void)state;
    check_format(REPORT_JSON, "incomplete.json");
}

/* ---- Verdicts ---- */

static int exit_code_of(double lxc_within, bool mishaps)
{
    struct scene *s = make_campaign(lxc_within, mishaps);
    struct report_verdict verdict;
    free(write_report(s, REPORT_TEXT, &verdict));
    scene_free(&s);
    return verdict.exit_code;
}

static void a_reference_can_fail_only_where_a_range_was_given(void **state)
{
    (void)state;
    assert_int_equal(exit_code_of(0, false), 0);
    assert_int_equal(exit_code_of(0.2, false), 0);
    assert_int_equal(exit_code_of(0.05, false), 1);
}

static void missing_trials_have_their_own_exit_code(void **state)
{
    (void)state;
    assert_int_equal(exit_code_of(0, true), 4);
}

static void where_nothing_can_run_nothing_is_missing(void **state)
{
    (void)state;
    struct scene *s = scene_open();
    struct report_verdict verdict;
    scene_add_campaign(s, 0);
    scene_end(s, "failed", "no host can run any cell");
    scene_settle(s);
    char *text = write_report(s, REPORT_TEXT, &verdict);
    assert_int_equal(verdict.exit_code, 0);
    assert_non_null(strstr(text, "lxc on b: this build has no liblxc"));
    free(text);
    scene_free(&s);
}

static void an_unknown_campaign_is_told(void **state)
{
    (void)state;
    struct scene *s = make_campaign(0, false);
    struct err e = ERR_INIT;
    FILE *out = fopen("/dev/null", "w");
    assert_int_equal(report_write(s->path, "nix", REPORT_TEXT, out, NULL, &e), -1);
    assert_int_equal(e.code, ERR_NOT_FOUND);
    err_clear(&e);
    fclose(out);
    scene_free(&s);
}

static void a_full_disk_is_told(void **state)
{
    (void)state;
    struct scene *s = make_campaign(0, false);
    struct err e = ERR_INIT;
    for (enum report_format f = REPORT_TEXT; f <= REPORT_JSON; f++) {
        FILE *out = fopen("/dev/full", "w");
        assert_int_equal(report_write(s->path, SCENE_ID, f, out, NULL, &e), -1);
        err_clear(&e);
        fclose(out);
    }
    scene_free(&s);
}

/* ---- What the json report is for: every figure can be made again from its samples ---- */

static double mean_of_results(const json_t *root, const json_t *group, const char *metric)
{
    double sum = 0;
    unsigned n = 0;
    size_t i, k;
    json_t *r, *s;
    json_array_foreach(json_object_get(root, "results"), i, r)
    {
        bool counted =
            json_is_true(json_object_get(r, "accepted")) &&
            json_is_false(json_object_get(r, "warmup")) &&
            json_equal(json_object_get(r, "cell"), json_object_get(group, "cell")) &&
            json_equal(json_object_get(r, "accelerator"), json_object_get(group, "accelerator"));
        json_array_foreach(json_object_get(r, "samples"), k, s)
        {
            if (!counted || strcmp(json_string_value(json_object_get(s, "metric")), metric) != 0)
                continue;
            sum += json_real_value(json_object_get(s, "value"));
            n++;
        }
    }
    return sum / n;
}

static void every_mean_can_be_made_again_from_the_json(void **state)
{
    (void)state;
    struct scene *s = make_campaign(0, true);
    char *text = write_report(s, REPORT_JSON, NULL);
    json_t *root = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(root);
    size_t i, k, checked = 0;
    json_t *group, *metric;
    json_array_foreach(json_object_get(root, "groups"), i, group)
    {
        json_array_foreach(json_object_get(group, "metrics"), k, metric)
        {
            const char *name = json_string_value(json_object_get(metric, "metric"));
            double mean = json_real_value(json_object_get(metric, "mean"));
            double again = mean_of_results(root, group, name);
            assert_true(fabs(mean - again) <= 1e-12 * fabs(mean));
            checked++;
        }
    }
    assert_int_equal(checked, 4 * 5);
    json_decref(root);
    free(text);
    scene_free(&s);
}

/* ---- Size ---- */

static char *own_path;

/* A report, written by this program started anew: what it takes at most is then its own. It says so
 * itself, since what wait4 tells counts the memory of the fork before its exec too. */
static long peak_kib_of_report(const char *store, const char *format)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(ends[1], STDOUT_FILENO);
        execl(own_path, own_path, store, format, (char *)NULL);
        _exit(127);
    }
    close(ends[1]);
    FILE *said = fdopen(ends[0], "r");
    long kib = 0;
    int status = 0;
    assert_int_equal(fscanf(said, "%ld", &kib), 1);
    fclose(said);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    return kib;
}

/* proc(5), VmHWM: this program's peak of resident memory. */
static long own_peak_kib(void)
{
    cleanup_free char *text = NULL;
    assert_int_equal(fs_read_kernel("/proc/self/status", &text, NULL), 0);
    const char *at = strstr(text, "VmHWM:");
    return at ? strtol(at + strlen("VmHWM:"), NULL, 10) : -1;
}

static int report_main(const char *store, const char *word)
{
    enum report_format format;
    FILE *out = fopen("/dev/null", "w");
    if (report_format_parse(word, &format, NULL) < 0 ||
        report_write(store, SCENE_ID, format, out, NULL, NULL) < 0)
        return 1;
    return printf("%ld\n", own_peak_kib()) < 0;
}

#ifdef __SANITIZE_ADDRESS__
/* Freed memory is kept for a while, and each allocation has a zone around it. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "quarantine_size_mb=1";
}
enum { MEMORY_FACTOR = 4 };
#else
enum { MEMORY_FACTOR = 1 };
#endif

/* The floor: the same rows through the database's own library. */
static void print_raw_reading(const char *store)
{
    sqlite3 *db = NULL;
    sqlite3_stmt *rows = NULL;
    unsigned n = 0;
    int64_t start_ns = clock_monotonic_ns();
    assert_int_equal(sqlite3_open(store, &db), SQLITE_OK);
    assert_int_equal(
        sqlite3_prepare_v2(db, "SELECT metric, unit, value, time_ns FROM sample", -1, &rows, NULL),
        SQLITE_OK);
    while (sqlite3_step(rows) == SQLITE_ROW)
        n += sqlite3_column_type(rows, 2) == SQLITE_FLOAT;
    sqlite3_finalize(rows);
    sqlite3_close(db);
    assert_int_equal(n, 100000);
    print_message("reading 100,000 samples with sqlite3 alone: %.2f s\n",
                  (double)(clock_monotonic_ns() - start_ns) / 1e9);
}

static void check_cost(const char *store, const char *format)
{
    enum { MOST_KIB = MEMORY_FACTOR * (24 << 10) };
    int64_t start_ns = clock_monotonic_ns();
    long kib = peak_kib_of_report(store, format);
    int64_t taken_ns = clock_monotonic_ns() - start_ns;
    print_message("%s of 100,000 samples: %.2f s, at most %ld KiB\n", format,
                  (double)taken_ns / 1e9, kib);
    assert_true(kib < MOST_KIB);
    assert_true(taken_ns < 20 * NS_PER_S);
}

/* 20,000 trials of five samples each; eight bytes a sample and the plan are what may be kept. */
static void a_hundred_thousand_samples_take_little_memory(void **state)
{
    (void)state;
    enum { MANY = 20000 };
    struct scene *s = scene_open();
    struct store_trial *trials = calloc(MANY, sizeof *trials);
    scene_add_campaign(s, 0);
    for (unsigned i = 0; i < MANY; i++)
        trials[i] = (struct store_trial){.trial = i + 1, .repetition = i, .host = "a", .order = i};
    scene_add_trials(s, trials, MANY, 1);
    for (unsigned i = 0; i < MANY; i++)
        scene_add_result(s, &(struct scene_result){.trial = i + 1,
                                                   .attempt = 1,
                                                   .host = "a",
                                                   .accelerator = "",
                                                   .outcome = PLIMSOLL__OUTCOME__OUTCOME_VALID,
                                                   .start_s = 0.0004 + 1e-9 * i});
    scene_end(s, "done", "");
    scene_settle(s);
    free(trials);
    print_raw_reading(s->path);
    check_cost(s->path, "text");
    check_cost(s->path, "html");
    check_cost(s->path, "json");
    scene_free(&s);
}

/* For html_test.py: the HTML report of a campaign whose every name is hostile. */
static int print_hostile(void)
{
    struct scene *s = scene_open();
    s->hostile = true;
    fill_campaign(s, 0.05, true);
    int result = report_write(s->path, SCENE_ID, REPORT_HTML, stdout, NULL, NULL);
    scene_free(&s);
    return result == 0 ? 0 : 1;
}

int main(int argc, char **argv)
{
    own_path = argv[0];
    if (argc == 2 && strcmp(argv[1], "--print-hostile") == 0)
        return print_hostile();
    if (argc == 3)
        return report_main(argv[1], argv[2]);
    const struct CMUnitTest costs[] = {
        cmocka_unit_test(a_hundred_thousand_samples_take_little_memory)};
    if (argc == 2 && strcmp(argv[1], "--costs") == 0)
        return cmocka_run_group_tests(costs, NULL, NULL);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_says_what_was_measured_and_what_was_not),
        cmocka_unit_test(html_says_what_text_says_and_that_figures_need_gnuplot),
        cmocka_unit_test(csv_has_a_line_a_sample),
        cmocka_unit_test(json_has_everything),
        cmocka_unit_test(a_reference_can_fail_only_where_a_range_was_given),
        cmocka_unit_test(missing_trials_have_their_own_exit_code),
        cmocka_unit_test(where_nothing_can_run_nothing_is_missing),
        cmocka_unit_test(an_unknown_campaign_is_told),
        cmocka_unit_test(a_full_disk_is_told),
        cmocka_unit_test(every_mean_can_be_made_again_from_the_json),
        cmocka_unit_test(a_hundred_thousand_samples_take_little_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
