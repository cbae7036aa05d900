/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "common/catalog/entries.h"

static const struct key_row keys[] = {
    CATALOG_KEY_CPUS,
    CATALOG_KEY_MEMORY("256MiB"),
    CATALOG_KEY_COMMAND,
    {0},
};

const struct catalog_entry catalog_process = {
    .kind = CATALOG_BACKEND,
    .name = "process",
    .help =
        "A process of the host itself, chrooted into the image, as an unprivileged user; an agent "
        "runs it only where its configuration allows that",
    .keys = keys,
    .single = true,
    .expected_ns = 20000000,
    .overhead_bytes = INT64_C(1) << 20,
    .needs_image = true,
    .ready_means =
        "the runner's first instruction in the process reported, before it executes the command",
};
