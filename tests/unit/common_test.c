/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "common/accumulator.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/digest.h"
#include "common/err.h"
#include "common/fs.h"
#include "common/lexer.h"
#include "tests/cmocka_with_needs.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

static char folder[] = "/tmp/plimsoll-common-XXXXXX";

static int make_folder(void **state)
{
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    (void)state;
    return fs_remove_tree(folder, NULL);
}

static void an_error_reads_from_what_was_attempted_to_what_went_wrong(void **state)
{
    (void)state;
    cleanup_err struct err e = ERR_INIT;
    assert_int_equal(err_system(&e, ENOENT, "cannot open %s", "x"), -1);
    err_prefix(&e, "guest %d", 7);
    assert_string_equal(err_text(&e), "guest 7: cannot open x: No such file or directory");
    assert_int_equal(e.code, ERR_SYSTEM);
    assert_int_equal(e.errnum, ENOENT);
}

static void a_moved_error_leaves_nothing_behind(void **state)
{
    (void)state;
    cleanup_err struct err from = ERR_INIT, to = ERR_INIT;
    assert_int_equal(err_move(&to, &from), 0);
    err_set(&from, ERR_TIMEOUT, "late");
    assert_int_equal(err_move(&to, &from), -1);
    assert_int_equal(from.code, ERR_NONE);
    assert_int_equal(to.code, ERR_TIMEOUT);
    assert_string_equal(err_text(&to), "late");
}

static void an_error_number_of_a_library_is_told_as_a_number(void **state)
{
    (void)state;
    cleanup_err struct err e = ERR_INIT;
    err_system(&e, 156384765, "cannot send"); /* libzmq's ETERM */
    assert_string_equal(err_text(&e), "cannot send: error 156384765");
}

static void a_written_file_reads_back_whole(void **state)
{
    (void)state;
    cleanup_free char *path = fs_path("%s/whole", folder);
    char data[9000];
    memset(data, 'x', sizeof data);
    assert_int_equal(fs_write_atomic(path, data, sizeof data, 0600, NULL), 0);
    cleanup_free char *text = NULL;
    size_t length = 0;
    assert_int_equal(fs_read(path, sizeof data, &text, &length, NULL), 0);
    assert_int_equal(length, sizeof data);
    assert_memory_equal(text, data, sizeof data);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
}

static void a_file_above_the_bound_is_refused(void **state)
{
    (void)state;
    cleanup_free char *path = fs_path("%s/bound", folder);
    assert_int_equal(fs_write_atomic(path, "12345", 5, 0600, NULL), 0);
    char *text = NULL;
    size_t length = 0;
    cleanup_err struct err e = ERR_INIT;
    assert_int_equal(fs_read(path, 4, &text, &length, &e), -1);
    assert_int_equal(e.code, ERR_INPUT);
    assert_null(text);
}

static void a_fifo_and_a_folder_are_refused_at_once(void **state)
{
    (void)state;
    cleanup_free char *path = fs_path("%s/fifo", folder);
    assert_int_equal(mkfifo(path, 0600), 0);
    char *text = NULL;
    size_t length = 0;
    cleanup_err struct err e = ERR_INIT;
    assert_int_equal(fs_read(path, 100, &text, &length, &e), -1);
    assert_int_equal(e.code, ERR_INPUT);
    assert_int_equal(fs_read(folder, 100, &text, &length, &e), -1);
    assert_int_equal(e.code, ERR_INPUT);
}

static void removing_a_tree_spares_what_its_links_point_to(void **state)
{
    (void)state;
    cleanup_free char *kept = fs_path("%s/kept", folder);
    cleanup_free char *tree = fs_path("%s/tree/a/b", folder);
    cleanup_free char *top = fs_path("%s/tree", folder);
    cleanup_free char *link_path = fs_path("%s/tree/a/link", folder);
    assert_int_equal(fs_write_atomic(kept, "k", 1, 0600, NULL), 0);
    assert_int_equal(fs_make_dirs(tree, 0700, NULL), 0);
    assert_int_equal(symlink(kept, link_path), 0);
    assert_int_equal(fs_remove_tree(top, NULL), 0);
    assert_false(fs_exists(top));
    assert_true(fs_exists(kept));
    assert_int_equal(fs_remove_tree(top, NULL), 0);
}

static void make_chain(const char *top, int depth)
{
    assert_int_equal(mkdir(top, 0700), 0);
    int at = open(top, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (int i = 0; i < depth; i++) {
        /* The names that a removal gives, so that they are taken where it wants one. */
        const char *name = i % 2 ? "deep-0" : "deep-1";
        assert_int_equal(mkdirat(at, name, 0700), 0);
        int below = openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        assert_true(below >= 0);
        close(at);
        at = below;
    }
    close(at);
}

static void a_tree_deeper_than_descriptors_last_is_removed(void **state)
{
    (void)state;
    cleanup_free char *top = fs_path("%s/chain", folder);
    make_chain(top, 2000);
    struct rlimit usual;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &usual), 0);
    struct rlimit few = {.rlim_cur = 100, .rlim_max = usual.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    cleanup_err struct err e = ERR_INIT;
    int failed = fs_remove_tree(top, &e);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &usual), 0);
    assert_string_equal(err_text(&e), "no error");
    assert_int_equal(failed, 0);
    assert_false(fs_exists(top));
}

static void a_folder_without_a_name_is_refused(void **state)
{
    (void)state;
    cleanup_err struct err e = ERR_INIT;
    assert_int_equal(fs_make_dirs("", 0700, &e), -1);
    assert_int_equal(e.code, ERR_INPUT);
}

static void a_folder_cannot_be_made_where_a_file_stands(void **state)
{
    (void)state;
    cleanup_free char *path = fs_path("%s/plain", folder);
    assert_int_equal(fs_write_atomic(path, "", 0, 0600, NULL), 0);
    cleanup_err struct err e = ERR_INIT;
    assert_int_equal(fs_make_dirs(path, 0700, &e), -1);
    assert_int_equal(e.errnum, ENOTDIR);
}

/* FIPS 180-2, appendix B.1. */
static void sha256_of_abc_is_the_published_one(void **state)
{
    (void)state;
    const char *published =
        "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    char text[DIGEST_TEXT_BYTES];
    digest_bytes("abc", 3, text);
    assert_string_equal(text, published);
    cleanup_free char *path = fs_path("%s/abc", folder);
    assert_int_equal(fs_write_atomic(path, "abc", 3, 0600, NULL), 0);
    memset(text, 0, sizeof text);
    assert_int_equal(digest_file(path, text, NULL), 0);
    assert_string_equal(text, published);
}

static void variance_survives_a_large_offset(void **state)
{
    (void)state;
    struct accumulator a = {0};
    const double values[] = {1e9 + 4, 1e9 + 7, 1e9 + 13, 1e9 + 16};
    for (size_t i = 0; i < 4; i++)
        accumulator_add(&a, values[i]);
    assert_true(fabs(a.mean - (1e9 + 10)) < 1e-6);
    assert_true(fabs(accumulator_sd(&a) - sqrt(30)) < 1e-9);
    assert_true(a.least == 1e9 + 4 && a.most == 1e9 + 16);
}

static void one_value_has_no_deviation(void **state)
{
    (void)state;
    struct accumulator a = {0};
    accumulator_add(&a, 3);
    assert_true(isnan(accumulator_sd(&a)));
}

static void a_deadline_rounds_up_so_that_nobody_wakes_too_early(void **state)
{
    (void)state;
    assert_int_equal(clock_poll_ms(0), -1);
    assert_int_equal(clock_poll_ms(1), 0);
    int left_ms = clock_poll_ms(clock_monotonic_ns() + 10 * NS_PER_S);
    assert_in_range(left_ms, 9000, 10000);
    assert_int_equal(clock_poll_ms(INT64_MAX), 3600 * 1000);
}

static void a_text_that_was_cut_ends_with_a_whole_character(void **state)
{
    (void)state;
    static const char euro[] = "a\xe2\x82\xac";
    static const char *const expected[] = {"", "a", "a", "a", euro};
    for (size_t n = 0; n < sizeof euro; n++) {
        char text[sizeof euro] = "";
        memcpy(text, euro, n);
        utf8_trim(text);
        assert_string_equal(text, expected[n]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_error_reads_from_what_was_attempted_to_what_went_wrong),
        cmocka_unit_test(a_moved_error_leaves_nothing_behind),
        cmocka_unit_test(an_error_number_of_a_library_is_told_as_a_number),
        cmocka_unit_test(a_written_file_reads_back_whole),
        cmocka_unit_test(a_file_above_the_bound_is_refused),
        cmocka_unit_test(a_fifo_and_a_folder_are_refused_at_once),
        cmocka_unit_test(removing_a_tree_spares_what_its_links_point_to),
        cmocka_unit_test(a_tree_deeper_than_descriptors_last_is_removed),
        cmocka_unit_test(a_folder_without_a_name_is_refused),
        cmocka_unit_test(a_folder_cannot_be_made_where_a_file_stands),
        cmocka_unit_test(sha256_of_abc_is_the_published_one),
        cmocka_unit_test(variance_survives_a_large_offset),
        cmocka_unit_test(one_value_has_no_deviation),
        cmocka_unit_test(a_text_that_was_cut_ends_with_a_whole_character),
        cmocka_unit_test(a_deadline_rounds_up_so_that_nobody_wakes_too_early),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
