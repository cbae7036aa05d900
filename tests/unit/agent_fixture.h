/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A host with folders of its own and the fake backend, and assignments for it. */
#ifndef TESTS_UNIT_AGENT_FIXTURE_H
#define TESTS_UNIT_AGENT_FIXTURE_H

#include "agent/trial.h"

#include <stddef.h>

struct agent_fixture {
    char folder[64];
    struct host host;
    struct stamper *stamper;
    struct bench bench;
};

/* 0, or -1 with words on standard error. */
int agent_fixture_open(struct agent_fixture *f);
void agent_fixture_close(struct agent_fixture *f);

/* `settings` are alternately keys and values, ended by NULL; a value that begins with a digit is an
 * integer. To be freed with plimsoll__assign__free_unpacked. */
Plimsoll__Assign *agent_fixture_assign(const char *const *settings);
Plimsoll__Section *agent_fixture_guest(const char *const *settings);

/* Files and folders below guests/: must be none after each trial. */
size_t agent_fixture_leftovers(const struct agent_fixture *f);

#endif
