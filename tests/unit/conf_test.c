/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "common/conf.h"

#include "common/cleanup.h"
#include "common/fs.h"
#include "common/libconf.h"
#include "common/value.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static const char *const colours[] = {"red", "green", NULL};

static const struct key_row rows[] = {
    {.name = "name", .type = KEY_NAME, .required = true},
    {.name = "colour", .type = KEY_CHOICE, .choices = colours, .fallback = "red"},
    {.name = "cpus", .type = KEY_INTEGER, .is_list = true, .least = 0, .most = 4095},
    {.name = "memory", .type = KEY_SIZE, .least = 1, .most = INT64_MAX, .fallback = "1GiB"},
    {.name = "wait", .type = KEY_DURATION, .least = 0, .most = INT64_MAX},
    {.name = "share", .type = KEY_REAL, .least = 0, .most = 1, .fallback = "0.5"},
    {.name = "bold", .type = KEY_FLAG, .fallback = "false"},
    {.name = "count", .type = KEY_INTEGER, .least = -5, .most = INT64_MAX},
    {0},
};

static char folder[] = "/tmp/plimsoll-conf-XXXXXX";

static int make_folder(void **state)
{
    (void)state;
    return mkdtemp(folder) && chdir(folder) == 0 ? 0 : -1;
}

static int remove_folder(void **state)
{
    (void)state;
    cleanup_err struct err e = ERR_INIT;
    return chdir("/") < 0 ? -1 : fs_remove_tree(folder, &e);
}

static void write_conf(const char *text)
{
    cleanup_err struct err e = ERR_INIT;
    assert_int_equal(fs_write_atomic("a.conf", text, strlen(text), 0600, &e), 0);
}

static void a_good_file_gives_its_values_and_the_rows_fallbacks(void **state)
{
    (void)state;
    cleanup_conf struct conf *c = NULL;
    cleanup_err struct err e = ERR_INIT;
    write_conf(
        "name = \"host-b\"\ncpus = (0, 3)\nwait = \"2.5ms\"; bold = true count = 5000000000\n");
    assert_int_equal(conf_load("a.conf", rows, &c, &e), 0);
    assert_string_equal(conf_text(c, "name"), "host-b");
    assert_string_equal(conf_text(c, "colour"), "red");
    assert_int_equal(conf_integer(c, "wait", 0), 2500000);
    assert_int_equal(conf_integer(c, "memory", 0), 1 << 30);
    assert_int_equal(conf_integer(c, "count", 0), INT64_C(5000000000));
    assert_true(conf_flag(c, "bold", false));
    assert_true(conf_real(c, "share", 0) > 0.49 && conf_real(c, "share", 0) < 0.51);
    size_t n;
    const char *const *cpus = conf_list(c, "cpus", &n);
    assert_int_equal(n, 2);
    assert_string_equal(cpus[1], "3");
}

static void an_absent_key_without_fallback_has_no_value(void **state)
{
    (void)state;
    cleanup_conf struct conf *c = NULL;
    cleanup_err struct err e = ERR_INIT;
    write_conf("name = \"a\"");
    assert_int_equal(conf_load("a.conf", rows, &c, &e), 0);
    size_t n = 7;
    assert_null(conf_list(c, "cpus", &n));
    assert_int_equal(n, 0);
    assert_int_equal(conf_integer(c, "wait", 11), 11);
    assert_false(conf_has(c, "count"));
    assert_true(conf_has(c, "memory"));
}

static void everything_wrong_is_told_with_its_line(void **state)
{
    (void)state;
    struct conf *c = NULL;
    cleanup_err struct err e = ERR_INIT;
    write_conf("nmae = \"a\"\nmemory = 3\n\ncolour = \"gren\"\nbold = 1\n");
    assert_int_equal(conf_load("a.conf", rows, &c, &e), -1);
    assert_null(c);
    assert_int_equal(e.code, ERR_INPUT);
    assert_string_equal(
        err_text(&e),
        "a.conf:1: unknown key `nmae`; did you mean `name`?\n"
        "a.conf:2: `memory`: 3 lacks its unit; expected a size as \"256MiB\"\n"
        "a.conf:4: `colour`: expected \"red\" or \"green\", found \"gren\"; did you mean "
        "\"green\"?\n"
        "a.conf:5: `bold`: expected true or false, found 1\n"
        "a.conf:1: `name` is missing; expected a name in quotes (a-z, 0-9, `.`, `_`, `-`)");
}

static void a_file_that_is_not_there_is_told_apart(void **state)
{
    (void)state;
    struct conf *c = NULL;
    cleanup_err struct err e = ERR_INIT;
    assert_int_equal(conf_load("nothing.conf", rows, &c, &e), -1);
    assert_int_equal(e.code, ERR_NOT_FOUND);
}

static void a_folder_and_a_fifo_are_no_configuration(void **state)
{
    (void)state;
    struct conf *c = NULL;
    cleanup_err struct err e = ERR_INIT;
    assert_int_equal(mkfifo("fifo.conf", 0600), 0);
    assert_int_equal(conf_load("fifo.conf", rows, &c, &e), -1);
    assert_int_equal(e.code, ERR_INPUT);
    assert_int_equal(conf_load(".", rows, &c, &e), -1);
    assert_int_equal(e.code, ERR_INPUT);
}

/* ---- The grammar in front of the library ---- */

static void assert_fault(const char *text, unsigned line, const char *words)
{
    config_t config;
    struct libconf_fault fault = {0};
    if (libconf_read(text, strlen(text), &config, &fault) == 0) {
        config_destroy(&config);
        fail_msg("taken: %s", text);
    }
    if (fault.line != line || !strstr(fault.text, words))
        fail_msg("%s: line %u: %s", text, fault.line, fault.text);
}

static void what_is_wrong_is_said_where_it_is(void **state)
{
    (void)state;
    assert_fault("a = 1\nb", 2, "expected `=` after `b`");
    assert_fault("a = {\nb = 1\n\n", 4, "expected `}` for the `{` of line 1");
    assert_fault("a = (1,\n2", 2, "expected `)` for line 1");
    assert_fault("a = 1\n= 2", 2, "expected a name");
    assert_fault("a = \"x\n\"", 1, "not closed");
    assert_fault("\n\na = @include \"x\"", 3, "@include is not taken here");
    assert_fault("a = 99999999999999999999", 1, "out of range");
    assert_fault("a = [1, \"b\"]", 1, "one type");
    assert_fault("a = [(1)]", 1, "plain value");
    assert_fault("a = 1.e", 1, "no number");
    assert_fault("a = 0x", 1, "no number");
    assert_fault("a = 1\n\na = 2", 3, "after line 1");
    assert_fault("a = { b = 1; c = { b = 2 }; b = 3 }", 1, "`b` stands here a second time");
    assert_fault("a = \xff", 1, "0xff is no text");
    assert_fault("# \xc3\x28", 1, "no text");
    assert_fault("# \xed\xa0\x80", 1, "no text");
    assert_fault("# \xc0\xaf", 1, "no text");
}

static int64_t integer_of(const char *text)
{
    config_t config;
    struct libconf_fault fault;
    if (libconf_read(text, strlen(text), &config, &fault) < 0)
        fail_msg("%s: %s", text, fault.text);
    int64_t value = config_setting_get_int64(config_lookup(&config, "a"));
    config_destroy(&config);
    return value;
}

static void no_integer_wraps(void **state)
{
    (void)state;
    assert_int_equal(integer_of("a = 2147483647"), INT32_MAX);
    assert_int_equal(integer_of("a = 2147483648"), INT64_C(2147483648));
    assert_int_equal(integer_of("a = -2147483648"), INT32_MIN);
    assert_int_equal(integer_of("a = -2147483649"), INT64_C(-2147483649));
    assert_int_equal(integer_of("a = 4294967297"), INT64_C(4294967297));
    assert_int_equal(integer_of("a = 9223372036854775807"), INT64_MAX);
    assert_int_equal(integer_of("a = 9223372036854775807L"), INT64_MAX);
    assert_int_equal(integer_of("a = 0xFFFFFFFF"), INT64_C(4294967295));
    assert_int_equal(integer_of("a = 0x7FFFFFFFFFFFFFFF"), INT64_MAX);
    assert_int_equal(integer_of("a = 010"), 10);
}

static void elements_have_the_lines_they_begin_on(void **state)
{
    (void)state;
    static const char text[] = "a = (\n  1,\n  \"b\"\n\n  \"c\",\n  { d = 1\n  e = 2 }\n)\nf = 1";
    config_t config;
    struct libconf_fault fault;
    assert_int_equal(libconf_read(text, strlen(text), &config, &fault), 0);
    assert_int_equal(config_lookup(&config, "a")->line, 1);
    assert_int_equal(config_lookup(&config, "a.[0]")->line, 2);
    assert_int_equal(config_lookup(&config, "a.[1]")->line, 3);
    assert_int_equal(config_lookup(&config, "a.[2]")->line, 6);
    assert_int_equal(config_lookup(&config, "a.[2].e")->line, 7);
    assert_int_equal(config_lookup(&config, "f")->line, 9);
    config_destroy(&config);
}

static void an_escape_brings_no_garbage_into_a_text(void **state)
{
    (void)state;
    static const struct key_row row = {.name = "a", .type = KEY_TEXT};
    static const struct {
        const char *text;
        bool good;
    } cases[] = {{"a = \"gr\xc3\xbcn\"", true}, {"a = \"gr\\xc3\\xbcn\"", true},
                 {"a = \"\\x1b[2J\"", false},   {"a = \"\\xff\"", false},
                 {"a = \"x\\xc3\"", false},     {"a = \"one\\ntwo\"", false}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        config_t config;
        struct libconf_fault fault;
        struct value v = {0};
        assert_int_equal(libconf_read(cases[i].text, strlen(cases[i].text), &config, &fault), 0);
        if ((value_read(config_lookup(&config, "a"), &row, &v, NULL) == 0) != cases[i].good)
            fail_msg("%s was %s", cases[i].text, cases[i].good ? "refused" : "taken");
        value_clear(&v);
        config_destroy(&config);
    }
}

static const char *nearest_to(const char *wanted)
{
    static const char *const candidates[] = {"memory", "network", "cpus", "command", "mask"};
    struct nearest near = {.wanted = wanted};
    for (size_t i = 0; i < sizeof candidates / sizeof *candidates; i++)
        nearest_offer(&near, candidates[i]);
    return near.found;
}

static void the_nearest_name_is_found_and_a_far_one_is_not(void **state)
{
    (void)state;
    assert_string_equal(nearest_to("memroy"), "memory");
    assert_string_equal(nearest_to("cpu"), "cpus");
    assert_string_equal(nearest_to("comand"), "command");
    assert_null(nearest_to("colour"));
    assert_null(nearest_to(""));
    assert_null(nearest_to("a-name-that-is-much-longer-than-any-key-could-ever-be"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_good_file_gives_its_values_and_the_rows_fallbacks),
        cmocka_unit_test(an_absent_key_without_fallback_has_no_value),
        cmocka_unit_test(everything_wrong_is_told_with_its_line),
        cmocka_unit_test(a_file_that_is_not_there_is_told_apart),
        cmocka_unit_test(a_folder_and_a_fifo_are_no_configuration),
        cmocka_unit_test(what_is_wrong_is_said_where_it_is),
        cmocka_unit_test(no_integer_wraps),
        cmocka_unit_test(elements_have_the_lines_they_begin_on),
        cmocka_unit_test(an_escape_brings_no_garbage_into_a_text),
        cmocka_unit_test(the_nearest_name_is_found_and_a_far_one_is_not),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
