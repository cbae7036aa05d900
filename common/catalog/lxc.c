/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "common/catalog/entries.h"

static const struct key_row keys[] = {
    CATALOG_KEY_CPUS,
    CATALOG_KEY_MEMORY("256MiB"),
    CATALOG_KEY_NETWORK,
    {0},
};

const struct catalog_entry catalog_lxc = {
    .kind = CATALOG_BACKEND,
    .name = "lxc",
    .help = "A full system in an LXC container: the image's init and everything it starts",
    .keys = keys,
    .needs_image = true,
    .expected_ns = 1500000000,
    .overhead_bytes = INT64_C(1) << 20,
    .ready_means = "the runner inside reported after the image's default target was reached",
};
