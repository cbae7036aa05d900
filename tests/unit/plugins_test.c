/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The catalog's entries and the operations that the agent has for them, held 1:1. */
#include "agent/guest/guest.h"
#include "agent/probe/probe.h"
#include "common/catalog/catalog.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#ifndef HAVE_LXC
#define HAVE_LXC 0
#endif
#ifndef HAVE_KVM
#define HAVE_KVM 0
#endif

/* Where its library is missing a backend drops out of the build, and of nothing else. */
static bool is_in_this_build(const char *backend)
{
    if (strncmp(backend, "lxc", 3) == 0)
        return HAVE_LXC;
    return strcmp(backend, "kvm") != 0 || HAVE_KVM;
}

static void every_backend_of_the_catalog_has_operations(void **state)
{
    (void)state;
    for (const struct catalog_entry *const *e = catalog_entries(); *e; e++) {
        if ((*e)->kind != CATALOG_BACKEND || !is_in_this_build((*e)->name))
            continue;
        const struct guest_ops *ops = guest_backend_find((*e)->name);
        if (!ops)
            fail_msg("the backend `%s` has no operations", (*e)->name);
        assert_ptr_equal(ops->catalog, *e);
    }
}

static void every_operations_table_stands_in_the_catalog_once(void **state)
{
    (void)state;
    for (const struct guest_ops *const *ops = guest_backends(); *ops; ops++) {
        const struct catalog_entry *entry = (*ops)->catalog;
        assert_int_equal(entry->kind, CATALOG_BACKEND);
        assert_ptr_equal(catalog_find(CATALOG_BACKEND, entry->name), entry);
        assert_ptr_equal(guest_backend_find(entry->name), *ops);
        assert_true(is_in_this_build(entry->name));
    }
}

static void every_backend_has_the_operations_that_cannot_be_left_out(void **state)
{
    (void)state;
    for (const struct guest_ops *const *ops = guest_backends(); *ops; ops++) {
        assert_non_null((*ops)->check_host);
        assert_non_null((*ops)->prepare);
        assert_non_null((*ops)->create);
        assert_non_null((*ops)->start);
        assert_non_null((*ops)->stop);
        assert_non_null((*ops)->destroy);
        assert_non_null((*ops)->sweep);
    }
}

static void probes_and_their_entries_are_the_same_set(void **state)
{
    (void)state;
    size_t in_catalog = 0, in_agent = 0;
    for (const struct catalog_entry *const *e = catalog_entries(); *e; e++) {
        if ((*e)->kind != CATALOG_PROBE)
            continue;
        in_catalog++;
        const struct probe_ops *ops = probe_find((*e)->name);
        if (!ops)
            fail_msg("the probe `%s` has no operations", (*e)->name);
        assert_ptr_equal(ops->catalog, *e);
    }
    for (const struct probe_ops *const *ops = probe_list(); *ops; ops++)
        in_agent++;
    assert_int_equal(in_catalog, in_agent);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_backend_of_the_catalog_has_operations),
        cmocka_unit_test(every_operations_table_stands_in_the_catalog_once),
        cmocka_unit_test(every_backend_has_the_operations_that_cannot_be_left_out),
        cmocka_unit_test(probes_and_their_entries_are_the_same_set),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
