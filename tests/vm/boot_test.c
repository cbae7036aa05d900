/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Real VMs: what the contract battery, which knows nothing of VMs, cannot ask. */
#include "tests/cmocka_with_needs.h"

#include "agent/channel.h"
#include "agent/host/bridge.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/fs.h"
#include "tests/contract/fixture.h"

#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>

enum { BOOT_S = 120 };

static struct fixture fixture;

static struct guest *launched(const Plimsoll__Section *section)
{
    struct err e = ERR_INIT;
    struct guest *g = fixture_guest(&fixture, section);
    if (g->ops->prepare(g, in_seconds(BOOT_S), -1, &e) < 0)
        fail_msg("prepare: %s", err_text(&e));
    channel_stamp(g->channel, STAMP_REQUEST, clock_monotonic_ns());
    if (g->ops->create(g, in_seconds(BOOT_S), -1, &e) < 0)
        fail_msg("create: %s", err_text(&e));
    if (g->ops->start(g, in_seconds(BOOT_S), -1, &e) < 0)
        fail_msg("start: %s", err_text(&e));
    return g;
}

static void say_console(struct guest *g)
{
    struct guest_texts texts = {.n = 0};
    g->ops->texts(g, &texts);
    for (size_t i = 0; i < texts.n; i++)
        print_message("---- %s\n%s\n", texts.items[i]->name, texts.items[i]->text);
    guest_texts_clear(&texts);
}

static const char *text_of(const struct guest_texts *texts, const char *name)
{
    for (size_t i = 0; i < texts->n; i++)
        if (strcmp(texts->items[i]->name, name) == 0)
            return texts->items[i]->text;
    return NULL;
}

static void wait_ready(struct guest *g)
{
    struct err e = ERR_INIT;
    if (g->ops->wait_ready(g, in_seconds(BOOT_S), -1, &e) == 0)
        return;
    say_console(g);
    fail_msg("wait_ready: %s", err_text(&e));
}

static void ended(struct guest *g)
{
    struct err e = ERR_INIT;
    if (g->ops->destroy(g, &e) < 0)
        fail_msg("destroy: %s", err_text(&e));
    guest_free(&g);
}

static void all_phases_come_in_order(struct guest *g)
{
    static const char *const names[STAMP_COUNT] = {"request", "created", "started",
                                                   "kernel",  "init",    "ready"};
    int64_t before_ns = channel_stamped_ns(g->channel, STAMP_REQUEST);
    int64_t request_ns = before_ns;
    for (int i = STAMP_CREATED; i < STAMP_COUNT; i++) {
        int64_t at_ns = channel_stamped_ns(g->channel, (enum stamp)i);
        print_message("%s %.3f s\n", names[i], (double)(at_ns - request_ns) / 1e9);
        assert_true(at_ns > before_ns);
        before_ns = at_ns;
    }
}

static void runs(struct guest *g, char **argv, int status, const char *output)
{
    struct err e = ERR_INIT;
    Plimsoll__Exec request = PLIMSOLL__EXEC__INIT;
    Plimsoll__Finished *finished = NULL;
    request.argv = argv;
    while (argv[request.n_argv])
        request.n_argv++;
    if (channel_exec(g->channel, &request, in_seconds(60), -1, &finished, &e) < 0)
        fail_msg("exec: %s", err_text(&e));
    cleanup_free char *said =
        fs_path("%.*s", (int)finished->output.len, (const char *)finished->output.data);
    if (finished->status != status || (output && strcmp(said, output) != 0))
        fail_msg("%s ended with %d and said `%s`", argv[0], finished->status, said);
    plimsoll__finished__free_unpacked(finished, NULL);
}

static void a_vm_reports_every_phase_and_runs_programs(void **unused)
{
    (void)unused;
    Plimsoll__Section *section = section_new(fixture.ops->catalog, "network", "bridge");
    struct guest *g = launched(section);
    wait_ready(g);
    all_phases_come_in_order(g);
    runs(g, (char *[]){"/bin/echo", "hello from inside", NULL}, 0, "hello from inside\n");
    runs(g, (char *[]){"sh", "-c", "exit 3", NULL}, 3, "");
    runs(g, (char *[]){"/no/such/program", NULL}, 127, NULL);
    runs(g, (char *[]){"sh", "-c", "ls /sys/class/net | tr '\\n' ' '; test -w /", NULL}, 0, NULL);
    runs(g, (char *[]){"sh", "-c", "test -d /sys/class/net/eth0 || ls -d /sys/class/net/e*", NULL},
         0, NULL);
    struct guest_texts texts = {.n = 0};
    g->ops->texts(g, &texts);
    assert_non_null(text_of(&texts, "domain.xml"));
    assert_non_null(strstr(text_of(&texts, "domain.xml"), fixture.host.id));
    assert_non_null(text_of(&texts, "qemu"));
    assert_non_null(text_of(&texts, "console"));
    print_message("---- console\n%s\n", text_of(&texts, "console"));
    cleanup_free char *link = fs_path("pl%s%u", fixture.host.id, 1 + g->serial % 99999);
    assert_true(link_exists(link));
    guest_texts_clear(&texts);
    ended(g);
    assert_false(link_exists(link));
    section_free(&section);
}

/* The guest's own power-off stands for a crash: QEMU ends either way. */
static void a_vm_that_ends_by_itself_is_noticed_at_once(void **unused)
{
    (void)unused;
    Plimsoll__Section *section = section_new(fixture.ops->catalog, NULL, NULL);
    section_set(section, "memory", "33554432"); /* too little for the kernel: it panics and ends */
    struct guest *g = launched(section);
    struct err e = ERR_INIT;
    int64_t begin_ns = clock_monotonic_ns();
    assert_int_equal(g->ops->wait_ready(g, in_seconds(BOOT_S), -1, &e), -1);
    print_message("%s, after %.1f s\n", err_text(&e),
                  (double)(clock_monotonic_ns() - begin_ns) / 1e9);
    assert_int_equal(e.code, ERR_SYSTEM);
    err_clear(&e);
    ended(g);
    section_free(&section);
}

static void a_boot_can_be_cancelled(void **unused)
{
    (void)unused;
    Plimsoll__Section *section = section_new(fixture.ops->catalog, NULL, NULL);
    struct guest *g = launched(section);
    struct err e = ERR_INIT;
    cleanup_close int cancel = eventfd(1, EFD_CLOEXEC);
    assert_int_equal(g->ops->wait_ready(g, in_seconds(BOOT_S), cancel, &e), -1);
    assert_int_equal(e.code, ERR_CANCELLED);
    err_clear(&e);
    ended(g);
    section_free(&section);
}

int main(void)
{
    cleanup_free char *obstacle = fixture_open(&fixture, "kvm");
    if (obstacle) {
        printf("skipped: %s\n", obstacle);
        return 77;
    }
    print_message("accelerator %s\n", fixture.accelerator);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_vm_reports_every_phase_and_runs_programs),
        cmocka_unit_test(a_vm_that_ends_by_itself_is_noticed_at_once),
        cmocka_unit_test(a_boot_can_be_cancelled),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    return fixture_close(&fixture) && failed == 0 ? 0 : 1;
}
