/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The service in full guests: says ready, then runs what the agent asks for, one request at a time,
 * and otherwise sleeps in read(2). When the agent's end goes away (a checkpoint, a restart) it
 * comes back to it and says ready again.
 */
#include "agent/runner/runner.h"
#include "common/cleanup.h"
#include "proto/frame.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <time.h>

enum { PORT_WAIT_S = 5, RETRY_FIRST_MS = 20, RETRY_MOST_MS = 1000 };

static int request_serve(int fd, const Plimsoll__Exec *request)
{
    Plimsoll__Finished *finished = NULL;
    if (program_run(request, fd, &finished) < 0)
        return -1;
    Plimsoll__Runner answer = PLIMSOLL__RUNNER__INIT;
    answer.kind_case = PLIMSOLL__RUNNER__KIND_FINISHED;
    answer.finished = finished;
    cleanup_err struct err e = ERR_INIT;
    int result = frame_write(fd, &answer.base, 0, &e);
    if (result < 0)
        fprintf(stderr, "plimsoll-runner: could not answer: %s\n", err_text(&e));
    program_finished_free(&finished);
    return result;
}

/* Until the peer is gone or breaks the grammar. */
static void connection_serve(int fd)
{
    for (;;) {
        cleanup_err struct err e = ERR_INIT;
        ProtobufCMessage *message = NULL;
        if (frame_read(fd, &plimsoll__runner__descriptor, 0, &message, &e) < 0) {
            if (e.errnum != ECONNRESET)
                fprintf(stderr, "plimsoll-runner: %s\n", err_text(&e));
            return;
        }
        const Plimsoll__Runner *request = (const Plimsoll__Runner *)message;
        int result = -1;
        if (request->kind_case == PLIMSOLL__RUNNER__KIND_EXEC)
            result = request_serve(fd, request->exec);
        else
            fputs("plimsoll-runner: the agent sent something other than a request\n", stderr);
        frame_free(message);
        if (result < 0)
            return;
    }
}

/* In a VM, as the initrd's lines: what a witness outside can read. */
static void console_say(void)
{
    static const char line[] = "plimsoll-runner: ready\n";
    cleanup_close int fd = open("/dev/console", O_WRONLY | O_NOCTTY | O_CLOEXEC);
    if (fd >= 0 && write(fd, line, sizeof line - 1) < 0)
        perror("plimsoll-runner: /dev/console");
}

static int open_and_report(void)
{
    int fd = channel_open_now();
    if (fd < 0 && errno == ENOENT)
        fd = port_open(PORT_WAIT_S * INT64_C(1000000000));
    if (fd < 0)
        return -1;
    if (mark_send(fd, PLIMSOLL__PHASE__PHASE_READY) < 0) {
        close(fd);
        return -1;
    }
    if (access(RUNNER_FOLDER "/channel", F_OK) < 0)
        console_say();
    return fd;
}

static void pause_ms(long ms)
{
    const struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    nanosleep(&t, NULL);
}

/* Tried often at first, since a restored guest should answer at once, and rarely later. */
static int open_again(void)
{
    for (long ms = RETRY_FIRST_MS;; ms = ms < RETRY_MOST_MS ? ms + ms / 8 : RETRY_MOST_MS) {
        int fd = open_and_report();
        if (fd >= 0)
            return fd;
        pause_ms(ms);
    }
}

int serve_main(void)
{
    int fd = runner_early_state.fd;
    if (!runner_early_state.sent)
        fd = open_and_report();
    if (fd < 0)
        return runner_fail("could not reach the agent: no " RUNNER_SOCKET
                           " and no port " RUNNER_PORT);
    for (;;) {
        connection_serve(fd);
        close(fd);
        pause_ms(RETRY_FIRST_MS);
        fd = open_again();
    }
}
