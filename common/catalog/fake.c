/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "common/catalog/entries.h"

static const char *const steps[] = {"never", "check", "prepare", "create",  "start",
                                    "ready", "exec",  "stop",    "destroy", NULL};
static const char *const manners[] = {"error", "hang", "die", NULL};

static const struct key_row keys[] = {
    CATALOG_KEY_CPUS,
    {.name = "ready_after",
     .type = KEY_DURATION,
     .least = 0,
     .most = INT64_C(3600000000000),
     .fallback = "1ms",
     .help = "Time from start to ready"},
    {.name = "jitter",
     .type = KEY_DURATION,
     .least = 0,
     .most = INT64_C(3600000000000),
     .fallback = "0s",
     .help = "Longest time, drawn evenly from the seed, that is added to ready_after"},
    {.name = "seed",
     .type = KEY_INTEGER,
     .least = 0,
     .most = INT64_MAX,
     .fallback = "1",
     .help = "What jitter is drawn from, together with the guest's serial number"},
    {.name = "fail_at",
     .type = KEY_CHOICE,
     .choices = steps,
     .fallback = "never",
     .help = "The operation that fails; check makes the guest not available"},
    {.name = "fail_how",
     .type = KEY_CHOICE,
     .choices = manners,
     .fallback = "error",
     .help = "Return an error, hang until cancelled or out of time, or let the guest die"},
    {.name = "fail_times",
     .type = KEY_INTEGER,
     .least = 0,
     .most = 1000000,
     .fallback = "0",
     .help = "Guests of one agent that fail before the next succeed; 0 is all of them"},
    {0},
};

const struct catalog_entry catalog_fake = {
    .kind = CATALOG_BACKEND,
    .name = "fake",
    .help = "No guest at all, but scripted delays and failures, for tests of everything else",
    .keys = keys,
    .expected_ns = 5000000,
    .ready_means = "the scripted delay passed",
};
