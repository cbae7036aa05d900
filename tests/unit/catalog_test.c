/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "common/catalog/catalog.h"

#include "common/value.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const struct key_row *const fixed_sections[] = {
    catalog_campaign_keys, catalog_image_keys,      catalog_guest_keys,
    catalog_workload_keys, catalog_experiment_keys, catalog_repeat_keys,
    catalog_design_keys,   catalog_hosts_keys,      catalog_reference_keys,
};
enum { N_SECTIONS = sizeof fixed_sections / sizeof *fixed_sections };

typedef void check_rows(const char *where, const struct key_row *rows);

static void for_all_rows(check_rows *check)
{
    for (size_t i = 0; i < N_SECTIONS; i++)
        check("a fixed section", fixed_sections[i]);
    for (const struct catalog_entry *const *e = catalog_entries(); *e; e++)
        check((*e)->name, (*e)->keys);
}

static void check_fallbacks(const char *where, const struct key_row *rows)
{
    (void)where;
    for (; rows->name; rows++) {
        if (!rows->fallback)
            continue;
        struct value v;
        value_fallback(rows, &v); /* aborts where it breaks its own row's rule */
        value_clear(&v);
    }
}

static void every_fallback_obeys_its_own_row(void **state)
{
    (void)state;
    for_all_rows(check_fallbacks);
}

static bool is_bounded(const struct key_row *row)
{
    bool counts = row->type == KEY_INTEGER || row->type == KEY_REAL || row->type == KEY_SIZE ||
                  row->type == KEY_DURATION;
    return !counts || row->most > row->least || (row->most == 1 && row->least == 1);
}

static void check_row(const char *where, const struct key_row *row)
{
    if (!name_is_good(row->name) || strlen(row->name) > 40)
        fail_msg("%s: `%s` is no name for a key", where, row->name);
    if (!row->help || row->help[strlen(row->help) - 1] == '.')
        fail_msg("%s: `%s` has no help, or its full stop", where, row->name);
    if (!is_bounded(row))
        fail_msg("%s: `%s` has no bounds", where, row->name);
    if ((row->type == KEY_CHOICE) != (row->choices != NULL))
        fail_msg("%s: `%s`: choices and type disagree", where, row->name);
    if (row->host_memory && row->type != KEY_SIZE)
        fail_msg("%s: `%s` is no size of memory", where, row->name);
    if (row->required && row->fallback)
        fail_msg("%s: `%s` is required and has a fallback", where, row->name);
}

static void check_table(const char *where, const struct key_row *rows)
{
    for (const struct key_row *row = rows; row->name; row++) {
        check_row(where, row);
        if (key_row_find(rows, row->name) != row)
            fail_msg("%s: `%s` stands twice", where, row->name);
    }
}

static void every_row_is_complete_and_stands_once(void **state)
{
    (void)state;
    for_all_rows(check_table);
}

/* A reference names a cell by bare key names, so one name means one key. */
static void no_key_of_a_plug_in_hides_one_of_another_section(void **state)
{
    (void)state;
    for (const struct catalog_entry *const *e = catalog_entries(); *e; e++)
        for (const struct key_row *row = (*e)->keys; row->name; row++)
            for (size_t i = 1; i < N_SECTIONS; i++)
                if (fixed_sections[i] != catalog_repeat_keys &&
                    fixed_sections[i] != catalog_design_keys &&
                    key_row_find(fixed_sections[i], row->name))
                    fail_msg("%s: `%s` is a fixed section's key too", (*e)->name, row->name);
}

static void every_entry_is_found_by_kind_and_name(void **state)
{
    (void)state;
    for (const struct catalog_entry *const *e = catalog_entries(); *e; e++) {
        assert_ptr_equal(catalog_find((*e)->kind, (*e)->name), *e);
        assert_true(name_is_good((*e)->name));
        assert_non_null((*e)->help);
    }
    assert_null(catalog_find(CATALOG_BACKEND, "docker"));
    assert_null(catalog_find(CATALOG_PROBE, "kvm"));
}

static void every_backend_says_what_ready_means_and_every_probe_what_it_measures(void **state)
{
    (void)state;
    for (const struct catalog_entry *const *e = catalog_entries(); *e; e++) {
        if ((*e)->kind == CATALOG_BACKEND) {
            assert_non_null((*e)->ready_means);
            assert_true((*e)->expected_ns > 0);
            if ((*e)->accelerator_key)
                assert_non_null(key_row_find((*e)->keys, (*e)->accelerator_key));
        }
        if ((*e)->kind == CATALOG_PROBE) {
            assert_non_null((*e)->metrics);
            for (const struct metric_row *m = (*e)->metrics; m->name; m++)
                assert_true(name_is_good(m->name) && m->unit && m->help);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_fallback_obeys_its_own_row),
        cmocka_unit_test(every_row_is_complete_and_stands_once),
        cmocka_unit_test(no_key_of_a_plug_in_hides_one_of_another_section),
        cmocka_unit_test(every_entry_is_found_by_kind_and_name),
        cmocka_unit_test(every_backend_says_what_ready_means_and_every_probe_what_it_measures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
