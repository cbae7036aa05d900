/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Channels, against peers that behave as a runner does and peers that do not. */
#include "tests/cmocka_with_needs.h"

#include "agent/channel.h"
#include "agent/runner/runner.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/fs.h"
#include "proto/frame.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

struct bench {
    char *folder;
    char *path;
    struct stamper *stamper;
    struct channel *channel;
};

static int64_t soon(void)
{
    return clock_monotonic_ns() + 10 * NS_PER_S;
}

static int set_up(void **arg)
{
    static struct bench b;
    struct err e = ERR_INIT;
    b.folder = fs_path("/tmp/plimsoll-channel-XXXXXX");
    assert_non_null(mkdtemp(b.folder));
    b.path = fs_path("%s/sock", b.folder);
    assert_int_equal(stamper_start(&b.stamper, &e), 0);
    assert_int_equal(channel_listen(b.stamper, b.path, &b.channel, &e), 0);
    *arg = &b;
    return 0;
}

static int tear_down(void **arg)
{
    struct bench *b = *arg;
    channel_free(&b->channel);
    stamper_stop(&b->stamper);
    assert_false(fs_exists(b->path)); /* the socket went with its channel */
    assert_int_equal(fs_remove_tree(b->folder, NULL), 0);
    free(b->path);
    free(b->folder);
    return 0;
}

static int dial(const char *path)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    assert_true(strlen(path) < sizeof a.sun_path);
    strcpy(a.sun_path, path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
    return fd;
}

static void say(int fd, const void *bytes, size_t n)
{
    assert_int_equal(send(fd, bytes, n, MSG_NOSIGNAL), n);
}

static void say_phase(int fd, unsigned char phase)
{
    const unsigned char mark[] = MARK_FRAME(phase);
    say(fd, mark, sizeof mark);
}

static int wait_for(struct bench *b, enum stamp which)
{
    return channel_wait(b->channel, which, soon(), -1, NULL);
}

static void fails_with(struct bench *b, enum stamp which, enum err_code code)
{
    cleanup_err struct err e = ERR_INIT;
    assert_int_equal(channel_wait(b->channel, which, soon(), -1, &e), -1);
    if (e.code != code)
        fail_msg("code %d: %s", (int)e.code, err_text(&e));
}

static bool hung_up(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLRDHUP};
    return poll(&p, 1, 10000) == 1 && (p.revents & (POLLHUP | POLLRDHUP));
}

/* ---- Marks ---- */

static void the_written_out_mark_is_what_the_encoder_makes(void **arg)
{
    (void)arg;
    for (unsigned char phase = PLIMSOLL__PHASE__PHASE_KERNEL; phase <= PLIMSOLL__PHASE__PHASE_READY;
         phase++) {
        const unsigned char ours[] = MARK_FRAME(phase);
        Plimsoll__Mark mark = PLIMSOLL__MARK__INIT;
        Plimsoll__Runner runner = PLIMSOLL__RUNNER__INIT;
        uint8_t *frame = NULL;
        size_t length = 0;
        mark.phase = (Plimsoll__Phase)phase;
        runner.kind_case = PLIMSOLL__RUNNER__KIND_MARK;
        runner.mark = &mark;
        assert_int_equal(frame_encode(&runner.base, &frame, &length, NULL), 0);
        assert_int_equal(length, MARK_BYTES);
        assert_memory_equal(frame, ours, MARK_BYTES);
        free(frame);
    }
}

static void a_mark_is_stamped_between_its_sending_and_its_being_seen(void **arg)
{
    struct bench *b = *arg;
    int64_t before_ns = clock_monotonic_ns();
    cleanup_close int fd = dial(b->path);
    say_phase(fd, PLIMSOLL__PHASE__PHASE_READY);
    assert_int_equal(wait_for(b, STAMP_READY), 0);
    int64_t after_ns = clock_monotonic_ns();
    int64_t at_ns = channel_stamped_ns(b->channel, STAMP_READY);
    assert_true(before_ns <= at_ns && at_ns <= after_ns);
    assert_int_equal(channel_stamped_ns(b->channel, STAMP_INIT), 0);
}

static void a_first_mark_is_stamped_when_its_connection_arrived(void **arg)
{
    struct bench *b = *arg;
    int64_t before_ns = clock_monotonic_ns();
    cleanup_close int fd = dial(b->path);
    cleanup_close int later = dial(b->path);
    say_phase(later, PLIMSOLL__PHASE__PHASE_KERNEL);
    assert_int_equal(wait_for(b, STAMP_KERNEL), 0); /* so the earlier one was taken in as well */
    int64_t arrived_ns = clock_monotonic_ns();
    say_phase(fd, PLIMSOLL__PHASE__PHASE_INIT);
    say_phase(fd, PLIMSOLL__PHASE__PHASE_READY);
    assert_int_equal(wait_for(b, STAMP_READY), 0);
    assert_in_range(channel_stamped_ns(b->channel, STAMP_INIT), before_ns, arrived_ns);
    assert_true(channel_stamped_ns(b->channel, STAMP_READY) > arrived_ns);
}

static void a_mark_counts_although_its_sender_is_gone(void **arg)
{
    struct bench *b = *arg;
    int fd = dial(b->path);
    say_phase(fd, PLIMSOLL__PHASE__PHASE_INIT);
    close(fd);
    assert_int_equal(wait_for(b, STAMP_INIT), 0);
}

static void marks_may_come_over_several_connections(void **arg)
{
    struct bench *b = *arg;
    cleanup_close int one = dial(b->path);
    cleanup_close int two = dial(b->path);
    say_phase(two, PLIMSOLL__PHASE__PHASE_READY);
    say_phase(one, PLIMSOLL__PHASE__PHASE_INIT);
    assert_int_equal(wait_for(b, STAMP_INIT), 0);
    assert_int_equal(wait_for(b, STAMP_READY), 0);
}

static void the_first_mark_of_a_kind_counts(void **arg)
{
    struct bench *b = *arg;
    cleanup_close int fd = dial(b->path);
    say_phase(fd, PLIMSOLL__PHASE__PHASE_INIT);
    assert_int_equal(wait_for(b, STAMP_INIT), 0);
    int64_t first_ns = channel_stamped_ns(b->channel, STAMP_INIT);
    say_phase(fd, PLIMSOLL__PHASE__PHASE_INIT);
    say_phase(fd, PLIMSOLL__PHASE__PHASE_READY);
    assert_int_equal(wait_for(b, STAMP_READY), 0);
    assert_int_equal(channel_stamped_ns(b->channel, STAMP_INIT), first_ns);
    channel_stamp(b->channel, STAMP_REQUEST, 5);
    channel_stamp(b->channel, STAMP_REQUEST, 6);
    assert_int_equal(channel_stamped_ns(b->channel, STAMP_REQUEST), 5);
}

static void a_mark_may_arrive_byte_by_byte(void **arg)
{
    struct bench *b = *arg;
    const unsigned char mark[] = MARK_FRAME(PLIMSOLL__PHASE__PHASE_READY);
    cleanup_close int fd = dial(b->path);
    for (size_t i = 0; i < sizeof mark; i++)
        say(fd, mark + i, 1);
    assert_int_equal(wait_for(b, STAMP_READY), 0);
}

/* ---- Waiting ---- */

static void waiting_ends_at_the_deadline(void **arg)
{
    struct bench *b = *arg;
    cleanup_err struct err e = ERR_INIT;
    int64_t deadline_ns = clock_monotonic_ns() + 20 * NS_PER_MS;
    assert_int_equal(channel_wait(b->channel, STAMP_READY, deadline_ns, -1, &e), -1);
    assert_int_equal(e.code, ERR_TIMEOUT);
    assert_true(clock_monotonic_ns() >= deadline_ns);
}

static void waiting_ends_when_cancelled(void **arg)
{
    struct bench *b = *arg;
    cleanup_err struct err e = ERR_INIT;
    cleanup_close int cancel = eventfd(1, EFD_CLOEXEC);
    assert_int_equal(channel_wait(b->channel, STAMP_READY, soon(), cancel, &e), -1);
    assert_int_equal(e.code, ERR_CANCELLED);
}

static void a_channel_that_was_connected_ends_with_its_peer(void **arg)
{
    struct bench *b = *arg;
    struct channel *c = NULL;
    cleanup_err struct err e = ERR_INIT;
    cleanup_free char *path = fs_path("%s/qemu", b->folder);
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    strcpy(a.sun_path, path);
    cleanup_close int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(channel_new(b->stamper, &c, &e), 0);
    assert_int_equal(channel_connect(c, path, &e), 0);
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    say_phase(fd, PLIMSOLL__PHASE__PHASE_KERNEL);
    close(fd);
    assert_int_equal(channel_wait(c, STAMP_KERNEL, soon(), -1, &e), 0);
    assert_int_equal(channel_wait(c, STAMP_READY, soon(), -1, &e), -1);
    assert_int_equal(e.code, ERR_PROTOCOL);
    channel_free(&c);
}

static void a_socket_may_lie_deeper_than_its_address_is_long(void **arg)
{
    struct bench *b = *arg;
    struct channel *deep = NULL;
    struct channel *c = NULL;
    cleanup_err struct err e = ERR_INIT;
    cleanup_free char *folder =
        fs_path("%s/%0100d/%0100d", b->folder, 1, 2); /* one name holds 255 bytes */
    assert_int_equal(fs_make_dirs(folder, 0755, &e), 0);
    cleanup_free char *path = fs_path("%s/sock", folder);
    assert_int_equal(channel_listen(b->stamper, path, &deep, &e), 0);
    assert_int_equal(channel_new(b->stamper, &c, &e), 0);
    assert_int_equal(channel_connect(c, path, &e), 0);
    struct stat s;
    assert_int_equal(stat(path, &s), 0);
    assert_int_equal(s.st_mode & 0777, 0666);
    channel_free(&c);
    channel_free(&deep);
    assert_false(fs_exists(path));
}

static void a_taken_path_is_refused_and_left_alone(void **arg)
{
    struct bench *b = *arg;
    struct channel *second = NULL;
    cleanup_err struct err e = ERR_INIT;
    assert_int_equal(channel_listen(b->stamper, b->path, &second, &e), -1);
    assert_int_equal(e.errnum, EADDRINUSE);
    assert_true(fs_exists(b->path));
}

/* ---- What a hostile guest may try ---- */

static void nonsense_breaks_the_channel_and_closes_the_connection(void **arg)
{
    struct bench *b = *arg;
    cleanup_close int fd = dial(b->path);
    say(fd, "GET / HTTP/1.0\r\n\r\n", 18);
    fails_with(b, STAMP_READY, ERR_PROTOCOL);
    assert_true(hung_up(fd));
}

static void a_frame_of_a_gigabyte_is_refused_by_its_header(void **arg)
{
    struct bench *b = *arg;
    cleanup_close int fd = dial(b->path);
    say(fd, "PL\1\0\x40\0\0\0", 8);
    fails_with(b, STAMP_READY, ERR_PROTOCOL);
    assert_true(hung_up(fd));
}

static void a_phase_that_does_not_exist_is_refused(void **arg)
{
    struct bench *b = *arg;
    cleanup_close int fd = dial(b->path);
    say_phase(fd, 77);
    fails_with(b, STAMP_READY, ERR_PROTOCOL);
}

static void an_answer_that_nobody_asked_for_is_refused(void **arg)
{
    struct bench *b = *arg;
    Plimsoll__Finished finished = PLIMSOLL__FINISHED__INIT;
    Plimsoll__Runner runner = PLIMSOLL__RUNNER__INIT;
    runner.kind_case = PLIMSOLL__RUNNER__KIND_FINISHED;
    runner.finished = &finished;
    cleanup_close int fd = dial(b->path);
    assert_int_equal(frame_write(fd, &runner.base, soon(), NULL), 0);
    fails_with(b, STAMP_READY, ERR_PROTOCOL);
}

static void endless_marks_end(void **arg)
{
    struct bench *b = *arg;
    const unsigned char mark[] = MARK_FRAME(PLIMSOLL__PHASE__PHASE_INIT);
    cleanup_close int fd = dial(b->path);
    ssize_t n = 0;
    for (int i = 0; i < 1000000 && n >= 0; i++)
        n = send(fd, mark, sizeof mark, MSG_NOSIGNAL);
    assert_int_equal(n, -1);
    fails_with(b, STAMP_READY, ERR_PROTOCOL);
}

static void endless_connections_end(void **arg)
{
    struct bench *b = *arg;
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    strcpy(a.sun_path, b->path);
    int refused = 0;
    for (int i = 0; i < 100000 && !refused; i++) {
        cleanup_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        refused = connect(fd, (struct sockaddr *)&a, sizeof a) < 0;
    }
    assert_true(refused);
    fails_with(b, STAMP_READY, ERR_PROTOCOL);
}

/* A stamp that came before the misbehaviour stays. */
static void what_was_stamped_before_stays(void **arg)
{
    struct bench *b = *arg;
    cleanup_close int fd = dial(b->path);
    say_phase(fd, PLIMSOLL__PHASE__PHASE_INIT);
    say(fd, "??????????", 10);
    fails_with(b, STAMP_READY, ERR_PROTOCOL);
    assert_int_equal(wait_for(b, STAMP_INIT), 0);
}

/* ---- Requests ---- */

static void *answering_runner(void *arg)
{
    int fd = *(int *)arg;
    ProtobufCMessage *message = NULL;
    if (frame_read(fd, &plimsoll__runner__descriptor, soon(), &message, NULL) < 0)
        return NULL;
    const Plimsoll__Runner *request = (const Plimsoll__Runner *)message;
    Plimsoll__Finished finished = PLIMSOLL__FINISHED__INIT;
    Plimsoll__Runner answer = PLIMSOLL__RUNNER__INIT;
    finished.status = (int)request->exec->n_argv;
    finished.output.data = (uint8_t *)request->exec->argv[0];
    finished.output.len = strlen(request->exec->argv[0]);
    answer.kind_case = PLIMSOLL__RUNNER__KIND_FINISHED;
    answer.finished = &finished;
    frame_write(fd, &answer.base, soon(), NULL);
    frame_free(message);
    return NULL;
}

static int ask(struct bench *b, Plimsoll__Finished **ret, int cancel, struct err *e)
{
    char *argv[] = {(char *)"one", (char *)"two"};
    Plimsoll__Exec request = PLIMSOLL__EXEC__INIT;
    request.argv = argv;
    request.n_argv = 2;
    return channel_exec(b->channel, &request, soon(), cancel, ret, e);
}

static void a_request_gets_its_answer(void **arg)
{
    struct bench *b = *arg;
    Plimsoll__Finished *finished = NULL;
    cleanup_err struct err e = ERR_INIT;
    cleanup_close int fd = dial(b->path);
    pthread_t thread;
    say_phase(fd, PLIMSOLL__PHASE__PHASE_READY);
    assert_int_equal(wait_for(b, STAMP_READY), 0);
    pthread_create(&thread, NULL, answering_runner, &fd);
    int result = ask(b, &finished, -1, &e);
    pthread_join(thread, NULL);
    assert_int_equal(result, 0);
    assert_int_equal(finished->status, 2);
    assert_memory_equal(finished->output.data, "one", 3);
    frame_free(&finished->base);
}

static void nobody_ready_means_nobody_to_ask(void **arg)
{
    struct bench *b = *arg;
    Plimsoll__Finished *finished = NULL;
    cleanup_err struct err e = ERR_INIT;
    cleanup_close int fd = dial(b->path);
    say_phase(fd, PLIMSOLL__PHASE__PHASE_INIT);
    assert_int_equal(wait_for(b, STAMP_INIT), 0);
    assert_int_equal(ask(b, &finished, -1, &e), -1);
    assert_int_equal(e.code, ERR_PROTOCOL);
}

static void a_request_can_be_cancelled_and_its_runner_is_let_go(void **arg)
{
    struct bench *b = *arg;
    Plimsoll__Finished *finished = NULL;
    cleanup_err struct err e = ERR_INIT;
    cleanup_close int cancel = eventfd(1, EFD_CLOEXEC);
    cleanup_close int fd = dial(b->path);
    say_phase(fd, PLIMSOLL__PHASE__PHASE_READY);
    assert_int_equal(wait_for(b, STAMP_READY), 0);
    assert_int_equal(ask(b, &finished, cancel, &e), -1);
    assert_int_equal(e.code, ERR_CANCELLED);
    assert_true(hung_up(fd));
}

/* ---- The thread ---- */

static void the_thread_says_how_it_runs_and_how_long_it_waited(void **arg)
{
    struct bench *b = *arg;
    const char *policy = stamper_policy(b->stamper);
    assert_true(strncmp(policy, "SCHED_FIFO ", 11) == 0 || strncmp(policy, "nice ", 5) == 0);
    if (fs_exists("/proc/self/schedstat"))
        assert_true(stamper_delay_ns(b->stamper) >= 0);
}

#define channel_test(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_written_out_mark_is_what_the_encoder_makes),
        channel_test(a_mark_is_stamped_between_its_sending_and_its_being_seen),
        channel_test(a_first_mark_is_stamped_when_its_connection_arrived),
        channel_test(a_mark_counts_although_its_sender_is_gone),
        channel_test(marks_may_come_over_several_connections),
        channel_test(the_first_mark_of_a_kind_counts),
        channel_test(a_mark_may_arrive_byte_by_byte),
        channel_test(waiting_ends_at_the_deadline),
        channel_test(waiting_ends_when_cancelled),
        channel_test(a_channel_that_was_connected_ends_with_its_peer),
        channel_test(a_socket_may_lie_deeper_than_its_address_is_long),
        channel_test(a_taken_path_is_refused_and_left_alone),
        channel_test(nonsense_breaks_the_channel_and_closes_the_connection),
        channel_test(a_frame_of_a_gigabyte_is_refused_by_its_header),
        channel_test(a_phase_that_does_not_exist_is_refused),
        channel_test(an_answer_that_nobody_asked_for_is_refused),
        channel_test(endless_marks_end),
        channel_test(endless_connections_end),
        channel_test(what_was_stamped_before_stays),
        channel_test(a_request_gets_its_answer),
        channel_test(nobody_ready_means_nobody_to_ask),
        channel_test(a_request_can_be_cancelled_and_its_runner_is_let_go),
        channel_test(the_thread_says_how_it_runs_and_how_long_it_waited),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
