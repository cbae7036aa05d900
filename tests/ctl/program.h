/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Runs coordctl and keeps what it said. */
#ifndef TESTS_CTL_PROGRAM_H
#define TESTS_CTL_PROGRAM_H

struct said {
    int status; /* the exit code, or 128 + signal */
    char *output, *error;
};

/* Arguments up to a NULL. Fails the test where the program cannot be run; ends it after 30 s. */
struct said coordctl(const char *first, ...) __attribute__((sentinel));
void said_clear(struct said *s);

#endif
