/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agent/host/facts.h"

#include "common/clock.h"
#include "common/fs.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The first line at `at` or below that begins with `key`; NULL without one. */
static const char *find_line(const char *at, const char *key)
{
    size_t length = strlen(key);
    while (at && strncmp(at, key, length) != 0) {
        at = strchr(at, '\n');
        at = at ? at + 1 : NULL;
    }
    return at;
}

static const char *next_line(const char *at)
{
    const char *newline = strchr(at, '\n');
    return newline ? newline + 1 : NULL;
}

char *facts_colon_value(const char *text, const char *key)
{
    for (const char *line = text; line && (line = find_line(line, key)); line = next_line(line)) {
        const char *at = line + strlen(key);
        at += strspn(at, " \t");
        if (*at != ':')
            continue;
        at++;
        at += strspn(at, " \t");
        return fs_path("%.*s", (int)strcspn(at, "\n"), at);
    }
    return NULL;
}

long facts_count_lines(const char *text, const char *key)
{
    long n = 0;
    for (const char *line = text; line && (line = find_line(line, key)); line = next_line(line))
        n++;
    return n;
}

char *facts_chosen(char *text)
{
    char *open = strchr(text, '[');
    char *close = open ? strchr(open, ']') : NULL;
    if (!close)
        return text;
    *close = '\0';
    return open + 1;
}

char *facts_memory(const char *meminfo)
{
    const long step_kib = 64L << 10;
    char *total = facts_colon_value(meminfo, "MemTotal");
    long kib = total ? strtol(total, NULL, 10) : 0;
    free(total);
    return kib > 0 && kib < LONG_MAX - step_kib
               ? fs_path("%ldMiB", (kib + step_kib / 2) / step_kib * 64)
               : NULL;
}

static bool changes_measurements(const char *word)
{
    static const char *const beginnings[] = {"mitigations=",
                                             "isolcpus=",
                                             "nohz",
                                             "rcu_nocbs=",
                                             "idle=",
                                             "processor.",
                                             "intel_",
                                             "amd_",
                                             "hugepages=",
                                             "transparent_hugepage=",
                                             NULL};
    for (const char *const *b = beginnings; *b; b++)
        if (strncmp(word, *b, strlen(*b)) == 0)
            return true;
    return false;
}

char *facts_boot_settings(const char *command_line)
{
    char kept[512] = "";
    size_t used = 0;
    char *words = fs_path("%s", command_line);
    char *rest = NULL;
    for (char *word = strtok_r(words, " ", &rest); word; word = strtok_r(NULL, " ", &rest))
        if (changes_measurements(word) && used + strlen(word) + 2 < sizeof kept)
            used +=
                (size_t)snprintf(kept + used, sizeof kept - used, "%s%s", used ? " " : "", word);
    free(words);
    return used ? fs_path("%s", kept) : NULL;
}

char *facts_distribution(const char *os_release)
{
    static const char key[] = "PRETTY_NAME=";
    const char *name = find_line(os_release, key);
    if (!name)
        return NULL;
    name += sizeof key - 1;
    name += *name == '"';
    return fs_path("%.*s", (int)strcspn(name, "\"\n"), name);
}

/* ID PARENT DEV ROOT MOUNT OPTIONS [TAG...] - TYPE SOURCE SUPEROPTIONS */
bool facts_cgroup_mount(const char *line, struct facts_cgroup_mount *ret)
{
    char type[32];
    const char *dash = strstr(line, " - ");
    if (!dash || sscanf(line, "%*s %*s %*s %*s %1023s", ret->mount) != 1 ||
        sscanf(dash + 3, "%31s %*s %255s", type, ret->options) != 2)
        return false;
    ret->v2 = strcmp(type, "cgroup2") == 0;
    return ret->v2 || strcmp(type, "cgroup") == 0;
}

/* A whole number of at most INT64_MAX; moves *at behind it. */
static bool take_count(const char **at, int64_t *ret)
{
    char *end = NULL;
    const char *digits = *at + strspn(*at, " \t");
    if (!isdigit((unsigned char)*digits))
        return false;
    errno = 0;
    *ret = strtoll(digits, &end, 10);
    *at = end;
    return errno == 0;
}

/* "cpu  user nice system idle iowait irq softirq steal ...", proc(5). A guest's time is counted in
 * user and nice already. */
bool facts_host_time(const char *stat, int64_t tick_ns, int64_t *ret_busy_ns, int64_t *ret_steal_ns)
{
    enum { USER, NICE, SYSTEM, IDLE, IOWAIT, IRQ, SOFTIRQ, STEAL, FIELDS };
    int64_t ticks[FIELDS];
    if (strncmp(stat, "cpu ", 4) != 0)
        return false;
    const char *at = stat + 4;
    for (int i = 0; i < FIELDS; i++)
        if (!take_count(&at, &ticks[i]))
            return false;
    int64_t busy = ticks[USER], steal = 0;
    if (__builtin_add_overflow(busy, ticks[NICE], &busy) ||
        __builtin_add_overflow(busy, ticks[SYSTEM], &busy) ||
        __builtin_add_overflow(busy, ticks[IRQ], &busy) ||
        __builtin_add_overflow(busy, ticks[SOFTIRQ], &busy) ||
        __builtin_mul_overflow(busy, tick_ns, &busy) ||
        __builtin_mul_overflow(ticks[STEAL], tick_ns, &steal))
        return false;
    *ret_busy_ns = busy;
    *ret_steal_ns = steal;
    return true;
}

bool facts_cgroup_time(const char *text, bool v2, int64_t *ret_ns)
{
    static const char key[] = "usage_usec ";
    const char *at = v2 ? find_line(text, key) : text;
    int64_t value = 0;
    if (!at)
        return false;
    at += v2 ? sizeof key - 1 : 0;
    if (!take_count(&at, &value) || __builtin_mul_overflow(value, v2 ? NS_PER_US : 1, &value))
        return false;
    *ret_ns = value;
    return true;
}
