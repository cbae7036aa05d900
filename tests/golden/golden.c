/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * `coordctl check` over plans that are wrong and plans that are good, against what it said before.
 *
 * bad/NAME.plan with bad/NAME.txt (standard error), good/NAME.plan with good/NAME.txt (standard
 * output). PLIMSOLL_GOLDEN=write test_golden writes the .txt files anew.
 */
#include "tests/golden/run.h"

#include "common/cleanup.h"
#include "common/fs.h"

#include <glob.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

/* A second of processor time is the promise; AddressSanitizer makes the same work several times as
 * long. What grows with the square of a plan's size is still far beyond it. */
#ifdef __SANITIZE_ADDRESS__
enum { SLOWER_BY = 5 };
#else
enum { SLOWER_BY = 1 };
#endif
enum { LEAST_BAD_PLANS = 40, MOST_CPU_MS = SLOWER_BY * 1000, HUGE_MB = 100, NESTED_LISTS = 20000 };

static bool is_writing(void)
{
    const char *told = getenv("PLIMSOLL_GOLDEN");
    return told && strcmp(told, "write") == 0;
}

static char *golden_path(const char *plan)
{
    return fs_path("%.*s.txt", (int)(strlen(plan) - strlen(".plan")), plan);
}

static void compare_with_golden(const char *plan, const char *said)
{
    cleanup_free char *path = golden_path(plan);
    cleanup_err struct err e = ERR_INIT;
    if (is_writing()) {
        assert_int_equal(fs_write_atomic(path, said, strlen(said), 0644, &e), 0);
        return;
    }
    cleanup_free char *expected = NULL;
    size_t length = 0;
    if (fs_read(path, 1 << 20, &expected, &length, &e) < 0)
        fail_msg("%s; PLIMSOLL_GOLDEN=write makes it", err_text(&e));
    if (strcmp(expected, said) != 0)
        fail_msg("%s: said\n%sbut expected\n%s", plan, said, expected);
}

static void assert_quick(const char *plan, const struct run *r)
{
    if (r->cpu_ms > MOST_CPU_MS)
        fail_msg("%s took %ld ms of processor time", plan, r->cpu_ms);
}

static void assert_refused(const char *plan, const struct run *r)
{
    if (r->status != 2)
        fail_msg("%s: exit code %d, said\n%s", plan, r->status, r->error);
    assert_string_equal(r->output, "");
    assert_string_not_equal(r->error, "");
    assert_quick(plan, r);
}

/* The first line behind FILE:LINE:. */
static char *reason_of(const char *said)
{
    const char *at = strchr(said, ' ');
    assert_non_null(at);
    return fs_path("%.*s", (int)strcspn(at, "\n"), at);
}

static void list_plans(const char *pattern, glob_t *ret)
{
    assert_int_equal(chdir(GOLDEN_DIR), 0);
    assert_int_equal(glob(pattern, 0, NULL, ret), 0);
}

static void every_bad_plan_is_refused_as_its_golden_file_says(void **state)
{
    (void)state;
    glob_t plans;
    list_plans("bad/*.plan", &plans);
    assert_true(plans.gl_pathc >= LEAST_BAD_PLANS);
    for (size_t i = 0; i < plans.gl_pathc; i++) {
        struct run r;
        run_check(plans.gl_pathv[i], &r);
        assert_refused(plans.gl_pathv[i], &r);
        compare_with_golden(plans.gl_pathv[i], r.error);
        run_clear(&r);
    }
    globfree(&plans);
}

static void every_bad_plan_fails_for_a_reason_of_its_own(void **state)
{
    (void)state;
    glob_t plans;
    list_plans("bad/*.plan", &plans);
    char **reasons = calloc(plans.gl_pathc, sizeof *reasons);
    assert_non_null(reasons);
    for (size_t i = 0; i < plans.gl_pathc; i++) {
        struct run r;
        run_check(plans.gl_pathv[i], &r);
        reasons[i] = reason_of(r.error);
        for (size_t j = 0; j < i; j++)
            if (strcmp(reasons[i], reasons[j]) == 0)
                fail_msg("%s and %s: %s", plans.gl_pathv[i], plans.gl_pathv[j], reasons[i]);
        run_clear(&r);
    }
    for (size_t i = 0; i < plans.gl_pathc; i++)
        free(reasons[i]);
    free(reasons);
    globfree(&plans);
}

static void every_error_of_a_text_names_file_and_line(void **state)
{
    (void)state;
    glob_t plans;
    list_plans("bad/*.plan", &plans);
    for (size_t i = 0; i < plans.gl_pathc; i++) {
        struct run r;
        run_check(plans.gl_pathv[i], &r);
        for (const char *line = r.error; *line; line = strchr(line, '\n') + 1) {
            const char *colon = strchr(line, ':');
            char *end = NULL;
            if (strncmp(line, "bad/", 4) != 0 || !colon || strtoul(colon + 1, &end, 10) == 0 ||
                strncmp(end, ": ", 2) != 0)
                fail_msg("%s: no FILE:LINE in\n%s", plans.gl_pathv[i], line);
        }
        run_clear(&r);
    }
    globfree(&plans);
}

static void every_good_plan_is_previewed_as_its_golden_file_says(void **state)
{
    (void)state;
    glob_t plans;
    list_plans("good/*.plan", &plans);
    for (size_t i = 0; i < plans.gl_pathc; i++) {
        struct run r;
        run_check(plans.gl_pathv[i], &r);
        if (r.status != 0)
            fail_msg("%s: exit code %d, said\n%s", plans.gl_pathv[i], r.status, r.error);
        compare_with_golden(plans.gl_pathv[i], r.output);
        run_clear(&r);
    }
    globfree(&plans);
}

static void every_plan_that_is_delivered_is_good(void **state)
{
    (void)state;
    glob_t plans;
    list_plans("../../plans/*.plan", &plans);
    for (size_t i = 0; i < plans.gl_pathc; i++) {
        struct run r;
        run_check(plans.gl_pathv[i], &r);
        if (r.status != 0 || *r.error)
            fail_msg("%s: exit code %d, said\n%s", plans.gl_pathv[i], r.status, r.error);
        run_clear(&r);
    }
    globfree(&plans);
}

/* ---- What cannot stand in a repository: made in a folder of its own ---- */

static int make_folder(void **state)
{
    char *folder = fs_path("/tmp/plimsoll-golden-XXXXXX");
    if (!mkdtemp(folder) || chdir(folder) < 0)
        return -1;
    *state = folder;
    return 0;
}

static int remove_folder(void **state)
{
    cleanup_free char *folder = *state;
    cleanup_err struct err e = ERR_INIT;
    return chdir("/") < 0 ? -1 : fs_remove_tree(folder, &e);
}

static void write_text(const char *path, const char *text, size_t length)
{
    cleanup_err struct err e = ERR_INIT;
    assert_int_equal(fs_write_atomic(path, text, length, 0644, &e), 0);
}

static void assert_says(const char *plan, const char *said)
{
    struct run r;
    run_check(plan, &r);
    assert_refused(plan, &r);
    assert_string_equal(r.error, said);
    run_clear(&r);
}

static void a_directory_is_no_plan(void **state)
{
    (void)state;
    assert_int_equal(mkdir("folder.plan", 0700), 0);
    assert_says("folder.plan", "folder.plan: is a directory; expected a plan file\n");
}

static void a_fifo_is_refused_and_never_waited_for(void **state)
{
    (void)state;
    assert_int_equal(mkfifo("fifo.plan", 0600), 0);
    assert_says("fifo.plan", "fifo.plan: is a FIFO; expected a plan file\n");
}

static void a_device_is_no_plan(void **state)
{
    (void)state;
    assert_says("/dev/zero", "/dev/zero: is no regular file; expected a plan file\n");
}

static void a_file_that_is_not_there_is_named(void **state)
{
    (void)state;
    assert_says("nothing.plan", "nothing.plan: No such file or directory\n");
}

static void a_hundred_megabytes_of_text_are_refused_by_their_size(void **state)
{
    (void)state;
    cleanup_free char *megabyte = malloc(1 << 20);
    assert_non_null(megabyte);
    for (size_t i = 0; i < 1 << 20; i += 16)
        memcpy(megabyte + i, "# a long comment", 16);
    cleanup_file FILE *f = fopen("huge.plan", "we");
    assert_non_null(f);
    for (int i = 0; i < HUGE_MB; i++)
        assert_int_equal(fwrite(megabyte, 1 << 20, 1, f), 1);
    assert_int_equal(fflush(f), 0);
    assert_says("huge.plan",
                "huge.plan: larger than 256 KiB; a plan, with what it includes, may have at "
                "most that\n");
}

static void lists_nested_20000_deep_are_refused_before_the_library_sees_them(void **state)
{
    (void)state;
    size_t length = 0;
    cleanup_free char *text = NULL;
    FILE *f = open_memstream(&text, &length);
    assert_non_null(f);
    fputs("guest = {\n  a = { memory = ", f);
    for (int i = 0; i < NESTED_LISTS; i++)
        fputc('(', f);
    for (int i = 0; i < NESTED_LISTS; i++)
        fputc(')', f);
    fputs(" }\n}\n", f);
    fclose(f);
    write_text("nested.plan", text, length);
    assert_says("nested.plan",
                "nested.plan:2: groups and lists nested deeper than 16; expected at most that\n");
}

static void binary_garbage_is_no_text(void **state)
{
    (void)state;
    char garbage[4096];
    uint32_t seed = 20150727;
    for (size_t i = 0; i < sizeof garbage; i++) {
        seed = seed * 1664525 + 1013904223;
        garbage[i] = (char)(seed >> 24);
    }
    memcpy(garbage,
           "\x7f"
           "ELF",
           4);
    write_text("binary.plan", garbage, sizeof garbage);
    assert_says("binary.plan",
                "binary.plan:1: byte 0x7f is no text; a plan or configuration is UTF-8 text\n");
}

static void a_nul_byte_does_not_end_the_reading(void **state)
{
    (void)state;
    static const char text[] = "# fine so far\nguest = { }\n\0 and more";
    write_text("nul.plan", text, sizeof text);
    assert_says("nul.plan",
                "nul.plan:3: byte 0x00 is no text; a plan or configuration is UTF-8 text\n");
}

static void an_include_through_a_link_to_elsewhere_is_refused_unopened(void **state)
{
    (void)state;
    static const char text[] = "\n@include \"innocent.inc\"\n";
    assert_int_equal(symlink("/etc/shadow", "innocent.inc"), 0);
    write_text("link.plan", text, strlen(text));
    assert_says("link.plan",
                "link.plan:2: @include of \"innocent.inc\" is refused: the link leads out "
                "of this file's folder\n");
}

static void an_include_of_a_fifo_is_refused_and_never_waited_for(void **state)
{
    (void)state;
    static const char text[] = "@include \"pipe.inc\"\n";
    assert_int_equal(mkfifo("pipe.inc", 0600), 0);
    write_text("pipe.plan", text, strlen(text));
    assert_says("pipe.plan", "pipe.inc: is a FIFO; expected a plan file\n");
}

static void an_include_of_a_directory_is_refused(void **state)
{
    (void)state;
    static const char text[] = "@include \"folder.inc\"\n";
    assert_int_equal(mkdir("folder.inc", 0700), 0);
    write_text("includes-folder.plan", text, strlen(text));
    assert_says("includes-folder.plan", "folder.inc: is a directory; expected a plan file\n");
}

/* Each file includes the next twice: 2^20 copies of the last one. */
static void includes_that_double_stop_at_the_limit(void **state)
{
    (void)state;
    for (int i = 0; i < 20; i++) {
        cleanup_free char *name = fs_path("%d.plan", i);
        cleanup_free char *text =
            fs_path("@include \"%d.plan\"\n@include \"%d.plan\"\n", i + 1, i + 1);
        write_text(name, text, strlen(text));
    }
    write_text("20.plan", "", 0);
    struct run r;
    run_check("0.plan", &r);
    assert_refused("0.plan", &r);
    assert_non_null(
        strstr(r.error, "too many @include; expected at most 256, 8 within one another"));
    run_clear(&r);
}

static void write_values(const char *path, int n)
{
    size_t length = 0;
    cleanup_free char *text = NULL;
    FILE *f = open_memstream(&text, &length);
    assert_non_null(f);
    for (int i = 0; i < n; i++)
        fprintf(f, "k%d=1\n", i);
    fclose(f);
    write_text(path, text, length);
}

static void a_plan_of_many_values_is_read_quickly(void **state)
{
    (void)state;
    struct run r;
    write_values("many.plan", 4990);
    run_check("many.plan", &r);
    assert_refused("many.plan", &r);
    assert_non_null(strstr(r.error, "and more errors, which are not shown\n"));
    run_clear(&r);
}

static void a_plan_of_too_many_values_is_not_read_at_all(void **state)
{
    (void)state;
    write_values("more.plan", 20000);
    assert_says("more.plan", "more.plan:5001: more than 5000 values; expected at most that\n");
}

int main(void)
{
    setenv("PLIMSOLL_STATE", GOLDEN_DIR "/good/state", 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_bad_plan_is_refused_as_its_golden_file_says),
        cmocka_unit_test(every_bad_plan_fails_for_a_reason_of_its_own),
        cmocka_unit_test(every_error_of_a_text_names_file_and_line),
        cmocka_unit_test(every_good_plan_is_previewed_as_its_golden_file_says),
        cmocka_unit_test(every_plan_that_is_delivered_is_good),
    };
    const struct CMUnitTest made[] = {
        cmocka_unit_test(a_directory_is_no_plan),
        cmocka_unit_test(a_fifo_is_refused_and_never_waited_for),
        cmocka_unit_test(a_device_is_no_plan),
        cmocka_unit_test(a_file_that_is_not_there_is_named),
        cmocka_unit_test(a_hundred_megabytes_of_text_are_refused_by_their_size),
        cmocka_unit_test(lists_nested_20000_deep_are_refused_before_the_library_sees_them),
        cmocka_unit_test(binary_garbage_is_no_text),
        cmocka_unit_test(a_nul_byte_does_not_end_the_reading),
        cmocka_unit_test(an_include_through_a_link_to_elsewhere_is_refused_unopened),
        cmocka_unit_test(an_include_of_a_fifo_is_refused_and_never_waited_for),
        cmocka_unit_test(an_include_of_a_directory_is_refused),
        cmocka_unit_test(includes_that_double_stop_at_the_limit),
        cmocka_unit_test(a_plan_of_many_values_is_read_quickly),
        cmocka_unit_test(a_plan_of_too_many_values_is_not_read_at_all),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    return failed + cmocka_run_group_tests(made, make_folder, remove_folder);
}
