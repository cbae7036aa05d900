// SPDX-License-Identifier: GPL-3.0-or-later
//
// The journal of borrowed host state, cgroups, bridges, and confined processes. What needs root is
// skipped without it.
#include "tests/cmocka_with_needs.h"

#include "agent/guest/common.h"
#include "agent/guest/spawn.h"
#include "agent/host/bridge.h"
#include "agent/host/cgroup.h"
#include "agent/host/journal.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/fs.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

struct place {
    char *folder;
    char *journal;
    char *setting;
};

static int open_place(void **state)
{
    struct place *p = calloc(1, sizeof(*p));
    p->folder =
        fs_path("/tmp/plimsoll borrowed XXXXXX"); /* a blank is a fine character in a path */
    assert_non_null(mkdtemp(p->folder));
    p->journal = fs_path("%s/journal", p->folder);
    p->setting = fs_path("%s/setting", p->folder);
    *state = p;
    return 0;
}

static int close_place(void **state)
{
    struct place *p = *state;
    int result = fs_remove_tree(p->folder, NULL);
    free(p->folder);
    free(p->journal);
    free(p->setting);
    free(p);
    return result;
}

static void put(const char *path, const char *text)
{
    assert_int_equal(fs_write_atomic(path, text, strlen(text), 0600, NULL), 0);
}

static void file_says(const char *path, const char *expected)
{
    cleanup_free char *text = NULL;
    size_t length = 0;
    assert_int_equal(fs_read(path, 1 << 20, &text, &length, NULL), 0);
    assert_string_equal(text, expected);
}

static void add_to(const char *path, const char *text)
{
    cleanup_file FILE *f = fopen(path, "ae");
    assert_non_null(f);
    fputs(text, f);
}

static struct journal *opened(const struct place *p)
{
    struct journal *j = NULL;
    cleanup_err struct err e = ERR_INIT;
    if (journal_open(p->journal, &j, &e) < 0)
        fail_msg("%s", err_text(&e));
    return j;
}

/* Changes the setting through a journal; *ret_entry is what undoes it. */
static void set(struct journal *j, const struct place *p, const char *value, uint64_t *ret_entry)
{
    assert_int_equal(journal_write_setting(j, p->setting, value, ret_entry, NULL), 0);
}

/* As a crash leaves it: the setting was "old" and is "new", nothing is undone. */
static void crash_with_a_setting(const struct place *p)
{
    uint64_t entry = 0;
    put(p->setting, "old");
    struct journal *j = opened(p);
    set(j, p, "new", &entry);
    journal_close(&j);
}

/* The next life gives everything back: `n` things. */
static void next_life_undoes(const struct place *p, unsigned n)
{
    unsigned undone = 0;
    struct journal *j = opened(p);
    assert_int_equal(journal_undo_all(j, &undone, NULL), 0);
    assert_int_equal(undone, n);
    journal_close(&j);
}

/* ---- Journal ---- */

static void a_setting_is_given_back(void **state)
{
    struct place *p = *state;
    uint64_t entry = 0;
    put(p->setting, "old");
    struct journal *j = opened(p);
    set(j, p, "new", &entry);
    file_says(p->setting, "new");
    assert_int_equal(journal_undo(j, entry, NULL), 0);
    file_says(p->setting, "old");
    journal_close(&j);
}

static void the_next_life_gives_back_newest_first(void **state)
{
    struct place *p = *state;
    uint64_t entry = 0;
    unsigned undone = 0;
    put(p->setting, "one");
    struct journal *j = opened(p);
    set(j, p, "two", &entry);
    set(j, p, "six", &entry);
    journal_close(&j); /* as a crash leaves it: nothing is undone */
    file_says(p->setting, "six");
    j = opened(p);
    assert_int_equal(journal_undo_all(j, &undone, NULL), 0);
    assert_int_equal(undone, 2);
    file_says(p->setting, "one");
    journal_close(&j);
    j = opened(p);
    assert_int_equal(journal_undo_all(j, &undone, NULL), 0);
    assert_int_equal(undone, 2);
    journal_close(&j);
}

static void what_was_given_back_is_not_given_back_again(void **state)
{
    struct place *p = *state;
    uint64_t first = 0;
    uint64_t second = 0;
    unsigned undone = 0;
    cleanup_free char *other = fs_path("%s/other", p->folder);
    put(p->setting, "old");
    put(other, "old");
    struct journal *j = opened(p);
    assert_int_equal(journal_write_setting(j, p->setting, "new", &first, NULL), 0);
    assert_int_equal(journal_write_setting(j, other, "new", &second, NULL), 0);
    assert_int_equal(journal_undo(j, first, NULL), 0);
    put(p->setting, "its owner's");
    journal_close(&j);
    j = opened(p);
    assert_int_equal(journal_undo_all(j, &undone, NULL), 0);
    assert_int_equal(undone, 1);
    file_says(p->setting, "its owner's");
    file_says(other, "old");
    journal_close(&j);
}

static void a_torn_last_line_is_dropped(void **state)
{
    struct place *p = *state;
    crash_with_a_setting(p);
    add_to(p->journal, "2 setting /etc/host");
    next_life_undoes(p, 1);
    file_says(p->setting, "old");
}

/* Takes all the room that is left. */
static void fill_disk(const char *path)
{
    static const char block[4096];
    cleanup_close int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    while (write(fd, block, sizeof block) > 0)
        continue;
}

static void what_a_full_disk_cut_off_spoils_no_later_line(void **state)
{
    struct place *p = *state;
    if (geteuid() != 0)
        skip();
    uint64_t entry = 0;
    char far[8001] = "";
    memset(far, 'x', sizeof far - 1);
    assert_int_equal(mount("none", p->folder, "tmpfs", 0, "size=64k"), 0);
    cleanup_free char *filler = fs_path("%s/filler", p->folder);
    put(p->setting, "old");
    struct journal *j = opened(p);
    fill_disk(filler);
    assert_int_equal(journal_mount(j, "none", far, "tmpfs", 0, NULL, &entry, NULL), -1);
    assert_int_equal(unlink(filler), 0);
    set(j, p, "new", &entry);
    journal_close(&j);
    next_life_undoes(p, 1);
    file_says(p->setting, "old");
    assert_int_equal(umount(p->folder), 0);
}

static void a_spoilt_line_does_not_hide_the_others(void **state)
{
    struct place *p = *state;
    crash_with_a_setting(p);
    add_to(p->journal, "\x01\x02 what\n-5 setting\n7\n");
    next_life_undoes(p, 1);
    file_says(p->setting, "old");
}

static void what_was_borrowed_before_a_reboot_is_forgotten(void **state)
{
    struct place *p = *state;
    put(p->setting, "new");
    cleanup_free char *text =
        fs_path("boot 00000000-0000-0000-0000-000000000000\n1 setting %s old\n", p->setting);
    put(p->journal, text);
    next_life_undoes(p, 0);
    file_says(p->setting, "new");
}

static void of_choices_the_chosen_one_is_remembered(void **state)
{
    struct place *p = *state;
    uint64_t entry = 0;
    put(p->setting, "always [madvise] never");
    struct journal *j = opened(p);
    set(j, p, "never", &entry);
    put(p->setting, "");
    assert_int_equal(journal_undo(j, entry, NULL), 0);
    file_says(p->setting, "madvise");
    journal_close(&j);
}

static void what_could_not_be_done_is_not_owed(void **state)
{
    struct place *p = *state;
    uint64_t entry = 0;
    unsigned undone = 0;
    cleanup_err struct err e = ERR_INIT;
    struct journal *j = opened(p);
    assert_int_equal(
        journal_mount(j, "none", "/there/is/no/such/folder", "tmpfs", 0, NULL, &entry, &e), -1);
    assert_non_null(strstr(err_text(&e), "/there/is/no/such/folder"));
    assert_int_equal(journal_undo_all(j, &undone, NULL), 0);
    assert_int_equal(undone, 0);
    journal_close(&j);
}

static bool is_mounted(const char *path)
{
    struct stat here;
    struct stat above;
    cleanup_free char *parent = fs_path("%s/..", path);
    assert_int_equal(stat(path, &here) | stat(parent, &above), 0);
    return here.st_dev != above.st_dev;
}

static void a_mount_is_undone_even_when_somebody_did_it_before(void **state)
{
    struct place *p = *state;
    if (geteuid() != 0)
        skip();
    uint64_t entry = 0;
    unsigned undone = 0;
    cleanup_free char *target = fs_path("%s/mounted", p->folder);
    assert_int_equal(mkdir(target, 0700), 0);
    struct journal *j = opened(p);
    assert_int_equal(journal_mount(j, "none", target, "tmpfs", 0, NULL, &entry, NULL), 0);
    assert_true(is_mounted(target));
    journal_close(&j);
    j = opened(p);
    assert_int_equal(journal_undo_all(j, &undone, NULL), 0);
    assert_false(is_mounted(target));
    assert_int_equal(journal_mount(j, "none", target, "tmpfs", 0, NULL, &entry, NULL), 0);
    assert_int_equal(umount(target), 0);
    assert_int_equal(journal_undo(j, entry, NULL), 0);
    journal_close(&j);
}

static void a_bridge_comes_up_and_goes(void **state)
{
    struct place *p = *state;
    if (geteuid() != 0)
        skip();
    uint64_t entry = 0;
    char name[16];
    snprintf(name, sizeof(name), "plt%d", (int)getpid());
    struct journal *j = opened(p);
    assert_int_equal(journal_bridge(j, name, &entry, NULL), 0);
    assert_true(link_exists(name));
    assert_int_equal(journal_undo(j, entry, NULL), 0);
    assert_false(link_exists(name));
    assert_int_equal(bridge_remove(name, NULL), 0);
    journal_close(&j);
}

/* ---- Roots ---- */

static void a_link_in_an_image_leads_nothing_out_of_the_root(void **state)
{
    struct place *p = *state;
    if (geteuid() != 0)
        skip();
    cleanup_free char *outside = fs_path("%s/outside", p->folder);
    cleanup_free char *image_root = fs_path("%s/image", p->folder);
    cleanup_free char *trap = fs_path("%s/.plimsoll", image_root);
    cleanup_free char *folder = fs_path("%s/guest", p->folder);
    assert_int_equal(mount("none", p->folder, "tmpfs", 0, "size=1m"), 0);
    assert_int_equal(mkdir(outside, 0755) | mkdir(image_root, 0755) | mkdir(folder, 0700), 0);
    assert_int_equal(symlink(outside, trap), 0);
    struct host host = {.journal = opened(p), .runner_path = (char *)"/bin/true"};
    struct image image = {.root = image_root};
    struct guest g = {.host = &host, .image = &image, .folder = folder};
    struct guest_root root = {0};
    cleanup_err struct err e = ERR_INIT;
    assert_int_equal(root_prepare(&g, &root, &e), -1);
    assert_non_null(strstr(err_text(&e), "/.plimsoll is something else in the image"));
    assert_int_equal(rmdir(outside), 0); /* nothing was made in it */
    assert_int_equal(root_release(&g, &root, NULL), 0);
    journal_close(&host.journal);
    assert_int_equal(umount(p->folder), 0);
}

/* ---- Cgroups and processes ---- */

static char *test_cgroup(void)
{
    return fs_path("plimsoll-unit-%d", (int)getpid());
}

static bool cgroups_can_be_made(void)
{
    cleanup_free char *path = test_cgroup();
    bool can = geteuid() == 0 && cgroup_layout() != CGROUP_NONE && cgroup_make(path, NULL) == 0;
    cgroup_remove(path, NULL);
    return can;
}

static void a_cgroup_kills_counts_and_goes_with_all_below(void **state)
{
    (void)state;
    if (!cgroups_can_be_made())
        skip();
    cleanup_free char *top = test_cgroup();
    cleanup_free char *below = fs_path("%s/a/b", top);
    cleanup_err struct err e = ERR_INIT;
    assert_int_equal(cgroup_make(below, &e), 0);
    pid_t pid = fork();
    if (pid == 0)
        for (;;)
            pause();
    assert_int_equal(cgroup_add(below, pid, &e), 0);
    assert_int_equal(cgroup_kill(top, clock_monotonic_ns() + 5 * NS_PER_S, &e), 0);
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(WTERMSIG(status), SIGKILL);
    int64_t cpu_ns = -1;
    assert_int_equal(cgroup_cpu_ns(below, &cpu_ns, &e), 0);
    assert_true(cpu_ns >= 0);
    assert_int_equal(cgroup_remove(top, &e), 0);
    assert_false(cgroup_exists(top));
    assert_int_equal(cgroup_remove(top, &e), 0);
    assert_int_equal(cgroup_kill(top, clock_monotonic_ns() + NS_PER_S, &e), 0);
}

static void what_a_process_says(struct spawn_request *request, char *buffer, size_t bytes)
{
    int ends[2];
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    request->output = ends[1];
    pid_t pid = 0;
    int pidfd = -1;
    int status = 0;
    int64_t started_ns = 0;
    int64_t before_ns = clock_monotonic_ns();
    cleanup_err struct err e = ERR_INIT;
    if (spawn_confined(request, &pid, &pidfd, &started_ns, &e) < 0)
        fail_msg("%s", err_text(&e));
    assert_true(started_ns >= before_ns && started_ns <= clock_monotonic_ns());
    close(ends[1]);
    assert_int_equal(spawn_reap(pid, pidfd, clock_monotonic_ns() + 10 * NS_PER_S, &status, &e), 0);
    assert_int_equal(status, 0);
    ssize_t n = read(ends[0], buffer, bytes - 1);
    assert_true(n > 0);
    buffer[n] = '\0';
    close(ends[0]);
    close(pidfd);
}

static void a_confined_process_is_nobody_on_one_core_in_its_cgroup(void **state)
{
    (void)state;
    if (!cgroups_can_be_made())
        skip();
    cpu_set_t cpus;
    char said[16384];
    cleanup_free char *cgroup = test_cgroup();
    char *argv[] = {(char *)"/bin/cat", (char *)"/proc/self/status", (char *)"/proc/self/cgroup",
                    NULL};
    assert_int_equal(sched_getaffinity(0, sizeof(cpus), &cpus), 0);
    int cpu = 0;
    while (!CPU_ISSET((size_t)cpu, &cpus))
        cpu++;
    assert_int_equal(cgroup_make(cgroup, NULL), 0);
    struct spawn_request request = {
        .argv = argv, .root = "/", .cgroup = cgroup, .cpu = cpu, .uid = SPAWN_UID};
    what_a_process_says(&request, said, sizeof(said));
    cleanup_free char *list = fs_path("Cpus_allowed_list:\t%d\n", cpu);
    cleanup_free char *where = fs_path(":/%s\n", cgroup);
    assert_non_null(strstr(said, "Uid:\t65534\t65534\t65534\t65534\n"));
    assert_non_null(strstr(said, "Gid:\t65534\t65534\t65534\t65534\n"));
    assert_non_null(strstr(said, "Groups:\t \n"));
    assert_non_null(strstr(said, "NoNewPrivs:\t1\n"));
    assert_non_null(strstr(said, "CapEff:\t0000000000000000\n"));
    assert_non_null(strstr(said, "SigBlk:\t0000000000000000\n"));
    assert_non_null(strstr(said, list));
    assert_non_null(strstr(said, where));
    assert_int_equal(cgroup_remove(cgroup, NULL), 0);
}

static void a_program_that_is_not_there_is_named(void **state)
{
    (void)state;
    if (!cgroups_can_be_made())
        skip();
    cleanup_err struct err e = ERR_INIT;
    cleanup_free char *cgroup = test_cgroup();
    char *argv[] = {(char *)"/there/is/no/such/program", NULL};
    cpu_set_t cpus;
    assert_int_equal(sched_getaffinity(0, sizeof(cpus), &cpus), 0);
    int cpu = 0;
    while (!CPU_ISSET((size_t)cpu, &cpus))
        cpu++;
    assert_int_equal(cgroup_make(cgroup, NULL), 0);
    struct spawn_request request = {
        .argv = argv, .root = "/", .cgroup = cgroup, .output = 2, .cpu = cpu, .uid = SPAWN_UID};
    pid_t pid = 0;
    int pidfd = -1;
    int64_t started_ns = 0;
    assert_int_equal(spawn_confined(&request, &pid, &pidfd, &started_ns, &e), -1);
    assert_non_null(strstr(err_text(&e), "/there/is/no/such/program"));
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* no child is left to reap */
    assert_int_equal(cgroup_remove(cgroup, NULL), 0);
}

/* What the tests mount is seen by nobody else, and goes with this process, however it ends. */
static void mount_for_ourselves(void)
{
    if (geteuid() == 0 && unshare(CLONE_NEWNS) == 0)
        assert_int_equal(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
}

int main(void)
{
    mount_for_ourselves();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_setting_is_given_back, open_place, close_place),
        cmocka_unit_test_setup_teardown(the_next_life_gives_back_newest_first, open_place,
                                        close_place),
        cmocka_unit_test_setup_teardown(what_was_given_back_is_not_given_back_again, open_place,
                                        close_place),
        cmocka_unit_test_setup_teardown(a_torn_last_line_is_dropped, open_place, close_place),
        cmocka_unit_test_setup_teardown(what_a_full_disk_cut_off_spoils_no_later_line, open_place,
                                        close_place),
        cmocka_unit_test_setup_teardown(a_spoilt_line_does_not_hide_the_others, open_place,
                                        close_place),
        cmocka_unit_test_setup_teardown(what_was_borrowed_before_a_reboot_is_forgotten, open_place,
                                        close_place),
        cmocka_unit_test_setup_teardown(of_choices_the_chosen_one_is_remembered, open_place,
                                        close_place),
        cmocka_unit_test_setup_teardown(what_could_not_be_done_is_not_owed, open_place,
                                        close_place),
        cmocka_unit_test_setup_teardown(a_mount_is_undone_even_when_somebody_did_it_before,
                                        open_place, close_place),
        cmocka_unit_test_setup_teardown(a_bridge_comes_up_and_goes, open_place, close_place),
        cmocka_unit_test_setup_teardown(a_link_in_an_image_leads_nothing_out_of_the_root,
                                        open_place, close_place),
        cmocka_unit_test(a_cgroup_kills_counts_and_goes_with_all_below),
        cmocka_unit_test(a_confined_process_is_nobody_on_one_core_in_its_cgroup),
        cmocka_unit_test(a_program_that_is_not_there_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
