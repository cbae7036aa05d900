/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "coordinator/plan/plan.h"

#include "common/cleanup.h"
#include "proto/settings.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static const char *own_program;

/* Reads flat text; *ret is NULL where it is wrong. Returns the diagnostics as printed. */
static char *read_text(const char *text, Plimsoll__Plan **ret)
{
    struct plan_source source = {.text = (char *)text, .length = strlen(text)};
    struct plan_diagnostics d = {0};
    char *said = NULL;
    size_t length = 0;
    *ret = NULL;
    plan_read(&source, ret, &d);
    FILE *out = open_memstream(&said, &length);
    assert_non_null(out);
    plan_diagnostics_print(&d, out);
    fclose(out);
    plan_diagnostics_clear(&d);
    return said;
}

static Plimsoll__Plan *read_good(const char *text)
{
    Plimsoll__Plan *plan = NULL;
    cleanup_free char *said = read_text(text, &plan);
    if (!plan)
        fail_msg("%s", said);
    return plan;
}

static void free_plan(Plimsoll__Plan *plan)
{
    plimsoll__plan__free_unpacked(plan, NULL);
}

static void everything_has_a_default(void **state)
{
    (void)state;
    Plimsoll__Plan *p = read_good("guest = { vm = { backend = \"kvm\" } }\n"
                                  "experiment = { start = { } }");
    assert_int_equal(p->n_cells, 1);
    const Plimsoll__Cell *c = p->cells[0];
    assert_string_equal(c->experiment, "start");
    assert_string_equal(c->probe->plugin, "startup");
    assert_string_equal(c->guest->name, "vm");
    assert_string_equal(c->guest->plugin, "kvm");
    assert_int_equal(settings_integer(c->guest, "memory", 0), 1 << 30);
    assert_string_equal(settings_text(c->guest, "network"), "none");
    assert_int_equal(settings_list(c->guest, "devices")->n_item, 0);
    assert_string_equal(settings_text(c->image, "suite"), "bookworm");
    assert_true(settings_list(c->image, "mask")->n_item > 20);
    assert_int_equal(c->warmup, 1);
    assert_int_equal(plan_repeat(c, "tcg"), 10);
    assert_int_equal(c->deadline_ns, UINT64_C(180000000000));
    assert_true(p->random_order && !p->any_host && p->seed == 1);
    assert_string_equal(p->name, "plan");
    free_plan(p);
}

static void every_resolved_section_passes_the_check_of_whoever_receives_it(void **state)
{
    (void)state;
    Plimsoll__Plan *p = read_good(
        "guest = { a = { backend = \"process\" } b = { backend = \"lxc-app\" }\n"
        " c = { backend = \"lxc\" } d = { backend = \"kvm\" } e = { backend = \"fake\" } }\n"
        "experiment = { start = { } }");
    assert_int_equal(p->n_cells, 5);
    for (size_t i = 0; i < p->n_cells; i++) {
        cleanup_err struct err e = ERR_INIT;
        const Plimsoll__Cell *c = p->cells[i];
        const struct catalog_entry *backend = catalog_find(CATALOG_BACKEND, c->guest->plugin);
        assert_non_null(backend);
        if (settings_check(c->guest, backend->keys, &e) < 0)
            fail_msg("%s: %s", c->guest->name, err_text(&e));
        assert_int_equal(c->image != NULL, backend->needs_image);
        if (c->image && settings_check(c->image, catalog_image_keys, &e) < 0)
            fail_msg("%s: %s", c->image->name, err_text(&e));
    }
    free_plan(p);
}

static void factors_make_every_combination_once(void **state)
{
    (void)state;
    Plimsoll__Plan *p = read_good(
        "image = { d = { mask = ((), (\"a.timer\")) } }\n"
        "guest = { vm = { backend = \"kvm\"  memory = (\"1GiB\", \"2GiB\", \"3GiB\")\n"
        "  devices = ((), (\"video\"), (\"video\", \"usb\")) } f = { backend = \"fake\" } }\n"
        "experiment = { a = { guest = (\"vm\", \"f\") } b = { guest = \"f\" } }");
    assert_int_equal(p->n_cells, 3 * 3 * 2 + 1 + 1);
    for (size_t i = 0; i < p->n_cells; i++) {
        char words[128], other[128];
        assert_int_equal(p->cells[i]->index, i);
        plan_cell_words(p->cells[i], words);
        for (size_t j = 0; j < i; j++)
            if (strcmp(p->cells[i]->experiment, p->cells[j]->experiment) == 0)
                assert_string_not_equal(words, plan_cell_words(p->cells[j], other));
    }
    free_plan(p);
}

/* Agents offer and prepare by a section's name: two definitions may not share one. */
static void sections_with_factors_go_by_names_of_their_own(void **state)
{
    (void)state;
    Plimsoll__Plan *p =
        read_good("guest = { vm = { backend = \"kvm\"  accel = (\"kvm\", \"tcg\") } }\n"
                  "experiment = { a = { } }");
    assert_int_equal(p->n_cells, 2);
    assert_string_equal(p->cells[0]->guest->name, "vm accel=kvm");
    assert_string_equal(p->cells[1]->guest->name, "vm accel=tcg");
    assert_string_equal(p->cells[1]->factors[0]->value, "vm");
    free_plan(p);
}

static void repetitions_go_by_accelerator(void **state)
{
    (void)state;
    Plimsoll__Plan *p = read_good("guest = { f = { backend = \"fake\" } }\n"
                                  "experiment = { a = { repeat = { default = 20  tcg = 3 } } }");
    assert_int_equal(plan_repeat(p->cells[0], ""), 20);
    assert_int_equal(plan_repeat(p->cells[0], "kvm/intel"), 20);
    assert_int_equal(plan_repeat(p->cells[0], "kvm/pvm"), 20);
    assert_int_equal(plan_repeat(p->cells[0], "tcg"), 3);
    p->cells[0]->repeat->kvm = 10;
    assert_int_equal(plan_repeat(p->cells[0], "kvm/amd"), 10);
    assert_int_equal(plan_repeat(p->cells[0], "kvmish"), 20);
    free_plan(p);
}

static void references_are_in_base_units_and_checked_only_with_within(void **state)
{
    (void)state;
    Plimsoll__Plan *p = read_good(
        "guest = { f = { backend = \"fake\"  seed = (1, 2) } }\nexperiment = { a = { } }\n"
        "reference = { paper = ({ metric = \"start\"  seed = 2  value = \"208us\" },\n"
        "  { metric = \"start\"  seed = 1  value = \"0.2s\"  within = \"12.5%\" }) }");
    assert_int_equal(p->n_references, 2);
    assert_int_equal(p->references[0]->cell, 1);
    assert_true(p->references[0]->value > 207.999e-6 && p->references[0]->value < 208.001e-6);
    assert_false(p->references[0]->checked);
    assert_true(p->references[1]->checked);
    assert_true(p->references[1]->within > 0.1249 && p->references[1]->within < 0.1251);
    assert_string_equal(p->references[1]->set, "paper");
    free_plan(p);
}

static void a_text_never_opens_a_file(void **state)
{
    (void)state;
    Plimsoll__Plan *plan = NULL;
    cleanup_free char *said = read_text("\n@include \"/etc/hostname\"\n", &plan);
    assert_null(plan);
    assert_string_equal(said, "plan:2: @include is not taken here; expected a name\n");
}

static void diagnostics_name_the_file_a_line_came_from(void **state)
{
    (void)state;
    Plimsoll__LineOrigin a = PLIMSOLL__LINE_ORIGIN__INIT, b = PLIMSOLL__LINE_ORIGIN__INIT;
    a.flat_line = 1, a.file = (char *)"main.plan", a.line = 1;
    b.flat_line = 3, b.file = (char *)"part.inc", b.line = 7;
    Plimsoll__LineOrigin *origins[] = {&a, &b};
    char text[] = "guest = { f = { backend = \"fake\" } }\nexperimnt = { }\n\nhost = { }\n";
    struct plan_source source = {
        .text = text, .length = strlen(text), .origins = origins, .n_origins = 2};
    struct plan_diagnostics d = {0};
    Plimsoll__Plan *plan = NULL;
    assert_int_equal(plan_read(&source, &plan, &d), -1);
    bool in_main = false, in_part = false;
    for (size_t i = 0; i < d.n; i++) {
        in_main |= strcmp(d.items[i]->file, "main.plan") == 0 && d.items[i]->line == 2;
        in_part |= strcmp(d.items[i]->file, "part.inc") == 0 && d.items[i]->line == 8;
    }
    assert_true(in_main && in_part);
    plan_diagnostics_clear(&d);
}

static Plimsoll__PlanReading *read_in_child(const char *program, const char *text, struct err *e)
{
    Plimsoll__Submit submit = PLIMSOLL__SUBMIT__INIT;
    submit.plan = (char *)text;
    Plimsoll__PlanReading *reading = NULL;
    plan_read_in_child(program, &submit, &reading, e);
    return reading;
}

static void a_child_reads_as_its_parent_would(void **state)
{
    (void)state;
    cleanup_err struct err e = ERR_INIT;
    Plimsoll__PlanReading *r = read_in_child(
        own_program, "guest = { f = { backend = \"fake\" } }\nexperiment = { a = { } }", &e);
    if (!r)
        fail_msg("%s", err_text(&e));
    assert_non_null(r->plan);
    assert_int_equal(r->plan->n_cells, 1);
    assert_int_equal(r->n_diagnostics, 0);
    plimsoll__plan_reading__free_unpacked(r, NULL);
    r = read_in_child(own_program, "guest = { f = { backend = \"fakr\" } }", &e);
    assert_non_null(r);
    assert_null(r->plan);
    assert_true(r->n_diagnostics >= 2);
    plimsoll__plan_reading__free_unpacked(r, NULL);
}

static rlim_t hard_limit(int resource)
{
    struct rlimit limit;
    return getrlimit(resource, &limit) < 0 ? RLIM_INFINITY : limit.rlim_max;
}

/* With nothing to read the reader returns at once, under the limits that it gave itself. */
static int count_limits_missed(void)
{
    int missed = 0;
    if (close(STDIN_FILENO) < 0 || plan_read_child_main() != 1)
        return 1;
    missed += prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1;
    missed += hard_limit(RLIMIT_CPU) > 60;
    missed += hard_limit(RLIMIT_NOFILE) > 64;
    missed += hard_limit(RLIMIT_FSIZE) != 0;
    missed += hard_limit(RLIMIT_NPROC) != 0;
    missed += hard_limit(RLIMIT_CORE) != 0;
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    missed += hard_limit(RLIMIT_AS) > (rlim_t)1 << 30;
#endif
    return missed;
}

static void a_reader_of_plans_limits_itself_before_it_reads(void **state)
{
    (void)state;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0)
        _exit(count_limits_missed());
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

static void a_child_that_dies_is_an_error_and_not_a_crash(void **state)
{
    (void)state;
    cleanup_err struct err e = ERR_INIT;
    assert_null(read_in_child("/bin/false", "guest = { }", &e));
    assert_int_not_equal(e.code, ERR_NONE);
    assert_null(read_in_child("/nowhere/at/all", "guest = { }", &e));
    assert_int_equal(e.code, ERR_SYSTEM);
}

/* Each prefix of a good plan, and each with one byte changed, is taken or refused, and never more.
 */
static void no_damage_to_a_plan_does_more_than_refuse_it(void **state)
{
    (void)state;
    static const char good[] =
        "guest = { f = { backend = \"fake\" seed = (1, 2) } l = { backend = \"lxc-app\" "
        "command = (\"/bin/true\") } }\nexperiment = { a = { repeat = { kvm = 2 } } }\n"
        "reference = { p = ({ metric = \"start\" seed = 1 value = \"1s\" within = \"2%\" }) }\n";
    static const char bytes[] = "{}()[]=;,\"\\#/@\n\x01\xff*9-.L";
    for (size_t i = 0; i < sizeof good - 1; i++) {
        for (size_t j = 0; j < sizeof bytes; j++) {
            char text[sizeof good];
            memcpy(text, good, sizeof good);
            text[i] = bytes[j];
            Plimsoll__Plan *plan = NULL;
            cleanup_free char *said = read_text(text, &plan);
            assert_true(plan || *said);
            if (plan)
                free_plan(plan);
        }
    }
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "--read-plan") == 0)
        return plan_read_child_main();
    own_program = "/proc/self/exe";
    char path[4096];
    ssize_t n = readlink(own_program, path, sizeof path - 1);
    if (n > 0) {
        path[n] = '\0';
        own_program = path;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_has_a_default),
        cmocka_unit_test(every_resolved_section_passes_the_check_of_whoever_receives_it),
        cmocka_unit_test(factors_make_every_combination_once),
        cmocka_unit_test(sections_with_factors_go_by_names_of_their_own),
        cmocka_unit_test(repetitions_go_by_accelerator),
        cmocka_unit_test(references_are_in_base_units_and_checked_only_with_within),
        cmocka_unit_test(a_text_never_opens_a_file),
        cmocka_unit_test(diagnostics_name_the_file_a_line_came_from),
        cmocka_unit_test(a_child_reads_as_its_parent_would),
        cmocka_unit_test(a_reader_of_plans_limits_itself_before_it_reads),
        cmocka_unit_test(a_child_that_dies_is_an_error_and_not_a_crash),
        cmocka_unit_test(no_damage_to_a_plan_does_more_than_refuse_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
