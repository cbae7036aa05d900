/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The entries one by one, for catalog.c; everybody else asks catalog_find. */
#ifndef COMMON_CATALOG_ENTRIES_H
#define COMMON_CATALOG_ENTRIES_H

#include "common/catalog/catalog.h"

extern const struct catalog_entry catalog_process;
extern const struct catalog_entry catalog_lxc_app;
extern const struct catalog_entry catalog_lxc;
extern const struct catalog_entry catalog_kvm;
extern const struct catalog_entry catalog_fake;
extern const struct catalog_entry catalog_startup;

#endif
