// SPDX-License-Identifier: GPL-3.0-or-later
//
// How long the backends without a hypervisor take from request to the runner's first instruction,
// against the tools that people would use: lxc-execute and runc for lxc-app, posix_spawn for a
// process. Same root, same runner, no network, in blocks by turns. Every mark arrives at the same
// stamping thread.
//
//   start_bench [ROUNDS]     one line a pair: medians (quartiles), their ratio and difference
#include "tests/contract/fixture.h"

#include "agent/host/cgroup.h"
#include "agent/host/journal.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static void die(const char *what, const struct err *e)
{
    fprintf(stderr, "start_bench: %s: %s\n", what, err_text(e));
    exit(1);
}

static int64_t elapsed_ns(struct guest *g, int64_t request_ns)
{
    cleanup_err struct err e = ERR_INIT;
    if (channel_wait(g->channel, STAMP_READY, in_seconds(30), -1, &e) < 0)
        die("no mark", &e);
    return channel_stamped_ns(g->channel, STAMP_READY) - request_ns;
}

static struct guest *prepared(struct fixture *f, const Plimsoll__Section *section)
{
    cleanup_err struct err e = ERR_INIT;
    struct guest *g = fixture_guest(f, section);
    if (g->ops->prepare(g, in_seconds(30), -1, &e) < 0)
        die("prepare", &e);
    return g;
}

static int64_t ours(struct fixture *f, const Plimsoll__Section *section)
{
    cleanup_err struct err e = ERR_INIT;
    struct guest *g = prepared(f, section);
    int64_t request_ns = clock_monotonic_ns();
    if (g->ops->create(g, in_seconds(30), -1, &e) < 0 ||
        g->ops->start(g, in_seconds(30), -1, &e) < 0)
        die("start", &e);
    int64_t ns = elapsed_ns(g, request_ns);
    guest_free(&g);
    return ns;
}

static pid_t spawn(char *const argv[])
{
    pid_t pid;
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
    int errnum = posix_spawnp(&pid, argv[0], &actions, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    if (errnum) {
        fprintf(stderr, "start_bench: %s: %s\n", argv[0], strerror(errnum));
        exit(1);
    }
    return pid;
}

static void end(pid_t pid)
{
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

static void run_to_end(char *const argv[])
{
    waitpid(spawn(argv), NULL, 0);
}

/* Some of lxc-execute's stay behind, empty. */
static void remove_peer_cgroup(const char *kind, const char *name)
{
    cleanup_err struct err e = ERR_INIT;
    cleanup_free char *path = fs_path("%s.%s", kind, name);
    if (cgroup_remove(path, &e) < 0)
        die("the peer's cgroup", &e);
}

/* The prepared guest's root and channel, but another launcher. */
static int64_t lxc_execute(struct fixture *f, const Plimsoll__Section *section)
{
    struct guest *g = prepared(f, section);
    cleanup_free char *root = fs_path("lxc.rootfs.path=dir:%s/root", g->folder);
    cleanup_free char *folder = fs_path("%s/peer", f->folder);
    fs_make_dirs(folder, 0755, NULL);
    char *argv[] = {(char *)"lxc-execute",
                    (char *)"-n",
                    g->name,
                    (char *)"-P",
                    folder,
                    (char *)"-f",
                    (char *)"/dev/null",
                    (char *)"-s",
                    root,
                    (char *)"-s",
                    (char *)"lxc.net.0.type=empty",
                    (char *)"--",
                    (char *)"/.plimsoll/runner",
                    (char *)"app",
                    (char *)"--",
                    (char *)"/bin/sleep",
                    (char *)"1000",
                    NULL};
    char *stop[] = {(char *)"lxc-stop", (char *)"-n", g->name, (char *)"-P", folder,
                    (char *)"-k",       NULL};
    int64_t request_ns = clock_monotonic_ns();
    pid_t pid = spawn(argv);
    int64_t ns = elapsed_ns(g, request_ns);
    run_to_end(stop);
    waitpid(pid, NULL, 0);
    remove_peer_cgroup("lxc.monitor", g->name);
    remove_peer_cgroup("lxc.payload", g->name);
    guest_free(&g);
    return ns;
}

static void write_bundle(const char *folder, const char *root)
{
    cleanup_free char *path = fs_path("%s/config.json", folder);
    cleanup_free char *text = fs_path(
        "{\"ociVersion\":\"1.0.2\",\"process\":{\"user\":{\"uid\":0,\"gid\":0},\"cwd\":\"/\","
        "\"args\":[\"/.plimsoll/runner\",\"app\",\"--\",\"/bin/sleep\",\"1000\"]},"
        "\"root\":{\"path\":\"%s\"},\"hostname\":\"peer\","
        "\"mounts\":[{\"destination\":\"/proc\",\"type\":\"proc\",\"source\":\"proc\"}],"
        "\"linux\":{\"namespaces\":[{\"type\":\"pid\"},{\"type\":\"network\"},{\"type\":\"ipc\"},"
        "{\"type\":\"uts\"},{\"type\":\"mount\"}]}}\n",
        root);
    cleanup_err struct err e = ERR_INIT;
    if (fs_write_atomic(path, text, strlen(text), 0644, &e) < 0)
        die("bundle", &e);
}

static int64_t runc_run(struct fixture *f, const Plimsoll__Section *section)
{
    struct guest *g = prepared(f, section);
    cleanup_free char *root = fs_path("%s/root", g->folder);
    cleanup_free char *state = fs_path("%s/runc", f->folder);
    write_bundle(g->folder, root);
    char *argv[] = {(char *)"runc", (char *)"--root", state,   (char *)"run",
                    (char *)"-b",   g->folder,        g->name, NULL};
    char *stop[] = {(char *)"runc", (char *)"--root", state, (char *)"delete",
                    (char *)"-f",   g->name,          NULL};
    int64_t request_ns = clock_monotonic_ns();
    pid_t pid = spawn(argv);
    int64_t ns = elapsed_ns(g, request_ns);
    run_to_end(stop);
    end(pid);
    guest_free(&g);
    return ns;
}

/* The same program, chrooted by nobody: the runner finds its socket through a link of the same
 * name. */
static int64_t posix_spawned(struct fixture *f, const Plimsoll__Section *section)
{
    struct guest *g = prepared(f, section);
    cleanup_free char *root = fs_path("%s/root", g->folder);
    cleanup_close int before = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    char *argv[] = {(char *)"/.plimsoll/runner", (char *)"app",  (char *)"--",
                    (char *)"/bin/sleep",        (char *)"1000", NULL};
    /* Only this thread's idea of the root, and not timed. */
    if (before < 0 || chroot(root) < 0 || chdir("/") < 0) {
        fprintf(stderr, "start_bench: chroot: %s\n", strerror(errno));
        exit(1);
    }
    int64_t request_ns = clock_monotonic_ns();
    pid_t pid;
    int errnum = posix_spawn(&pid, argv[0], NULL, NULL, argv, environ);
    if (fchdir(before) < 0 || chroot(".") < 0)
        exit(1);
    if (errnum) {
        fprintf(stderr, "start_bench: posix_spawn: %s\n", strerror(errnum));
        exit(1);
    }
    int64_t ns = elapsed_ns(g, request_ns);
    end(pid);
    guest_free(&g);
    return ns;
}

static int by_value(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a;
    int64_t y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

struct summary {
    double lower, median, upper; /* quartiles, ms */
};

/* By linear interpolation (Hyndman and Fan's type 7). */
static double quantile_ms(const int64_t *sorted, size_t n, double p)
{
    double at = p * (double)(n - 1);
    size_t below = (size_t)at;
    size_t above = below + 1 < n ? below + 1 : below;
    double part = at - (double)below;
    double ns = (double)sorted[below] * (1 - part) + (double)sorted[above] * part;
    return ns / (double)NS_PER_MS;
}

static struct summary summarise(int64_t *values, size_t n)
{
    qsort(values, n, sizeof(*values), by_value);
    return (struct summary){.lower = quantile_ms(values, n, 0.25),
                            .median = quantile_ms(values, n, 0.5),
                            .upper = quantile_ms(values, n, 0.75)};
}

typedef int64_t launcher(struct fixture *f, const Plimsoll__Section *section);

enum { BLOCK = 10 };

/* In blocks, the first of each not counted. Entering a cgroup by liblxc or runc takes a lock that
 * waits for an RCU grace period (some 13 ms) unless somebody took it just before, and new network
 * namespaces wait for old ones to be taken down: in turns one by one, each would pay for what the
 * other did or did not do. */
static void block(launcher *launch, struct fixture *f, const Plimsoll__Section *section,
                  int64_t *values, size_t n)
{
    launch(f, section);
    for (size_t i = 0; i < n; i++)
        values[i] = launch(f, section);
}

static void compare(const char *backend, const char *peer_name, launcher *peer, size_t rounds)
{
    struct fixture f;
    cleanup_free char *why_not = fixture_open(&f, backend);
    if (why_not) {
        printf("%s against %s: not here: %s\n", backend, peer_name, why_not);
        return;
    }
    Plimsoll__Section *section = section_new(f.ops->catalog, NULL, NULL);
    cleanup_free int64_t *mine = calloc(rounds, sizeof(*mine));
    cleanup_free int64_t *theirs = calloc(rounds, sizeof(*theirs));
    if (!mine || !theirs)
        exit(1);
    for (size_t done = 0; done < rounds; done += BLOCK) {
        size_t n = rounds - done < BLOCK ? rounds - done : BLOCK;
        block(ours, &f, section, mine + done, n);
        block(peer, &f, section, theirs + done, n);
    }
    struct summary a = summarise(mine, rounds);
    struct summary b = summarise(theirs, rounds);
    printf(
        "%s %.3f (%.3f to %.3f) ms, %s %.3f (%.3f to %.3f) ms: ratio of medians %.3f, difference "
        "%+.3f ms, n = %zu\n",
        backend, a.median, a.lower, a.upper, peer_name, b.median, b.lower, b.upper,
        a.median / b.median, a.median - b.median, rounds);
    section_free(&section);
    if (!fixture_close(&f))
        exit(1);
}

static bool in_path(const char *program)
{
    cleanup_free char *path = fs_path("/usr/bin/%s", program);
    cleanup_free char *sbin = fs_path("/usr/sbin/%s", program);
    return access(path, X_OK) == 0 || access(sbin, X_OK) == 0;
}

int main(int argc, char **argv)
{
    size_t rounds = argc > 1 ? strtoul(argv[1], NULL, 10) : 50;
    if (rounds == 0) {
        fprintf(stderr, "Usage: %s [ROUNDS]\n", argv[0]);
        return 2;
    }
    compare("process", "posix_spawn", posix_spawned, rounds);
    if (in_path("lxc-execute"))
        compare("lxc-app", "lxc-execute", lxc_execute, rounds);
    if (in_path("runc"))
        compare("lxc-app", "runc run", runc_run, rounds);
    return 0;
}
