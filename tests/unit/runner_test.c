/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The runner's code outside of any guest: what it does with a request. The program itself, with its
 * entry before libc, is tried by the contract battery and by tests/vm. */
#include "tests/cmocka_with_needs.h"

#include "agent/runner/runner.h"
#include "common/cleanup.h"
#include "proto/frame.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct early runner_early_state = {.fd = -1};

int runner_fail(const char *format, ...)
{
    (void)format;
    return RUNNER_EXIT_FAILED;
}

static int peers[2];

static int set_up(void **arg)
{
    (void)arg;
    return socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, peers);
}

static int tear_down(void **arg)
{
    (void)arg;
    close(peers[0]);
    if (peers[1] >= 0)
        close(peers[1]);
    return 0;
}

static int run(char **argv, uint64_t deadline_ns, Plimsoll__Finished **ret)
{
    Plimsoll__Exec request = PLIMSOLL__EXEC__INIT;
    request.argv = argv;
    request.deadline_ns = deadline_ns;
    while (argv[request.n_argv])
        request.n_argv++;
    return program_run(&request, peers[0], ret);
}

#define SHELL(text)                                                                                \
    (char *[])                                                                                     \
    {                                                                                              \
        (char *)"sh", (char *)"-c", (char *)(text), NULL                                           \
    }

static void ends_with(char **argv, uint64_t deadline_ns, int status, const char *output)
{
    Plimsoll__Finished *f = NULL;
    assert_int_equal(run(argv, deadline_ns, &f), 0);
    assert_int_equal(f->status, status);
    if (output) {
        assert_int_equal(f->output.len, strlen(output));
        assert_memory_equal(f->output.data, output, strlen(output));
    }
    program_finished_free(&f);
}

static void output_and_errors_come_back_in_order(void **arg)
{
    (void)arg;
    ends_with(SHELL("echo one; echo two >&2; echo three"), 0, 0, "one\ntwo\nthree\n");
}

static void the_exit_status_comes_back(void **arg)
{
    (void)arg;
    ends_with(SHELL("exit 42"), 0, 42, "");
}

static void death_by_a_signal_is_128_and_its_number(void **arg)
{
    (void)arg;
    ends_with(SHELL("kill -TERM $$"), 0, 128 + SIGTERM, "");
}

static void a_program_that_is_not_there_is_127_with_words(void **arg)
{
    (void)arg;
    ends_with((char *[]){(char *)"/no/such/program", NULL}, 0, 127,
              "plimsoll-runner: could not run /no/such/program: No such file or directory\n");
    ends_with((char *[]){NULL}, 0, 127, NULL);
}

static void only_the_last_64_kib_of_output_are_kept(void **arg)
{
    (void)arg;
    Plimsoll__Finished *f = NULL;
    assert_int_equal(run(SHELL("head -c 1000000 /dev/zero; echo end"), 0, &f), 0);
    assert_int_equal(f->output.len, RUNNER_OUTPUT_BYTES);
    assert_memory_equal(f->output.data + f->output.len - 4, "end\n", 4);
    assert_int_equal(f->output.data[0], 0);
    program_finished_free(&f);
}

static void a_program_that_never_stops_talking_ends_at_its_deadline(void **arg)
{
    (void)arg;
    Plimsoll__Finished *f = NULL;
    assert_int_equal(run(SHELL("exec yes"), 200000000, &f), 0);
    assert_int_equal(f->status, 128 + SIGKILL);
    assert_true(f->elapsed_ns < UINT64_C(5000000000));
    program_finished_free(&f);
}

static void a_program_past_its_deadline_is_killed_with_its_children(void **arg)
{
    (void)arg;
    Plimsoll__Finished *f = NULL;
    assert_int_equal(run(SHELL("sleep 1000 & echo $!; wait"), 200000000, &f), 0);
    assert_int_equal(f->status, 128 + SIGKILL);
    assert_true(f->elapsed_ns >= 200000000 && f->elapsed_ns < UINT64_C(60000000000));
    pid_t child = (pid_t)strtol((const char *)f->output.data, NULL, 10);
    assert_true(child > 1);
    /* The child is an orphan, reaped by whoever adopts it: it is gone or a zombie, never asleep. */
    char path[64];
    char state = 'Z';
    snprintf(path, sizeof path, "/proc/%d/stat", (int)child);
    cleanup_file FILE *stat = fopen(path, "re");
    if (stat && fscanf(stat, "%*d (%*[^)]) %c", &state) != 1)
        state = 'Z';
    assert_true(state == 'Z' || state == 'X' || state == 'R');
    program_finished_free(&f);
}

static void a_peer_that_hangs_up_ends_the_program(void **arg)
{
    (void)arg;
    Plimsoll__Finished *f = NULL;
    close(peers[1]);
    peers[1] = -1;
    assert_int_equal(run(SHELL("sleep 1000"), 0, &f), -1);
    assert_null(f);
}

static void a_program_gets_an_empty_input(void **arg)
{
    (void)arg;
    ends_with(SHELL("cat; echo done"), 0, 0, "done\n");
}

static void a_mark_arrives_as_a_whole_frame(void **arg)
{
    (void)arg;
    ProtobufCMessage *message = NULL;
    assert_int_equal(mark_send(peers[0], PLIMSOLL__PHASE__PHASE_INIT), 0);
    assert_int_equal(frame_read(peers[1], &plimsoll__runner__descriptor, 0, &message, NULL), 0);
    const Plimsoll__Runner *r = (const Plimsoll__Runner *)message;
    assert_int_equal(r->kind_case, PLIMSOLL__RUNNER__KIND_MARK);
    assert_int_equal(r->mark->phase, PLIMSOLL__PHASE__PHASE_INIT);
    frame_free(message);
}

#define runner_test(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        runner_test(output_and_errors_come_back_in_order),
        runner_test(the_exit_status_comes_back),
        runner_test(death_by_a_signal_is_128_and_its_number),
        runner_test(a_program_that_is_not_there_is_127_with_words),
        runner_test(only_the_last_64_kib_of_output_are_kept),
        runner_test(a_program_that_never_stops_talking_ends_at_its_deadline),
        runner_test(a_program_past_its_deadline_is_killed_with_its_children),
        runner_test(a_peer_that_hangs_up_ends_the_program),
        runner_test(a_program_gets_an_empty_input),
        runner_test(a_mark_arrives_as_a_whole_frame),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
