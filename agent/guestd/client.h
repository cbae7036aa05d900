/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The agent's end of plimsoll-guestd: starting a container forks the caller, so a small
 * single-threaded process with few descriptors does it. It is the subreaper of liblxc's monitors,
 * dies with the agent (PR_SET_PDEATHSIG is not enough: it ends at end-of-file of its socket), and
 * is started anew when it died. It leaves its containers behind; the agent's sweep finds them.
 */
#ifndef AGENT_GUESTD_CLIENT_H
#define AGENT_GUESTD_CLIENT_H

#include "common/err.h"
#include "proto/plimsoll.pb-c.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct guestd_client;

/* `id` is the agent's; everything that the process forks can be told by it. */
int guestd_start(const char *program, const char *id, struct guestd_client **ret, struct err *e);
pid_t guestd_pid(const struct guestd_client *c);
/* Whether it can take another call. */
bool guestd_alive(const struct guestd_client *c);
/* One request, one reply (free with frame_free; NULL: not wanted). A reply with ok = false becomes
 * ERR_SYSTEM with liblxc's words. At the deadline, on cancel, or when guestd died the process is
 * killed and the client can only be stopped. */
int guestd_call(struct guestd_client *c, const Plimsoll__GuestdRequest *request,
                int64_t deadline_ns, int cancel_fd, Plimsoll__GuestdReply **ret, struct err *e);
/* Kills whatever guestd and what it forked is left of an agent, this life's and earlier ones'.
 * Containers' own processes are found by their cgroup instead. Returns how many there were. */
unsigned guestd_kill_family(const char *id);
/* Closes its socket, waits for its end, for 2 s at most, and kills what it forked: no container
 * outlives it. NULL is fine. */
void guestd_stop(struct guestd_client **c);
/* As above, but containers go on, without anybody who could ask them to stop. */
void guestd_leave(struct guestd_client **c);

#endif
