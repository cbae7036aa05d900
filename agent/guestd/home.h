/* SPDX-License-Identifier: GPL-3.0-or-later */
/* liblxc moves whoever starts a container into the cgroup of the container's monitor. This process
 * goes back to where it was: it would keep that cgroup busy, and end with it. */
#ifndef AGENT_GUESTD_HOME_H
#define AGENT_GUESTD_HOME_H

/* Remembers the cgroups of this process, once. */
void home_remember(void);
/* Goes back; what fails is logged. Between requests, never while one is timed. */
void home_return(void);

#endif
