// SPDX-License-Identifier: GPL-3.0-or-later
//
// What a guest was promised and what it must not be able to do, read from the kernel.
#include "tests/cmocka_with_needs.h"

#include "tests/contract/battery.h"

#include "agent/guestd/client.h"
#include "agent/host/cgroup.h"
#include "common/cleanup.h"
#include "common/fs.h"
#include "proto/frame.h"
#include "proto/settings.h"

#include <dirent.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* Standard output of a program in the guest, the caller's to free. */
static char *run_inside(struct guest *g, char **argv, size_t n)
{
    cleanup_err struct err e = ERR_INIT;
    Plimsoll__Exec request = PLIMSOLL__EXEC__INIT;
    Plimsoll__Finished *finished = NULL;
    request.n_argv = n;
    request.argv = argv;
    must_work(channel_exec(g->channel, &request, in_seconds(30), -1, &finished, &e), &e, argv[0]);
    char *text = fs_path("%.*s", (int)finished->output.len, (const char *)finished->output.data);
    frame_free(&finished->base);
    return text;
}

static char *say(struct guest *g, const char *program, const char *argument)
{
    return run_inside(g, (char *[]){(char *)program, (char *)argument}, 2);
}

/* A container's limit stands in its cgroup, a VM's memory in its own /proc. */
static void memory_is_limited(struct guest *g, const struct guest_scope *scope)
{
    int64_t memory = settings_integer(g->section, "memory", 0);
    if (g->ops->catalog->has_accelerator) {
        cleanup_free char *text = say(g, "/bin/cat", "/proc/meminfo");
        const char *total = strstr(text, "MemTotal:");
        assert_non_null(total);
        int64_t bytes = strtoll(total + strlen("MemTotal:"), NULL, 10) * 1024;
        assert_in_range(bytes, memory / 2, memory);
        return;
    }
    bool v2 = cgroup_layout() == CGROUP_V2;
    cleanup_free char *file = fs_path("%s/%s/%s", cgroup_mount("memory"), scope->cgroup,
                                      v2 ? "memory.max" : "memory.limit_in_bytes");
    cleanup_free char *text = NULL;
    cleanup_err struct err e = ERR_INIT;
    must_work(fs_read_kernel(file, &text, &e), &e, "its memory limit");
    assert_int_equal(strtoll(text, NULL, 10), memory);
    /* And it is in that cgroup. */
    cleanup_free char *mine = fs_path("/proc/%d/cgroup", (int)scope->leader);
    cleanup_free char *cgroups = NULL;
    must_work(fs_read_kernel(mine, &cgroups, &e), &e, "its cgroups");
    cleanup_free char *needle = fs_path("memory:/%s", scope->cgroup);
    assert_non_null(strstr(cgroups, v2 ? scope->cgroup : needle));
}

static void one_core_is_all_it_gets(const struct guest *g, const struct guest_scope *scope)
{
    cleanup_free char *folder = fs_path("/proc/%d/task", (int)scope->leader);
    DIR *tasks = opendir(folder);
    assert_non_null(tasks);
    unsigned n = 0;
    for (struct dirent *entry; (entry = readdir(tasks));) {
        pid_t task = (pid_t)strtol(entry->d_name, NULL, 10);
        cpu_set_t cpus;
        if (task <= 0 || sched_getaffinity(task, sizeof(cpus), &cpus) < 0)
            continue;
        assert_int_equal(CPU_COUNT(&cpus), 1);
        assert_true(CPU_ISSET((size_t)g->cpu, &cpus));
        n++;
    }
    closedir(tasks);
    assert_true(n > 0);
}

/* Beside the loopback device. The kernel of a container is ours: its /proc says what it has. */
static unsigned devices_inside(struct guest *g, const struct guest_scope *scope)
{
    cleanup_free char *text = NULL;
    cleanup_free char *path = fs_path("/proc/%d/net/dev", (int)scope->leader);
    if (g->ops->catalog->has_accelerator)
        text = say(g, "/bin/cat", "/proc/net/dev");
    else
        assert_int_equal(fs_read_kernel(path, &text, NULL), 0);
    unsigned n = 0;
    for (const char *at = text; (at = strchr(at, ':')); at++)
        n++;
    return n - 1;
}

static unsigned ports_of_bridge(const struct host *h)
{
    unsigned n = 0;
    cleanup_free char *path = fs_path("/sys/class/net/%s/brif", h->bridge);
    DIR *dir = opendir(path);
    for (struct dirent *entry; dir && (entry = readdir(dir));)
        n += entry->d_name[0] != '.';
    if (dir)
        closedir(dir);
    return n;
}

void the_guest_gets_the_resources_it_was_promised(void **state)
{
    (void)state;
    if (!fixture.ops->catalog->needs_image)
        skip(); /* a fake is promised nothing */
    cleanup_err struct err e = ERR_INIT;
    struct traces before;
    struct traces after;
    bool network = backend_has_key(fixture.ops, "network");
    traces_count(&fixture.host, &before);
    Plimsoll__Section *section =
        section_new(fixture.ops->catalog, network ? "network" : NULL, "bridge");
    if (!fixture.slow)
        section_set(section, "memory", "100663296");
    struct guest *g = fixture_guest(&fixture, section);
    must_go_to(g, READY);
    cleanup_guest_scope struct guest_scope scope = {0};
    must_work(g->ops->scope(g, &scope, &e), &e, "scope");
    memory_is_limited(g, &scope);
    one_core_is_all_it_gets(g, &scope);
    if (network) {
        assert_int_equal(devices_inside(g, &scope), 1);
        assert_int_equal(ports_of_bridge(&fixture.host), 1);
    }
    guest_free(&g);
    section_free(&section);
    traces_count(&fixture.host, &after);
    assert_true(traces_equal(&before, &after));
    assert_int_equal(ports_of_bridge(&fixture.host), 0);
}

void without_a_network_there_is_no_device(void **state)
{
    (void)state;
    if (!backend_has_key(fixture.ops, "network"))
        skip();
    cleanup_err struct err e = ERR_INIT;
    Plimsoll__Section *section = section_new(fixture.ops->catalog, "network", "none");
    struct guest *g = fixture_guest(&fixture, section);
    must_go_to(g, READY);
    cleanup_guest_scope struct guest_scope scope = {0};
    must_work(g->ops->scope(g, &scope, &e), &e, "scope");
    assert_int_equal(devices_inside(g, &scope), 0);
    guest_free(&g);
    section_free(&section);
}

void two_guests_at_once_do_not_disturb_each_other(void **state)
{
    (void)state;
    cleanup_err struct err e = ERR_INIT;
    if (fixture.slow)
        skip(); /* two cores are too few for two emulated machines */
    Plimsoll__Section *section = section_new(fixture.ops->catalog, NULL, NULL);
    struct guest *one = fixture_guest(&fixture, section);
    struct guest *two = fixture_guest(&fixture, section);
    assert_string_not_equal(one->name, two->name);
    must_go_to(one, READY);
    must_go_to(two, READY);
    guest_free(&one);
    cleanup_guest_scope struct guest_scope scope = {0};
    must_work(two->ops->scope(two, &scope, &e), &e, "scope");
    assert_int_equal(kill(scope.leader, 0), 0);
    guest_free(&two);
    section_free(&section);
}

/* The caller's to free; "" where it said nothing. */
static char *console_of(struct guest *g)
{
    struct guest_texts texts = {0};
    char *console = NULL;
    g->ops->texts(g, &texts);
    for (size_t i = 0; i < texts.n && !console; i++)
        if (strcmp(texts.items[i]->name, "console") == 0)
            console = fs_path("%s", texts.items[i]->text);
    guest_texts_clear(&texts);
    return console ? console : fs_path("%s", "");
}

static bool console_says(struct guest *g, const char *words)
{
    cleanup_free char *console = console_of(g);
    return strstr(console, words) != NULL;
}

static void wait_for_its_end(struct guest *g)
{
    cleanup_guest_scope struct guest_scope scope = {0};
    if (g->ops->scope(g, &scope, NULL) < 0)
        return;
    cleanup_close int ended = (int)syscall(SYS_pidfd_open, scope.leader, 0);
    struct pollfd p = {.fd = ended, .events = POLLIN};
    if (ended >= 0)
        assert_int_equal(poll(&p, 1, 30000), 1);
}

void what_a_single_program_said_is_kept(void **state)
{
    (void)state;
    if (!fixture.ops->catalog->single)
        skip();
    cleanup_err struct err e = ERR_INIT;
    Plimsoll__Section *section =
        section_new(fixture.ops->catalog, "command", "/there/is/no/such/program");
    struct guest *g = fixture_guest(&fixture, section);
    must_go_to(g, READY);
    wait_for_its_end(g);
    must_work(g->ops->stop(g, in_seconds(30), &e), &e, "stop");
    assert_true(console_says(g, "/there/is/no/such/program"));
    guest_free(&g);
    section_free(&section);
}

/* Of a disk that this kernel really has, "254 0", the caller's to free; NULL where it has none. */
static char *numbers_of_a_disk(void)
{
    char *numbers = NULL;
    DIR *dir = opendir("/sys/block");
    for (struct dirent *entry; dir && !numbers && (entry = readdir(dir));) {
        cleanup_free char *path = fs_path("/sys/block/%s/dev", entry->d_name);
        if (entry->d_name[0] != '.' && fs_read_kernel(path, &numbers, NULL) == 0)
            numbers[strcspn(numbers, ":")] = ' ';
    }
    if (dir)
        closedir(dir);
    return numbers;
}

/* Says "opened NAME" of each device that it could open; of the host's it makes the nodes first. */
static char *device_script(void)
{
    cleanup_free char *disk = numbers_of_a_disk();
    return fs_path("cd /tmp\n"
                   "try() { mknod \"$@\" && true <\"$1\" && echo \"opened $1\"; }\n"
                   "try kmsg c 1 11; %s%s\n"
                   "for d in null zero full random urandom; do\n"
                   "    true </dev/$d && echo \"opened $d\"\n"
                   "done",
                   disk ? "try disk b " : "", disk ? disk : "");
}

/* As the guest's own command, or by the runner, as root unless it is a process. */
static char *try_devices(Plimsoll__Section *section)
{
    cleanup_free char *script = device_script();
    char *argv[] = {(char *)"/bin/sh", (char *)"-c", script};
    bool single = fixture.ops->catalog->single;
    if (single)
        section_set_list(section, "command", argv, 3);
    struct guest *g = fixture_guest(&fixture, section);
    must_go_to(g, READY);
    char *said = single ? NULL : run_inside(g, argv, 3);
    if (single) {
        wait_for_its_end(g);
        said = console_of(g);
    }
    guest_free(&g);
    return said;
}

void the_hosts_devices_are_out_of_reach(void **state)
{
    (void)state;
    static const char *const allowed[] = {"null", "zero", "full", "random", "urandom"};
    if (!fixture.ops->catalog->needs_image || fixture.ops->catalog->has_accelerator)
        skip(); /* a fake has none, and a VM its own */
    Plimsoll__Section *section = section_new(fixture.ops->catalog, NULL, NULL);
    cleanup_free char *said = try_devices(section);
    section_free(&section);
    for (size_t i = 0; i < sizeof(allowed) / sizeof(*allowed); i++) {
        cleanup_free char *words = fs_path("opened %s\n", allowed[i]);
        if (!strstr(said, words))
            fail_msg("%s could not be opened: %s", allowed[i], said);
    }
    if (strstr(said, "opened kmsg") || strstr(said, "opened disk"))
        fail_msg("%s", said);
}

/* plimsoll-guestd may be killed at any time; the next guest gets a new one. */
void a_killed_helper_costs_only_its_guests(void **state)
{
    (void)state;
    cleanup_err struct err e = ERR_INIT;
    struct traces before;
    struct traces after;
    Plimsoll__Section *section = section_new(fixture.ops->catalog, NULL, NULL);
    struct guest *g = fixture_guest(&fixture, section);
    must_go_to(g, PREPARED);
    if (!fixture.host.guestd) {
        guest_free(&g);
        section_free(&section);
        skip();
    }
    must_work(g->ops->create(g, in_seconds(60), -1, &e), &e, "create");
    must_work(g->ops->start(g, in_seconds(60), -1, &e), &e, "start");
    kill(guestd_pid(fixture.host.guestd), SIGKILL);
    guest_free(&g);
    traces_count(&fixture.host, &before);
    g = fixture_guest(&fixture, section);
    must_go_to(g, CREATED);
    kill(guestd_pid(fixture.host.guestd), SIGKILL);
    assert_int_equal(g->ops->start(g, in_seconds(60), -1, &e), -1);
    err_clear(&e);
    guest_free(&g);
    g = fixture_guest(&fixture, section);
    must_go_to(g, READY);
    guest_free(&g);
    section_free(&section);
    traces_count(&fixture.host, &after);
    assert_true(traces_equal(&before, &after));
}

/* Runs in a process of its own, as the agent would, and is killed with a guest up. */
static void be_killed(enum state at)
{
    fixture_host_open(&fixture);
    Plimsoll__Section *section = section_new(
        fixture.ops->catalog, backend_has_key(fixture.ops, "network") ? "network" : NULL, "bridge");
    struct guest *g = fixture_guest(&fixture, section);
    cleanup_err struct err e = ERR_INIT;
    if (go_to(g, at, in_seconds(120), -1, &e) < 0) {
        fprintf(stderr, "the agent to be killed: %s\n", err_text(&e));
        _exit(1);
    }
    kill(getpid(), SIGKILL);
}

void what_a_killed_agent_left_is_swept(void **state)
{
    (void)state;
    for (enum state at = PREPARED; at <= READY; at++) {
        if (fixture.slow && at == READY)
            continue;
        cleanup_err struct err e = ERR_INIT;
        unsigned removed = 0;
        struct traces after;
        struct traces none = {0};
        fixture_host_close(&fixture);
        pid_t agent = fork();
        if (agent == 0)
            be_killed(at);
        int status = 0;
        assert_int_equal(waitpid(agent, &status, 0), agent);
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        fixture_host_open(&fixture);
        must_work(fixture.ops->sweep(&fixture.host, &removed, &e), &e, "sweep");
        must_work(host_sweep(&fixture.host, &removed, &e), &e, "giving back");
        assert_true(removed > 0);
        traces_count(&fixture.host, &after);
        assert_true(traces_equal(&none, &after));
        assert_true(traces_none_of_agent(fixture.host.id));
    }
}
