// SPDX-License-Identifier: GPL-3.0-or-later
#include "agent/host/cgroup.h"

#include "agent/host/facts.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/fs.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>

enum { HIERARCHIES_MOST = 32 };

/* A removed process stays in its cgroup until the kernel has let go of it: how long to try. */
static const int64_t REMOVE_NS = 2 * NS_PER_S;

struct hierarchy {
    char *mount;
    char *controllers; /* ",cpu,cpuacct," of a v1 mount; v2: what cgroup.controllers lists */
    bool v2;
};

static struct hierarchy hierarchies[HIERARCHIES_MOST];
static size_t n_hierarchies;
static pthread_once_t hierarchies_once = PTHREAD_ONCE_INIT;

/* What a guest is accounted and confined by; the other hierarchies are used by liblxc alone. */
static const char *const wanted[] = {"cpu", "cpuacct", "cpuset", "memory", "pids"};
enum { WANTED = sizeof(wanted) / sizeof(*wanted) };

static bool has_controller(const struct hierarchy *h, const char *controller)
{
    cleanup_free char *needle = fs_path(",%s,", controller);
    return strstr(h->controllers, needle) != NULL;
}

static char *v2_controllers(const char *mount)
{
    cleanup_free char *path = fs_path("%s/cgroup.controllers", mount);
    cleanup_free char *text = NULL;
    if (fs_read_kernel(path, &text, NULL) < 0)
        return fs_path(",");
    for (char *at = text; *at; at++)
        if (*at == ' ')
            *at = ',';
    return fs_path(",%s,", text);
}

static void add_hierarchy(const char *line)
{
    struct facts_cgroup_mount m;
    if (n_hierarchies == HIERARCHIES_MOST || !facts_cgroup_mount(line, &m))
        return;
    hierarchies[n_hierarchies++] = (struct hierarchy){
        .mount = fs_path("%s", m.mount),
        .controllers = m.v2 ? v2_controllers(m.mount) : fs_path(",%s,", m.options),
        .v2 = m.v2,
    };
}

static void find_hierarchies(void)
{
    cleanup_file FILE *f = fopen("/proc/self/mountinfo", "re");
    cleanup_free char *line = NULL;
    size_t capacity = 0;
    while (f && getline(&line, &capacity, f) > 0)
        add_hierarchy(line);
}

static const struct hierarchy *hierarchy_of(const char *controller)
{
    pthread_once(&hierarchies_once, find_hierarchies);
    for (size_t i = 0; i < n_hierarchies; i++)
        if (strcmp(controller, "cgroup2") == 0 ? hierarchies[i].v2
                                               : has_controller(&hierarchies[i], controller))
            return &hierarchies[i];
    return NULL;
}

const char *cgroup_mount(const char *controller)
{
    const struct hierarchy *h = hierarchy_of(controller);
    return h ? h->mount : NULL;
}

enum cgroup_layout cgroup_layout(void)
{
    const struct hierarchy *cpu = hierarchy_of("cpu");
    const struct hierarchy *cpuset = hierarchy_of("cpuset");
    const struct hierarchy *memory = hierarchy_of("memory");
    if (!cpu || !cpuset || !memory || cpu->v2 != memory->v2 || cpu->v2 != cpuset->v2)
        return CGROUP_NONE;
    return cpu->v2 ? CGROUP_V2 : CGROUP_V1;
}

size_t cgroup_in_use(const char *mounts[CGROUP_IN_USE_MOST])
{
    size_t n = 0;
    for (size_t w = 0; w < WANTED; w++) {
        const struct hierarchy *h = hierarchy_of(wanted[w]);
        bool known = !h;
        for (size_t i = 0; i < n && !known; i++)
            known = mounts[i] == h->mount;
        if (!known)
            mounts[n++] = h->mount;
    }
    return n;
}

/* A relative path that can name neither a hierarchy's root nor anything outside of it. */
static void check_path(const char *path)
{
    assert(path[0] != '\0' && path[0] != '/' && !strstr(path, ".."));
    (void)path;
}

static void enable_controllers(const char *folder)
{
    cleanup_free char *path = fs_path("%s/cgroup.subtree_control", folder);
    for (size_t i = 0; i < WANTED; i++) {
        /* One at a time: v2 has no cpuacct and a host may lack others; one refusal fails a whole
         * write. */
        cleanup_free char *text = fs_path("+%s", wanted[i]);
        fs_write_kernel(path, text, NULL);
    }
}

/* A new v1 cpuset admits nobody until it has CPUs and memory nodes; its children copy them from it.
 */
static void open_cpuset(const char *folder)
{
    static const char *const files[] = {"cpuset.cpus", "cpuset.mems"};
    for (size_t i = 0; i < 2; i++) {
        cleanup_free char *above = fs_path("%s/../%s", folder, files[i]);
        cleanup_free char *mine = fs_path("%s/%s", folder, files[i]);
        cleanup_free char *has = NULL;
        cleanup_free char *text = NULL;
        if (fs_read_kernel(mine, &has, NULL) == 0 && has[0] == '\0' &&
            fs_read_kernel(above, &text, NULL) == 0)
            fs_write_kernel(mine, text, NULL);
    }
    cleanup_free char *clone = fs_path("%s/cgroup.clone_children", folder);
    fs_write_kernel(clone, "1", NULL);
}

static int make_folder(const struct hierarchy *h, const char *path, struct err *e)
{
    cleanup_free char *folder = fs_path("%s/%s", h->mount, path);
    if (mkdir(folder, 0755) < 0) {
        if (errno == EEXIST)
            return 0;
        return err_system(e, errno, "cannot make the cgroup %s", folder);
    }
    if (!h->v2 && has_controller(h, "cpuset"))
        open_cpuset(folder);
    return 0;
}

static int make_in(const struct hierarchy *h, const char *path, struct err *e)
{
    cleanup_free char *part = fs_path("%s", path);
    if (h->v2)
        enable_controllers(h->mount);
    for (char *slash = strchr(part, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (make_folder(h, part, e) < 0)
            return -1;
        if (h->v2) {
            cleanup_free char *folder = fs_path("%s/%s", h->mount, part);
            enable_controllers(folder);
        }
        *slash = '/';
    }
    return make_folder(h, path, e);
}

char *cgroup_handed_down(void)
{
    const char *mount = cgroup_layout() == CGROUP_V2 ? cgroup_mount("cgroup2") : NULL;
    cleanup_free char *path = fs_path("%s/cgroup.subtree_control", mount ? mount : "");
    char *text = NULL;
    return mount && fs_read_kernel(path, &text, NULL) == 0 ? text : fs_path("%s", "");
}

static bool has_word(const char *words, const char *word)
{
    cleanup_free char *all = fs_path(" %s ", words);
    cleanup_free char *one = fs_path(" %s ", word);
    return strstr(all, one) != NULL;
}

void cgroup_hand_down_only(const char *controllers)
{
    cleanup_free char *now = cgroup_handed_down();
    cleanup_free char *path = fs_path("%s/cgroup.subtree_control", cgroup_mount("cgroup2"));
    char *rest = NULL;
    for (char *word = strtok_r(now, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) {
        cleanup_free char *off = fs_path("-%s", word);
        if (!has_word(controllers, word))
            fs_write_kernel(path, off, NULL); /* refused where somebody below uses it */
    }
}

int cgroup_make(const char *path, struct err *e)
{
    check_path(path);
    if (cgroup_layout() == CGROUP_NONE)
        return err_set(e, ERR_UNAVAILABLE,
                       "the cgroup controllers cpu, cpuset and memory are not all mounted");
    const char *done[CGROUP_IN_USE_MOST] = {NULL};
    size_t n = cgroup_in_use(done);
    for (size_t i = 0; i < n_hierarchies; i++)
        for (size_t k = 0; k < n; k++)
            if (hierarchies[i].mount == done[k] && make_in(&hierarchies[i], path, e) < 0)
                return -1;
    return 0;
}

static int write_in(const char *controller, const char *path, const char *file, const char *text,
                    struct err *e)
{
    const char *mount = cgroup_mount(controller);
    if (!mount)
        return err_set(e, ERR_UNAVAILABLE, "the cgroup controller %s is not mounted", controller);
    cleanup_free char *full = fs_path("%s/%s/%s", mount, path, file);
    return fs_write_kernel(full, text, e);
}

int cgroup_add(const char *path, pid_t pid, struct err *e)
{
    check_path(path);
    const char *mounts[CGROUP_IN_USE_MOST];
    size_t n = cgroup_in_use(mounts);
    cleanup_free char *text = fs_path("%d", (int)pid);
    for (size_t i = 0; i < n; i++) {
        cleanup_free char *full = fs_path("%s/%s/cgroup.procs", mounts[i], path);
        if (fs_write_kernel(full, text, e) < 0)
            return -1;
    }
    return 0;
}

int cgroup_set_cpu(const char *path, int cpu, struct err *e)
{
    cleanup_free char *text = fs_path("%d", cpu);
    return write_in("cpuset", path, "cpuset.cpus", text, e);
}

int cgroup_set_memory(const char *path, int64_t bytes, struct err *e)
{
    cleanup_free char *text = fs_path("%lld", (long long)bytes);
    bool v2 = cgroup_layout() == CGROUP_V2;
    return write_in("memory", path, v2 ? "memory.max" : "memory.limit_in_bytes", text, e);
}

int cgroup_cpu_ns(const char *path, int64_t *ret_ns, struct err *e)
{
    bool v2 = cgroup_layout() == CGROUP_V2;
    const char *mount = cgroup_mount(v2 ? "cgroup2" : "cpuacct");
    if (!mount)
        return err_set(e, ERR_UNAVAILABLE, "no cgroup controller counts CPU time here");
    cleanup_free char *file = fs_path("%s/%s/%s", mount, path, v2 ? "cpu.stat" : "cpuacct.usage");
    cleanup_free char *text = NULL;
    if (fs_read_kernel(file, &text, e) < 0)
        return -1;
    if (!facts_cgroup_time(text, v2, ret_ns))
        return err_set(e, ERR_SYSTEM, "%s: expected a CPU time", file);
    return 0;
}

/* Calls `visit` for the folder and, before it, all folders below. */
static int walk(const char *folder, int (*visit)(const char *folder, void *arg), void *arg)
{
    DIR *dir = opendir(folder);
    if (!dir)
        return errno == ENOENT ? 0 : -1;
    int result = 0;
    for (struct dirent *entry; (entry = readdir(dir));) {
        if (entry->d_type != DT_DIR || strcmp(entry->d_name, ".") == 0 ||
            strcmp(entry->d_name, "..") == 0)
            continue;
        cleanup_free char *below = fs_path("%s/%s", folder, entry->d_name);
        if (walk(below, visit, arg) < 0)
            result = -1;
    }
    closedir(dir);
    return visit(folder, arg) < 0 ? -1 : result;
}

static int walk_all(const char *path, int (*visit)(const char *folder, void *arg), void *arg)
{
    check_path(path);
    pthread_once(&hierarchies_once, find_hierarchies);
    int result = 0;
    for (size_t i = 0; i < n_hierarchies; i++) {
        cleanup_free char *folder = fs_path("%s/%s", hierarchies[i].mount, path);
        if (walk(folder, visit, arg) < 0)
            result = -1;
    }
    return result;
}

struct kill_round {
    const char *path;
    int64_t deadline_ns;
    unsigned found;
};

/* A number read from cgroup.procs may have been given to somebody else since. */
static bool is_inside(pid_t pid, const char *path)
{
    cleanup_free char *file = fs_path("/proc/%d/cgroup", (int)pid);
    cleanup_free char *needle = fs_path("/%s", path);
    cleanup_free char *text = NULL;
    return fs_read_kernel(file, &text, NULL) == 0 && strstr(text, needle);
}

/* Waits for the end of a process that was killed, so that the next round does not find it again. */
static void kill_one(pid_t pid, const char *path, int64_t deadline_ns)
{
    cleanup_close int fd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (fd < 0 || !is_inside(pid, path))
        return;
    syscall(SYS_pidfd_send_signal, fd, SIGKILL, NULL, 0);
    struct pollfd p = {.fd = fd, .events = POLLIN};
    poll(&p, 1, clock_poll_ms(deadline_ns));
}

static int kill_folder(const char *folder, void *arg)
{
    struct kill_round *round = arg;
    cleanup_free char *all = fs_path("%s/cgroup.kill", folder);
    fs_write_kernel(all, "1", NULL); /* v2 since Linux 5.14; the loop below does for the others */
    cleanup_free char *path = fs_path("%s/cgroup.procs", folder);
    cleanup_file FILE *f = fopen(path, "re");
    int pid;
    while (f && fscanf(f, "%d", &pid) == 1) {
        round->found++;
        if (pid > 0 && pid != getpid())
            kill_one(pid, round->path, round->deadline_ns);
    }
    return 0;
}

int cgroup_kill(const char *path, int64_t deadline_ns, struct err *e)
{
    for (;;) {
        struct kill_round round = {.path = path, .deadline_ns = deadline_ns};
        walk_all(path, kill_folder, &round);
        if (round.found == 0)
            return 0;
        if (deadline_ns && clock_monotonic_ns() >= deadline_ns)
            return err_set(e, ERR_TIMEOUT, "%u processes of the cgroup %s are still there",
                           round.found, path);
    }
}

static int remove_folder(const char *folder, void *arg)
{
    (void)arg;
    return rmdir(folder) < 0 && errno != ENOENT ? -1 : 0;
}

int cgroup_remove(const char *path, struct err *e)
{
    /* EBUSY for a moment after the last process has gone is normal. */
    struct timespec pause = {.tv_nsec = NS_PER_MS / 4};
    int64_t deadline_ns = clock_monotonic_ns() + REMOVE_NS;
    while (walk_all(path, remove_folder, NULL) < 0) {
        int errnum = errno;
        if (clock_monotonic_ns() >= deadline_ns)
            return err_system(e, errnum, "cannot remove the cgroup %s", path);
        nanosleep(&pause, NULL);
        if (pause.tv_nsec < 50 * NS_PER_MS)
            pause.tv_nsec *= 2;
    }
    return 0;
}

bool cgroup_exists(const char *path)
{
    check_path(path);
    pthread_once(&hierarchies_once, find_hierarchies);
    for (size_t i = 0; i < n_hierarchies; i++) {
        cleanup_free char *folder = fs_path("%s/%s", hierarchies[i].mount, path);
        if (fs_exists(folder))
            return true;
    }
    return false;
}
