/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agent/clean.h"
#include "agent/host/host.h"
#include "agent/host/tool.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/fs.h"
#include "proto/recipe.h"
#include "tests/cmocka_with_needs.h"
#include "tests/unit/agent_fixture.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

static int set_up(void **state)
{
    struct agent_fixture *f = malloc(sizeof *f);
    *state = f;
    return agent_fixture_open(f);
}

static int tear_down(void **state)
{
    agent_fixture_close(*state);
    free(*state);
    return 0;
}

/* Another host on the same run folder; `state` is the name of its state folder. */
static struct host other_host(const struct agent_fixture *f, const char *state)
{
    return (struct host){.state_folder = fs_path("%s/%s", f->folder, state),
                         .run_folder = fs_path("%s/run", f->folder),
                         .images_folder = fs_path("%s/images", f->folder)};
}

static bool is_registered(const struct agent_fixture *f, const char *id)
{
    cleanup_free char *path = fs_path("%s/run/agents/%s", f->folder, id);
    return fs_exists(path);
}

static void an_id_is_drawn_once(void **state)
{
    struct agent_fixture *f = *state;
    char id[9];
    memcpy(id, f->host.id, 9);
    assert_int_equal(strspn(id, "0123456789abcdef"), 8);
    assert_true(is_registered(f, id));
    host_close(&f->host);
    assert_false(is_registered(f, id));
    f->host = other_host(f, "state");
    assert_int_equal(host_open(&f->host, NULL), 0);
    assert_string_equal(f->host.id, id);
    struct host second = other_host(f, "state-2");
    assert_int_equal(host_open(&second, NULL), 0);
    assert_string_not_equal(second.id, id);
    host_close(&second);
}

static void a_second_agent_on_a_state_folder_is_refused(void **state)
{
    struct agent_fixture *f = *state;
    struct host second = other_host(f, "state");
    struct err e = ERR_INIT;
    assert_int_equal(host_open(&second, &e), -1);
    assert_int_equal(e.code, ERR_REFUSED);
    assert_non_null(strstr(err_text(&e), f->host.state_folder));
    err_clear(&e);
    assert_true(is_registered(f, f->host.id));
}

static void a_run_folder_that_others_may_write_to_is_refused(void **state)
{
    struct agent_fixture *f = *state;
    cleanup_free char *agents = fs_path("%s/run/agents", f->folder);
    assert_int_equal(chmod(agents, 0777), 0);
    cleanup_err struct err e = ERR_INIT;
    struct host h = other_host(f, "other");
    assert_int_equal(host_open(&h, &e), -1);
    assert_int_equal(e.code, ERR_REFUSED);
    assert_non_null(strstr(err_text(&e), agents));
    assert_int_equal(chmod(agents, 0755), 0);
}

static void a_copied_state_folder_is_refused(void **state)
{
    struct agent_fixture *f = *state;
    cleanup_free char *folder = fs_path("%s/copy", f->folder);
    cleanup_free char *id = fs_path("%s/copy/id", f->folder);
    assert_int_equal(fs_make_dirs(folder, 0700, NULL), 0);
    assert_int_equal(fs_write_atomic(id, f->host.id, 8, 0600, NULL), 0);
    struct host copy = other_host(f, "copy");
    struct err e = ERR_INIT;
    assert_int_equal(host_open(&copy, &e), -1);
    assert_int_equal(e.code, ERR_REFUSED);
    assert_non_null(strstr(err_text(&e), "copy"));
    err_clear(&e);
    assert_true(is_registered(f, f->host.id));
}

static void an_id_that_is_none_is_named(void **state)
{
    struct agent_fixture *f = *state;
    static const char *const wrong[] = {"", "../../et", "0123456", "0123456789", "0123456G"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        cleanup_free char *folder = fs_path("%s/wrong", f->folder);
        cleanup_free char *id = fs_path("%s/id", folder);
        assert_int_equal(fs_make_dirs(folder, 0700, NULL), 0);
        assert_int_equal(fs_write_atomic(id, wrong[i], strlen(wrong[i]), 0600, NULL), 0);
        struct host h = other_host(f, "wrong");
        struct err e = ERR_INIT;
        assert_int_equal(host_open(&h, &e), -1);
        assert_int_equal(e.code, ERR_INPUT);
        assert_non_null(strstr(err_text(&e), "/id:1: expected"));
        err_clear(&e);
    }
}

/* A process in a network namespace of its own, which lives as long as it does; -1: not allowed. */
static pid_t hold_network_namespace(void)
{
    int ends[2];
    char made = 0;
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    pid_t pid = fork();
    if (pid == 0) {
        if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || unshare(CLONE_NEWNET) < 0 ||
            write(ends[1], "1", 1) != 1)
            _exit(1);
        for (;;)
            pause();
    }
    close(ends[1]);
    ssize_t got = read(ends[0], &made, 1);
    close(ends[0]);
    if (got == 1)
        return pid;
    waitpid(pid, NULL, 0);
    return -1;
}

static void end(pid_t pid)
{
    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static int enter_network_namespace(pid_t of)
{
    cleanup_free char *path = fs_path("/proc/%d/ns/net", (int)of);
    cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC);
    return setns(fd, CLONE_NEWNET);
}

/* An agent in a process of its own, in the network namespace of `neighbour` (0: in ours), that
 * makes a guest's folder and is killed. Returns its id. */
static void run_beside_and_kill(const struct agent_fixture *f, const char *state, pid_t neighbour,
                                char ret_id[9])
{
    int ends[2];
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    pid_t pid = fork();
    if (pid == 0) {
        struct host h = other_host(f, state);
        if ((neighbour && enter_network_namespace(neighbour) < 0) || host_open(&h, NULL) < 0)
            _exit(1);
        cleanup_free char *guest = fs_path("%s/guests/pl%s-1/deep", h.state_folder, h.id);
        if (fs_make_dirs(guest, 0700, NULL) < 0 || write(ends[1], h.id, 9) != 9)
            _exit(1);
        for (;;)
            pause();
    }
    assert_int_equal(read(ends[0], ret_id, 9), 9);
    end(pid);
    close(ends[0]);
    close(ends[1]);
}

static void run_and_kill(const struct agent_fixture *f, const char *state, char ret_id[9])
{
    run_beside_and_kill(f, state, 0, ret_id);
}

static void a_killed_agent_is_cleaned_by_any_other(void **state)
{
    struct agent_fixture *f = *state;
    char id[9];
    run_and_kill(f, "killed", id);
    assert_true(is_registered(f, id));
    unsigned removed = 0, alive = 0;
    struct err e = ERR_INIT;
    if (clean_dead(&f->host, &removed, &alive, &e) < 0)
        fail_msg("%s", err_text(&e));
    assert_true(removed >= 1);
    assert_int_equal(alive, 0);
    assert_false(is_registered(f, id));
    assert_true(is_registered(f, f->host.id));
    cleanup_free char *guest = fs_path("%s/killed/guests/pl%s-1", f->folder, id);
    assert_false(fs_exists(guest));
    /* The state folder stays: its spool may hold results. */
    cleanup_free char *kept = fs_path("%s/killed/id", f->folder);
    assert_true(fs_exists(kept));
}

static void a_killed_agent_of_another_network_namespace_is_left_alone_while_that_is_there(
    void **state)
{
    struct agent_fixture *f = *state;
    char id[9];
    unsigned removed = 0, alive = 0;
    pid_t neighbour = hold_network_namespace();
    if (neighbour < 0)
        skip();
    run_beside_and_kill(f, "killed", neighbour, id);
    assert_int_equal(clean_dead(&f->host, &removed, &alive, NULL), 0);
    assert_true(is_registered(f, id));
    assert_int_equal(removed, 0);
    end(neighbour);
    assert_int_equal(clean_dead(&f->host, &removed, &alive, NULL), 0);
    assert_false(is_registered(f, id));
    assert_true(removed > 0);
}

static void a_killed_agent_without_its_state_folder_is_cleaned_too(void **state)
{
    struct agent_fixture *f = *state;
    char id[9];
    run_and_kill(f, "killed", id);
    cleanup_free char *folder = fs_path("%s/killed", f->folder);
    assert_int_equal(fs_remove_tree(folder, NULL), 0);
    unsigned removed = 0, alive = 0;
    assert_int_equal(clean_dead(&f->host, &removed, &alive, NULL), 0);
    assert_false(is_registered(f, id));
    assert_false(fs_exists(folder));
    cleanup_free char *stand_in = fs_path("%s/run/agents/%s.state", f->folder, id);
    assert_false(fs_exists(stand_in));
}

static void a_living_agent_is_left_alone(void **state)
{
    struct agent_fixture *f = *state;
    struct host second = other_host(f, "second");
    assert_int_equal(host_open(&second, NULL), 0);
    unsigned removed = 0, alive = 0;
    assert_int_equal(clean_dead(&f->host, &removed, &alive, NULL), 0);
    assert_int_equal(removed, 0);
    assert_int_equal(alive, 1);
    assert_true(is_registered(f, second.id));
    host_close(&second);
}

static void what_could_not_be_removed_stays_registered(void **state)
{
    struct agent_fixture *f = *state;
    struct host second = other_host(f, "second");
    assert_int_equal(host_open(&second, NULL), 0);
    char id[9];
    memcpy(id, second.id, 9);
    host_keep_registered(&second);
    host_close(&second);
    assert_true(is_registered(f, id));
}

static void the_hosts_lock_is_waited_for_until_the_deadline(void **state)
{
    struct agent_fixture *f = *state;
    struct host second = other_host(f, "second");
    assert_int_equal(host_open(&second, NULL), 0);
    int held = -1, mine = -1;
    struct err e = ERR_INIT;
    assert_int_equal(host_lock(&second, 0, -1, &held, &e), 0);
    int64_t begin_ns = clock_monotonic_ns();
    assert_int_equal(host_lock(&f->host, begin_ns + 30 * NS_PER_MS, -1, &mine, &e), -1);
    assert_int_equal(e.code, ERR_TIMEOUT);
    assert_true(clock_monotonic_ns() - begin_ns >= 30 * NS_PER_MS);
    assert_int_equal(mine, -1);
    err_clear(&e);
    close(held);
    /* The helper that gave up must not keep what it got too late. */
    assert_int_equal(host_lock(&f->host, clock_monotonic_ns() + 10 * NS_PER_S, -1, &mine, &e), 0);
    close(mine);
    host_close(&second);
}

struct waiting {
    struct host *host;
    int fd;
    int64_t got_ns;
};

static void *wait_for_lock(void *arg)
{
    struct waiting *w = arg;
    if (host_lock(w->host, clock_monotonic_ns() + 10 * NS_PER_S, -1, &w->fd, NULL) == 0)
        w->got_ns = clock_monotonic_ns();
    return NULL;
}

static void the_hosts_lock_is_handed_over(void **state)
{
    struct agent_fixture *f = *state;
    int held = -1;
    assert_int_equal(host_lock(&f->host, 0, -1, &held, NULL), 0);
    struct waiting w = {&f->host, -1, 0};
    pthread_t thread;
    pthread_create(&thread, NULL, wait_for_lock, &w);
    struct timespec a_moment = {.tv_nsec = 20 * NS_PER_MS};
    nanosleep(&a_moment, NULL);
    int64_t released_ns = clock_monotonic_ns();
    close(held);
    pthread_join(thread, NULL);
    assert_true(w.fd >= 0);
    assert_true(w.got_ns >= released_ns);
    close(w.fd);
}

static void cancel_ends_the_wait_for_the_lock(void **state)
{
    struct agent_fixture *f = *state;
    int held = -1, mine = -1;
    assert_int_equal(host_lock(&f->host, 0, -1, &held, NULL), 0);
    cleanup_close int cancel_fd = eventfd(1, EFD_CLOEXEC);
    struct err e = ERR_INIT;
    assert_int_equal(host_lock(&f->host, 0, cancel_fd, &mine, &e), -1);
    assert_int_equal(e.code, ERR_CANCELLED);
    err_clear(&e);
    close(held);
}

static const char *fact(const Plimsoll__Fingerprint *p, const char *key)
{
    for (size_t i = 0; i < p->n_facts; i++)
        if (strcmp(p->facts[i]->key, key) == 0)
            return p->facts[i]->value;
    return NULL;
}

static void the_fingerprint_is_the_same_twice(void **state)
{
    struct agent_fixture *f = *state;
    Plimsoll__Fingerprint *one = NULL, *two = NULL;
    assert_int_equal(host_fingerprint(&f->host, &one, NULL), 0);
    assert_int_equal(host_fingerprint(&f->host, &two, NULL), 0);
    assert_int_equal(one->n_facts, two->n_facts);
    for (size_t i = 0; i < one->n_facts; i++) {
        assert_string_equal(one->facts[i]->key, two->facts[i]->key);
        assert_string_equal(one->facts[i]->value, two->facts[i]->value);
        for (size_t j = 0; j < i; j++)
            assert_string_not_equal(one->facts[i]->key, one->facts[j]->key);
    }
    static const char *const keys[] = {"cpu.model",         "cpu.threads",   "memory.total",
                                       "kernel.release",    "cgroup.layout", "setting.ksm",
                                       "setting.thp",       "qemu.version",  "libvirt.version",
                                       "liblxc.version",    "criu.version",  "host.virtualised",
                                       "host.distribution", "host.init"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        assert_non_null(fact(one, keys[i]));
    char threads[16];
    snprintf(threads, sizeof threads, "%ld", sysconf(_SC_NPROCESSORS_ONLN));
    assert_string_equal(fact(one, "cpu.threads"), threads);
    plimsoll__fingerprint__free_unpacked(one, NULL);
    plimsoll__fingerprint__free_unpacked(two, NULL);
}

static void a_tool_that_hangs_or_floods_is_no_fact_and_no_wait(void **state)
{
    (void)state;
    static const char *const hangs[] = {"sleep", "1000", NULL};
    static const char *const floods[] = {"yes", "1.2.3", NULL};
    static const char *const fails[] = {"false", NULL};
    static const char *const absent[] = {"no-such-program-at-all", NULL};
    static const char *const good[] = {"echo", "Tool (suite) 10.4.1 of today", NULL};
    struct tool tools[] = {
        {.argv = hangs}, {.argv = floods}, {.argv = fails}, {.argv = absent}, {.argv = good}};
    int64_t begin_ns = clock_monotonic_ns();
    tool_run_all(tools, 5, begin_ns + NS_PER_S); /* an emulated host is slow to start five */
    assert_true(clock_monotonic_ns() - begin_ns < 5 * NS_PER_S);
    for (size_t i = 0; i < 4; i++)
        assert_string_equal(tools[i].version, "");
    assert_string_equal(tools[4].version, "10.4.1");
}

/* ---- Images ---- */

static void write_at(const char *path, const char *text)
{
    assert_int_equal(fs_write_atomic(path, text, strlen(text), 0644, NULL), 0);
}

/* Makes the image that `recipe` is looked up as; `digest` is what its manifest claims. */
static void make_image(const struct agent_fixture *f, const Plimsoll__Section *recipe,
                       const char *name, const char *digest)
{
    char of_recipe[DIGEST_TEXT_BYTES];
    assert_int_equal(recipe_digest(recipe, of_recipe, NULL), 0);
    cleanup_free char *root = fs_path("%s/images/%s/root", f->folder, name);
    cleanup_free char *kernel = fs_path("%s/images/%s/kernel", f->folder, name);
    cleanup_free char *manifest = fs_path("%s/images/%s/manifest.json", f->folder, name);
    cleanup_free char *link = fs_path("%s/images/recipe-%s", f->folder, of_recipe + 7);
    cleanup_free char *text =
        fs_path("{\"schema\": 1, \"digest\": \"%s\", \"kernel_digest\": \"sha256:77\"}", digest);
    assert_int_equal(fs_make_dirs(root, 0755, NULL), 0);
    write_at(manifest, text);
    write_at(kernel, "kernel");
    unlink(link);
    assert_int_equal(symlink(name, link), 0);
}

static void an_image_is_found_by_its_recipe_and_must_fit_its_manifest(void **state)
{
    struct agent_fixture *f = *state;
    static const char name[] = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
    cleanup_free char *digest = fs_path("sha256:%s", name);
    Plimsoll__Section *recipe = agent_fixture_guest((const char *[]){"suite", "bookworm", NULL});
    Plimsoll__Section *another = agent_fixture_guest((const char *[]){"suite", "trixie", NULL});
    make_image(f, recipe, name, digest);
    struct image *image = NULL;
    struct err e = ERR_INIT;
    if (image_find(&f->host, recipe, &image, &e) < 0)
        fail_msg("%s", err_text(&e));
    assert_string_equal(image->digest, digest);
    assert_string_equal(image->kernel_digest, "sha256:77");
    assert_non_null(image->root);
    assert_non_null(image->kernel);
    assert_null(image->disk);
    image_free(&image);
    assert_int_equal(image_find_any(&f->host, &image, &e), 0);
    image_free(&image);
    assert_int_equal(image_find(&f->host, another, &image, &e), -1);
    assert_int_equal(e.code, ERR_NOT_FOUND);
    assert_non_null(strstr(err_text(&e), "deploy/image"));
    make_image(f, recipe, name, "sha256:something else");
    assert_int_equal(image_find(&f->host, recipe, &image, &e), -1);
    assert_int_equal(e.code, ERR_UNAVAILABLE);
    assert_non_null(strstr(err_text(&e), "digest"));
    err_clear(&e);
    plimsoll__section__free_unpacked(recipe, NULL);
    plimsoll__section__free_unpacked(another, NULL);
}

#define HOST_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOST_TEST(an_id_is_drawn_once),
        HOST_TEST(a_second_agent_on_a_state_folder_is_refused),
        HOST_TEST(a_run_folder_that_others_may_write_to_is_refused),
        HOST_TEST(a_copied_state_folder_is_refused),
        HOST_TEST(an_id_that_is_none_is_named),
        HOST_TEST(a_killed_agent_is_cleaned_by_any_other),
        HOST_TEST(a_killed_agent_of_another_network_namespace_is_left_alone_while_that_is_there),
        HOST_TEST(a_killed_agent_without_its_state_folder_is_cleaned_too),
        HOST_TEST(a_living_agent_is_left_alone),
        HOST_TEST(what_could_not_be_removed_stays_registered),
        HOST_TEST(the_hosts_lock_is_waited_for_until_the_deadline),
        HOST_TEST(the_hosts_lock_is_handed_over),
        HOST_TEST(cancel_ends_the_wait_for_the_lock),
        HOST_TEST(the_fingerprint_is_the_same_twice),
        cmocka_unit_test(a_tool_that_hangs_or_floods_is_no_fact_and_no_wait),
        HOST_TEST(an_image_is_found_by_its_recipe_and_must_fit_its_manifest),
    };
    return cmocka_run_group_tests_name("host", tests, NULL, NULL);
}
