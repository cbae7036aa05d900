/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What a host is, as facts. Those that change what is measured must match between hosts that are to
 * be called identical; those that may explain a difference should; the rest is told for people. A
 * fact that cannot be read is "unknown", software that is not installed is "absent": both are
 * facts.
 */
#include "agent/host/host.h"

#include "agent/host/cgroup.h"
#include "agent/host/facts.h"
#include "agent/host/tool.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/fs.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

enum { FINGERPRINT_SCHEMA = 1, MOST_FACTS = 48 };
#define TOOLS_DEADLINE_NS (2 * NS_PER_S)

static char *copy_text(const char *text)
{
    char *copy = strdup(text);
    if (!copy)
        abort();
    return copy;
}

static void add(Plimsoll__Fingerprint *f, Plimsoll__Tier tier, const char *key, const char *value)
{
    if (f->n_facts == MOST_FACTS)
        abort();
    Plimsoll__Fact *fact = malloc(sizeof *fact);
    if (!fact)
        abort();
    plimsoll__fact__init(fact);
    fact->key = copy_text(key);
    fact->value = copy_text(value && *value ? value : "unknown");
    fact->tier = tier;
    f->facts[f->n_facts++] = fact;
}

static void add_number(Plimsoll__Fingerprint *f, Plimsoll__Tier tier, const char *key, long value)
{
    char text[32];
    snprintf(text, sizeof text, "%ld", value);
    add(f, tier, key, text);
}

static void add_file(Plimsoll__Fingerprint *f, Plimsoll__Tier tier, const char *key,
                     const char *path)
{
    cleanup_free char *text = NULL;
    if (fs_read_kernel(path, &text, NULL) < 0)
        add(f, tier, key, "absent");
    else
        add(f, tier, key, facts_chosen(text));
}

static void add_from(Plimsoll__Fingerprint *f, Plimsoll__Tier tier, const char *key,
                     const char *text, const char *line)
{
    cleanup_free char *value = facts_colon_value(text, line);
    add(f, tier, key, value);
}

/* /proc/cpuinfo outgrows a page of /proc quickly: a core's block is 1.5 KiB. */
static char *read_cpuinfo(void)
{
    cleanup_file FILE *file = fopen("/proc/cpuinfo", "re");
    char *text = NULL;
    size_t capacity = 0;
    if (!file || getdelim(&text, &capacity, '\0', file) < 0) {
        free(text);
        return copy_text("");
    }
    return text;
}

static void add_cpu(Plimsoll__Fingerprint *f)
{
    cleanup_free char *info = read_cpuinfo();
    cleanup_free char *flags = facts_colon_value(info, "flags");
    add_from(f, PLIMSOLL__TIER__TIER_MUST_MATCH, "cpu.model", info, "model name");
    add_from(f, PLIMSOLL__TIER__TIER_MUST_MATCH, "cpu.family", info, "cpu family");
    add_from(f, PLIMSOLL__TIER__TIER_MUST_MATCH, "cpu.model_number", info, "model");
    add_from(f, PLIMSOLL__TIER__TIER_MUST_MATCH, "cpu.stepping", info, "stepping");
    add_from(f, PLIMSOLL__TIER__TIER_SHOULD_MATCH, "cpu.microcode", info, "microcode");
    add_number(f, PLIMSOLL__TIER__TIER_MUST_MATCH, "cpu.threads",
               facts_count_lines(info, "processor"));
    add_from(f, PLIMSOLL__TIER__TIER_MUST_MATCH, "cpu.cores_per_socket", info, "cpu cores");
    bool guest = flags && strstr(flags, " hypervisor");
    add(f, PLIMSOLL__TIER__TIER_MUST_MATCH, "host.virtualised", guest ? "yes" : "no");
    bool hardware = flags && (strstr(flags, " vmx") || strstr(flags, " svm"));
    add(f, PLIMSOLL__TIER__TIER_MUST_MATCH, "cpu.virtualisation", hardware ? "yes" : "no");
}

static void add_memory(Plimsoll__Fingerprint *f)
{
    cleanup_free char *info = NULL;
    if (fs_read_kernel("/proc/meminfo", &info, NULL) < 0)
        info = copy_text("");
    cleanup_free char *total = facts_memory(info);
    add(f, PLIMSOLL__TIER__TIER_MUST_MATCH, "memory.total", total);
    add_from(f, PLIMSOLL__TIER__TIER_SHOULD_MATCH, "memory.swap", info, "SwapTotal");
}

static void add_settings(Plimsoll__Fingerprint *f)
{
    add_file(f, PLIMSOLL__TIER__TIER_MUST_MATCH, "setting.governor",
             "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor");
    add_file(f, PLIMSOLL__TIER__TIER_MUST_MATCH, "setting.turbo",
             "/sys/devices/system/cpu/cpufreq/boost");
    add_file(f, PLIMSOLL__TIER__TIER_MUST_MATCH, "setting.smt",
             "/sys/devices/system/cpu/smt/control");
    add_file(f, PLIMSOLL__TIER__TIER_MUST_MATCH, "setting.thp",
             "/sys/kernel/mm/transparent_hugepage/enabled");
    add_file(f, PLIMSOLL__TIER__TIER_SHOULD_MATCH, "setting.thp_defrag",
             "/sys/kernel/mm/transparent_hugepage/defrag");
    add_file(f, PLIMSOLL__TIER__TIER_MUST_MATCH, "setting.ksm", "/sys/kernel/mm/ksm/run");
    add_file(f, PLIMSOLL__TIER__TIER_SHOULD_MATCH, "setting.ksm_pages_to_scan",
             "/sys/kernel/mm/ksm/pages_to_scan");
    add_file(f, PLIMSOLL__TIER__TIER_SHOULD_MATCH, "setting.numa_balancing",
             "/proc/sys/kernel/numa_balancing");
    add_file(f, PLIMSOLL__TIER__TIER_SHOULD_MATCH, "setting.swappiness", "/proc/sys/vm/swappiness");
}

static void add_boot_settings(Plimsoll__Fingerprint *f)
{
    cleanup_free char *line = NULL;
    if (fs_read_kernel("/proc/cmdline", &line, NULL) < 0)
        line = copy_text("");
    cleanup_free char *kept = facts_boot_settings(line);
    add(f, PLIMSOLL__TIER__TIER_SHOULD_MATCH, "kernel.boot_settings", kept ? kept : "none");
}

static void add_kernel(Plimsoll__Fingerprint *f)
{
    struct utsname u;
    if (uname(&u) < 0)
        memset(&u, 0, sizeof u);
    add(f, PLIMSOLL__TIER__TIER_MUST_MATCH, "kernel.release", u.release);
    add(f, PLIMSOLL__TIER__TIER_SHOULD_MATCH, "kernel.version", u.version);
    add(f, PLIMSOLL__TIER__TIER_MUST_MATCH, "kernel.machine", u.machine);
    add(f, PLIMSOLL__TIER__TIER_INFORMATION, "host.name", u.nodename);
    add_boot_settings(f);
    add_file(f, PLIMSOLL__TIER__TIER_INFORMATION, "host.boot_id",
             "/proc/sys/kernel/random/boot_id");
    static const char *const layouts[] = {
        [CGROUP_NONE] = "none", [CGROUP_V1] = "v1", [CGROUP_V2] = "v2"};
    add(f, PLIMSOLL__TIER__TIER_MUST_MATCH, "cgroup.layout", layouts[cgroup_layout()]);
}

/* It, or nobody, shares the host's cgroups and processors out. */
static void add_init(Plimsoll__Fingerprint *f)
{
    cleanup_free char *name = NULL;
    if (fs_exists("/run/systemd/system")) /* sd_booted(3) */
        name = fs_path("systemd");
    else
        fs_read_kernel("/proc/1/comm", &name, NULL);
    add(f, PLIMSOLL__TIER__TIER_SHOULD_MATCH, "host.init", name);
}

static void add_distribution(Plimsoll__Fingerprint *f)
{
    cleanup_free char *text = NULL;
    size_t length = 0;
    if (fs_read("/etc/os-release", 64 << 10, &text, &length, NULL) < 0)
        text = copy_text("");
    cleanup_free char *name = facts_distribution(text);
    add(f, PLIMSOLL__TIER__TIER_SHOULD_MATCH, "host.distribution", name);
}

/* All at once, since each takes tens of milliseconds and they do not need each other. */
static void add_software(Plimsoll__Fingerprint *f, const struct host *h)
{
    static const char *const libvirt[] = {"libvirtd", "--version", NULL};
    static const char *const libvirt_modular[] = {"virtqemud", "--version", NULL};
    static const char *const qemu[] = {"qemu-system-x86_64", "--version", NULL};
    static const char *const lxc[] = {"lxc-start", "--version", NULL};
    static const char *const criu[] = {"criu", "--version", NULL};
    const char *guestd[] = {h->guestd_path, "--version", NULL};
    struct tool tools[] = {{.argv = libvirt}, {.argv = libvirt_modular},
                           {.argv = qemu},    {.argv = lxc},
                           {.argv = criu},    {.argv = guestd}};
    size_t n = sizeof tools / sizeof *tools;
    tool_run_all(tools, n, clock_monotonic_ns() + TOOLS_DEADLINE_NS);
    const char *virtd = tools[0].version[0] ? tools[0].version : tools[1].version;
    /* guestd tells the library that containers really run with; the tools' package may be older. */
    const char *liblxc = tools[5].version[0] && strstr(tools[5].line, "liblxc") ? tools[5].version
                                                                                : tools[3].version;
    struct {
        const char *key;
        const char *version;
    } facts[] = {{"libvirt.version", virtd},
                 {"qemu.version", tools[2].version},
                 {"liblxc.version", liblxc},
                 {"criu.version", tools[4].version}};
    for (size_t i = 0; i < sizeof facts / sizeof *facts; i++)
        add(f, PLIMSOLL__TIER__TIER_MUST_MATCH, facts[i].key,
            facts[i].version[0] ? facts[i].version : "absent");
    add(f, PLIMSOLL__TIER__TIER_MUST_MATCH, "plimsoll.version", PLIMSOLL_VERSION);
}

int host_fingerprint(struct host *h, Plimsoll__Fingerprint **ret, struct err *e)
{
    Plimsoll__Fingerprint *f = malloc(sizeof *f);
    Plimsoll__Fact **facts = calloc(MOST_FACTS, sizeof *facts);
    if (!f || !facts) {
        free(f);
        free(facts);
        return err_system(e, ENOMEM, "cannot take the host's fingerprint");
    }
    plimsoll__fingerprint__init(f);
    f->schema = FINGERPRINT_SCHEMA;
    f->facts = facts;
    add_cpu(f);
    add_memory(f);
    add_kernel(f);
    add_init(f);
    add_distribution(f);
    add_settings(f);
    add_software(f, h);
    *ret = f;
    return 0;
}
