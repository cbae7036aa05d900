/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "common/catalog/entries.h"

static const struct key_row keys[] = {{0}};

static const struct metric_row metrics[] = {
    {"start", "s", METRIC_LOWER_IS_BETTER, "Request to ready"},
    {"created", "s", METRIC_LOWER_IS_BETTER,
     "Request until the guest's objects exist (VMs: the paused start)"},
    {"started", "s", METRIC_LOWER_IS_BETTER,
     "Request until the first guest process or virtual processor may run"},
    {"kernel", "s", METRIC_LOWER_IS_BETTER, "Request to the first instruction of the initrd (VMs)"},
    {"init", "s", METRIC_LOWER_IS_BETTER,
     "Request until just before init is executed (full systems)"},
    {"stamper_delay", "s", METRIC_NEITHER,
     "Time in the window that the stamping thread was runnable and did not run"},
    {"agent_cpu", "s", METRIC_NEITHER, "Processor time of the agent in the window"},
    {"other_cpu", "s", METRIC_NEITHER,
     "Processor time in the window that was neither the guest's nor the agent's"},
    {"steal", "s", METRIC_NEITHER, "Processor time in the window that the host itself was denied"},
    {"canary_before", "s", METRIC_NEITHER, "A short fixed spin before the trial"},
    {"canary_after", "s", METRIC_NEITHER, "The same spin after it"},
    {0},
};

const struct catalog_entry catalog_startup = {
    .kind = CATALOG_PROBE,
    .name = "startup",
    .help =
        "How long a guest takes from the request to ready, and through which phases; nothing else "
        "runs meanwhile",
    .keys = keys,
    .metrics = metrics,
};
