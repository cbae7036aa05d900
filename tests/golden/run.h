/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Runs `coordctl check PLAN` in the present folder and keeps what it said. */
#ifndef TESTS_GOLDEN_RUN_H
#define TESTS_GOLDEN_RUN_H

struct run {
    int status;  /* the exit code, or 128 + signal */
    long cpu_ms; /* of processor time: the machine may be busy with other things */
    char *output, *error;
};

/* Fails the test where the program cannot be run; ends it after 20 s. */
void run_check(const char *plan, struct run *ret);
void run_clear(struct run *r);

#endif
