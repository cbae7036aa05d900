/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The part of `coordctl doctor` that asks the coordinator about this host's keys. */
#ifndef COORDINATOR_CTL_DOCTOR_KEYS_H
#define COORDINATOR_CTL_DOCTOR_KEYS_H

/* Prints what it finds. `agent_conf` NULL: the usual place, where there is one. Returns
 * EXIT_CHECK_FAILED when a key that is configured is not let in. */
int doctor_keys(const char *agent_conf);

#endif
