/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The programs of ours that `run` starts. Each is in a process group of its own, so that a
 * terminal's Ctrl-C reaches only coordctl, and gets SIGTERM when coordctl dies, however it dies.
 */
#ifndef COORDINATOR_CHILD_H
#define COORDINATOR_CHILD_H

#include "common/err.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

/* The folder of the program that runs. The caller frees. */
char *child_folder(void);
/* A program of ours: beside this one, else in ../libexec/plimsoll. ERR_NOT_FOUND. */
int child_find(const char *name, char **ret_path, struct err *e);

struct child {
    const char *name; /* "plimsoll-agent" */
    pid_t pid;        /* 0: not started, or waited for */
    int status;       /* as waitpid gives it, once it has ended */
    char *log;        /* path of its standard output and error */
};

/* Starts `argv[0]`; output is appended to the file `log` (copied). The main thread must live as
 * long as the child is wanted. */
int child_start(struct child *c, const char *name, char *const argv[], const char *log,
                struct err *e);
/* Whether it has ended by now; never blocks. True also where none was started. */
bool child_ended(struct child *c);
/* "ended with status 3", "was killed by signal 9 (Killed)". The buffer must hold 96 bytes. */
const char *child_end_words(const struct child *c, char *buffer);
/* Asks it to stop, waits until the deadline (monotonic), then kills. Whether it stopped by itself.
 */
bool child_stop(struct child *c, int64_t deadline_ns);
/* The last lines of its log, indented. */
void child_print_log(const struct child *c, FILE *out);
void child_clear(struct child *c);

/* Where a program's standard error goes: ours, or to what it writes to standard output. */
enum child_errors { CHILD_ERRORS_SHOWN, CHILD_ERRORS_KEPT };

/* Runs a program to its end. `input` (may be NULL) is its standard input; its standard output is
 * kept, the caller's to free, unless `ret_output` is NULL (then it is dropped). Returns its exit
 * status, 128 + signal, or -1 with the error. */
int child_run(char *const argv[], const char *input, enum child_errors errors, char **ret_output,
              struct err *e);

#endif
