/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The program that runs inside guests: init of a VM's initrd, shim before a container's init,
 * reporter before a single program, and the service that runs workloads. HACKING.md ("Inside a
 * guest") has the table. Static and small; whatever tells the host a moment does so before it does
 * anything else.
 */
#ifndef AGENT_RUNNER_RUNNER_H
#define AGENT_RUNNER_RUNNER_H

#include "proto/plimsoll.pb-c.h"

#include <stddef.h>
#include <stdint.h>

/* The unix socket of containers and processes, and the virtio port of VMs. */
#define RUNNER_FOLDER "/.plimsoll"
#define RUNNER_SOCKET RUNNER_FOLDER "/channel/sock"
#define RUNNER_PORT   "plimsoll.0"

enum { RUNNER_OUTPUT_BYTES = 64 << 10, RUNNER_EXIT_FAILED = 125 };

/*
 * A mark is a constant but for its phase: `struct Runner { mark { phase } }` as protobuf behind a
 * frame header. Written out so that it can be sent before libc is ready; a test holds it against
 * frame_encode.
 */
enum { MARK_BYTES = 12, MARK_PHASE_AT = 11 };
#define MARK_FRAME(phase)                                                                          \
    {                                                                                              \
        'P', 'L', 1, 0, 0, 0, 0, 4, 0x0a, 2, 0x08, (phase)                                         \
    }

/* What happened before libc's start (early.c): the connection, or -1, and whether the mark is out.
 */
struct early {
    int fd;
    int sent;
};
extern struct early runner_early_state;

/* Connects to the socket, else opens the port; waits for neither. -1 with errno. */
int channel_open_now(void);
/* The port alone; -1 with errno ENOENT while it is not there. */
int port_open_now(void);
/* As above, trying every ms until `wait_ns` have passed. */
int port_open(int64_t wait_ns);
/* 0, or -1 with errno. */
int mark_send(int fd, Plimsoll__Phase phase);

/* CLOCK_MONOTONIC of the guest: for durations only. */
int64_t guest_clock_ns(void);

/* Each ends by exec or returns an exit status after saying what went wrong. */
int initrd_main(void);
int serve_main(void);

/* Runs one request to its end, its deadline, or until `peer_fd` hangs up (then -1). */
int program_run(const Plimsoll__Exec *request, int peer_fd, Plimsoll__Finished **ret);
void program_finished_free(Plimsoll__Finished **f);

/* "plimsoll-runner: TEXT: errno's text" to standard error; returns RUNNER_EXIT_FAILED. */
int runner_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
