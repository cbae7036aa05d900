/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TESTS_CONTRACT_BATTERY_H
#define TESTS_CONTRACT_BATTERY_H

#include "tests/contract/fixture.h"
#include "tests/contract/traces.h"

enum { SKIPPED = 77 };

enum state { NEW, PREPARED, CREATED, STARTED, READY, STOPPED };

extern struct fixture fixture;

/* Fails the test with the error's words. */
void must_work(int result, struct err *e, const char *what);
int wait_until_ready(struct guest *g, int64_t deadline_ns, int cancel_fd, struct err *e);
/* From new. */
int go_to(struct guest *g, enum state wanted, int64_t deadline_ns, int cancel_fd, struct err *e);
void must_go_to(struct guest *g, enum state wanted);

void the_guest_gets_the_resources_it_was_promised(void **state);
void the_hosts_devices_are_out_of_reach(void **state);
void without_a_network_there_is_no_device(void **state);
void two_guests_at_once_do_not_disturb_each_other(void **state);
void what_a_single_program_said_is_kept(void **state);
void a_killed_helper_costs_only_its_guests(void **state);
void what_a_killed_agent_left_is_swept(void **state);

#endif
