/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What a host's kernel may say of itself: fingerprints and counters of processor time are made of
 * it. */
#include "agent/host/facts.h"
#include "common/cleanup.h"
#include "common/fs.h"
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

static void want(bool holds)
{
    if (!holds)
        abort();
}

/* One line, and nothing that the text does not say. */
static void check_told(char *told, const char *text)
{
    want(!told || (!strchr(told, '\n') && strstr(text, told)));
    free(told);
}

static void check_words(const char *text)
{
    check_told(facts_colon_value(text, "model"), text);
    check_told(facts_colon_value(text, "MemTotal"), text);
    check_told(facts_distribution(text), text);
    want(facts_count_lines(text, "processor") <= (long)strlen(text) / 9);
    cleanup_free char *memory = facts_memory(text);
    want(!memory || strtol(memory, NULL, 10) % 64 == 0);
    cleanup_free char *settings = facts_boot_settings(text);
    want(!settings || strlen(settings) < 512);
    cleanup_free char *copy = fs_path("%s", text);
    const char *chosen = facts_chosen(copy);
    want(chosen >= copy && strlen(chosen) <= strlen(text));
}

static void check_numbers(const char *text)
{
    int64_t busy_ns = 0, steal_ns = 0, used_ns = 0;
    facts_host_time(text, 10000000, &busy_ns, &steal_ns);
    facts_cgroup_time(text, false, &used_ns);
    want(busy_ns >= 0 && steal_ns >= 0 && used_ns >= 0);
    facts_cgroup_time(text, true, &used_ns);
    want(used_ns >= 0);
    struct facts_cgroup_mount m;
    if (facts_cgroup_mount(text, &m))
        want(strlen(m.mount) > 0 && strlen(m.options) > 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length)
{
    char *text = malloc(length + 1);
    if (length > 0)
        memcpy(text, data, length);
    text[length] = '\0';
    check_words(text);
    check_numbers(text);
    free(text);
    return 0;
}
