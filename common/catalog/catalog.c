/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "common/catalog/catalog.h"

#include "common/catalog/entries.h"

#include <string.h>

/* In the order of the documentation: from the lightest backend to the heaviest. */
static const struct catalog_entry *const entries[] = {
    &catalog_process, &catalog_lxc_app, &catalog_lxc, &catalog_kvm,
    &catalog_fake,    &catalog_startup, NULL,
};

const char *const catalog_network_choices[] = {"none", "bridge", NULL};

const struct catalog_entry *const *catalog_entries(void)
{
    return entries;
}

const struct catalog_entry *catalog_find(enum catalog_kind kind, const char *name)
{
    for (const struct catalog_entry *const *entry = entries; *entry; entry++)
        if ((*entry)->kind == kind && strcmp((*entry)->name, name) == 0)
            return *entry;
    return NULL;
}
