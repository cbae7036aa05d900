/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * gnuplot as a child without a shell, under limits of time, processor and memory. It can write no
 * file, reads no start-up file, and is given nothing but a script made of numbers and marks of our
 * own: its language can run programs, so no text from outside may ever be part of one.
 */
#ifndef COORDINATOR_REPORT_GNUPLOT_H
#define COORDINATOR_REPORT_GNUPLOT_H

#include "common/err.h"

#include <stddef.h>

/* Runs a script of `length` bytes and gives what it wrote, ended by a NUL; the caller frees. Blocks
 * for 20 s at most. ERR_NOT_FOUND where gnuplot is not on the PATH; ERR_TIMEOUT, ERR_SYSTEM. */
int gnuplot_run(const char *script, size_t length, char **ret, struct err *e);

#endif
