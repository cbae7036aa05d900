// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/contract/traces.h"

#include "agent/guestd/client.h"
#include "common/cleanup.h"
#include "common/fs.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Folders below, each of which `visit` sees. */
static unsigned count_folders(const char *folder, const char *except)
{
    unsigned n = 0;
    DIR *dir = opendir(folder);
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        if (entry->d_type != DT_DIR || entry->d_name[0] == '.' ||
            strcmp(entry->d_name, except) == 0)
            continue;
        cleanup_free char *below = fs_path("%s/%s", folder, entry->d_name);
        n += 1 + count_folders(below, except);
    }
    if (dir)
        closedir(dir);
    return n;
}

/* Every hierarchy that is mounted below /sys/fs/cgroup, and that folder itself for cgroup v2.
 * liblxc's pivot belongs to the agent's cgroup, not to a guest. */
static unsigned count_cgroups(const char *id)
{
    cleanup_free char *v2 = fs_path("/sys/fs/cgroup/plimsoll-%s", id);
    unsigned n = count_folders(v2, "lxc.pivot");
    DIR *dir = opendir("/sys/fs/cgroup");
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        if (entry->d_type != DT_DIR || entry->d_name[0] == '.')
            continue;
        cleanup_free char *v1 = fs_path("/sys/fs/cgroup/%s/plimsoll-%s", entry->d_name, id);
        n += count_folders(v1, "lxc.pivot");
    }
    if (dir)
        closedir(dir);
    return n;
}

static unsigned count_lines(const char *path, const char *needle)
{
    unsigned n = 0;
    cleanup_file FILE *f = fopen(path, "re");
    cleanup_free char *line = NULL;
    size_t capacity = 0;
    while (f && getline(&line, &capacity, f) > 0)
        n += strstr(line, needle) != NULL;
    return n;
}

static unsigned count_links(const char *id, bool with_bridge)
{
    unsigned n = 0;
    cleanup_free char *prefix = fs_path("pl%s", id);
    cleanup_free char *bridge = fs_path("pl%s0", id);
    DIR *dir = opendir("/sys/class/net");
    for (struct dirent *entry; dir && (entry = readdir(dir));)
        n += strncmp(entry->d_name, prefix, strlen(prefix)) == 0 &&
             (with_bridge || strcmp(entry->d_name, bridge) != 0);
    if (dir)
        closedir(dir);
    return n;
}

static bool file_says(pid_t pid, const char *file, const char *needle)
{
    char text[8192];
    cleanup_free char *path = fs_path("/proc/%d/%s", (int)pid, file);
    cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
    return n > 0 && memmem(text, (size_t)n, needle, strlen(needle));
}

/* Ended, and only waiting for its parent to take notice: the host's first process may take its
 * time. */
static bool is_zombie(pid_t pid)
{
    cleanup_free char *path = fs_path("/proc/%d/stat", (int)pid);
    cleanup_free char *text = NULL;
    if (fs_read_kernel(path, &text, NULL) < 0)
        return true;
    const char *state = strrchr(text, ')');
    return state && strncmp(state, ") Z", 3) == 0;
}

static unsigned count_processes(const struct host *h)
{
    unsigned n = 0;
    cleanup_free char *cgroup = fs_path("/plimsoll-%s", h->id);
    cleanup_free char *name = fs_path("pl%s-", h->id);
    cleanup_free char *mark = fs_path("PLIMSOLL_GUESTD=%s", h->id);
    pid_t guestd = h->guestd ? guestd_pid(h->guestd) : 0;
    DIR *dir = opendir("/proc");
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10);
        if (pid <= 0 || pid == getpid() || pid == guestd || is_zombie(pid))
            continue;
        n += file_says(pid, "cgroup", cgroup) || file_says(pid, "cmdline", name) ||
             file_says(pid, "environ", mark);
    }
    if (dir)
        closedir(dir);
    return n;
}

static unsigned count_domains(const char *id)
{
    cleanup_free char *needle = fs_path("pl%s-", id);
    /* Nothing of the tests' own making goes into the command line. */
    FILE *out = access("/run/libvirt/libvirt-sock", F_OK) == 0
                    ? popen("virsh -c qemu:///system list --all --name 2>/dev/null", "re")
                    : NULL;
    unsigned n = 0;
    cleanup_free char *line = NULL;
    size_t capacity = 0;
    while (out && getline(&line, &capacity, out) > 0)
        n += strstr(line, needle) != NULL;
    if (out)
        pclose(out);
    return n;
}

void traces_count(const struct host *h, struct traces *ret)
{
    cleanup_free char *guests = fs_path("%s/guests", h->state_folder);
    *ret = (struct traces){
        .cgroups = count_cgroups(h->id),
        .mounts = count_lines("/proc/self/mountinfo", h->state_folder),
        .links = count_links(h->id, false),
        .processes = count_processes(h),
        .domains = count_domains(h->id),
        .files = count_folders(guests, ""),
    };
}

static bool same(const char *what, unsigned before, unsigned after)
{
    if (before != after)
        fprintf(stderr, "%s: %u before, %u after\n", what, before, after);
    return before == after;
}

bool traces_equal(const struct traces *before, const struct traces *after)
{
    bool equal = same("cgroups", before->cgroups, after->cgroups);
    equal = same("mounts", before->mounts, after->mounts) && equal;
    equal = same("network devices", before->links, after->links) && equal;
    equal = same("processes", before->processes, after->processes) && equal;
    equal = same("domains", before->domains, after->domains) && equal;
    return same("guests' folders", before->files, after->files) && equal;
}

bool traces_none_of_agent(const char *id)
{
    static const char *const places[] = {
        "/sys/fs/cgroup/plimsoll-%s", "/sys/fs/cgroup/unified/plimsoll-%s",
        "/sys/fs/cgroup/cpu/plimsoll-%s", "/sys/fs/cgroup/memory/plimsoll-%s"};
    bool none = same("network devices of the agent", 0, count_links(id, true));
    for (size_t i = 0; i < sizeof(places) / sizeof(*places); i++) {
        char path[128];
        const char *tail = strchr(places[i], '%');
        snprintf(path, sizeof(path), "%.*s%s", (int)(tail - places[i]), places[i], id);
        none = same(path, 0, access(path, F_OK) == 0) && none;
    }
    return none;
}
