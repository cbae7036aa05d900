/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The runner's channel of each guest, and the thread that stamps what arrives on it.
 *
 * Marks are stamped with the host's CLOCK_MONOTONIC by one thread that does nothing else:
 * SCHED_FIFO where it may, else nice -20; which of them, and the thread's own scheduling delay
 * (schedstat's run_delay), are stored with the sample. All frames are proto Runner messages.
 */
#ifndef AGENT_CHANNEL_H
#define AGENT_CHANNEL_H

#include "common/err.h"
#include "proto/plimsoll.pb-c.h"

#include <stdint.h>

struct stamper;

int stamper_start(struct stamper **ret, struct err *e);
void stamper_stop(struct stamper **s);
/* "SCHED_FIFO 50" or "nice -20" or "nice 0". */
const char *stamper_policy(const struct stamper *s);
/* Time the thread has spent runnable but not running since it started; -1 when the kernel does not
 * say. */
int64_t stamper_delay_ns(const struct stamper *s);

/* What is stamped; the first three come from the backend itself, the rest arrive as marks. */
enum stamp {
    STAMP_REQUEST,
    STAMP_CREATED,
    STAMP_STARTED,
    STAMP_KERNEL,
    STAMP_INIT,
    STAMP_READY,
    STAMP_COUNT
};

struct channel;

/* Listens on a unix stream socket in a folder that the guest sees (containers, processes). Several
 * connections may come one after the other or at once; marks of all of them count. A connection's
 * first mark is stamped with the moment the connection arrived, later ones with their own. */
int channel_listen(struct stamper *s, const char *socket_path, struct channel **ret, struct err *e);
/* As above for a socket that QEMU made (virtio-serial); call when it is connectable. The channel
 * may be made before, so that it can be waited on: channel_new, then channel_connect. */
int channel_new(struct stamper *s, struct channel **ret, struct err *e);
int channel_connect(struct channel *c, const char *socket_path, struct err *e);
/* Closes, unlinks a listener's socket. NULL is fine. */
void channel_free(struct channel **c);

/* The backend's own stamps. The first of each kind counts, also for those that arrive. */
void channel_stamp(struct channel *c, enum stamp which, int64_t now_ns);
/* 0 while absent. */
int64_t channel_stamped_ns(struct channel *c, enum stamp which);

/* Waits for a stamp. ERR_TIMEOUT at the deadline, ERR_CANCELLED when `cancel_fd` (an eventfd, or
 * -1) becomes readable, ERR_PROTOCOL when the guest's side broke the grammar. */
int channel_wait(struct channel *c, enum stamp which, int64_t deadline_ns, int cancel_fd,
                 struct err *e);

/* Runs a program in the guest through the runner's last connection that said ready. */
int channel_exec(struct channel *c, const Plimsoll__Exec *exec, int64_t deadline_ns, int cancel_fd,
                 Plimsoll__Finished **ret, struct err *e);

#endif
