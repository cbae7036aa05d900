/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "common/catalog/entries.h"

static const struct key_row keys[] = {
    CATALOG_KEY_CPUS, CATALOG_KEY_MEMORY("256MiB"), CATALOG_KEY_NETWORK, CATALOG_KEY_COMMAND, {0},
};

const struct catalog_entry catalog_lxc_app = {
    .kind = CATALOG_BACKEND,
    .name = "lxc-app",
    .help = "One application in an LXC container of its own, without an init",
    .keys = keys,
    .single = true,
    .expected_ns = 250000000,
    .overhead_bytes = INT64_C(1) << 20,
    .needs_image = true,
    .ready_means =
        "the runner's first instruction in the container reported, before it executes the command",
};
