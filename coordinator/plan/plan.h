/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * From a plan file to the proto Plan: text -> (libconfig) -> checked against the catalog -> cells.
 *
 * plan_source_load is the file's side (coordctl): a regular file of bounded size, @include lines
 * expanded by ourselves. plan_read is the text's side: no file is opened. Every semantic error is
 * told in one go.
 */
#ifndef COORDINATOR_PLAN_PLAN_H
#define COORDINATOR_PLAN_PLAN_H

#include "common/err.h"
#include "proto/plimsoll.pb-c.h"

#include <stddef.h>
#include <stdint.h>

enum { PLAN_MOST_BYTES = 256 << 10 };

struct plan_source {
    char *text; /* flat, NUL-terminated, no @include */
    size_t length;
    Plimsoll__LineOrigin **origins; /* ascending by flat_line */
    size_t n_origins;
};

struct plan_diagnostics {
    Plimsoll__Diagnostic **items;
    size_t n, capacity;
    size_t n_errors;
};

/* -1 when there is an error among the diagnostics (nothing else is returned then). */
int plan_source_load(const char *path, struct plan_source **ret, struct plan_diagnostics *d);
void plan_source_free(struct plan_source **s);

/* The plan is freed with plimsoll__plan__free_unpacked(plan, NULL). */
int plan_read(const struct plan_source *source, Plimsoll__Plan **ret, struct plan_diagnostics *d);

void plan_diagnose(struct plan_diagnostics *d, const char *file, unsigned line, const char *format,
                   ...) __attribute__((format(printf, 4, 5)));
void plan_warn(struct plan_diagnostics *d, const char *file, unsigned line, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* "FILE:LINE: text" or "FILE: text" lines, in order of file and line, to `out`. */
void plan_diagnostics_print(const struct plan_diagnostics *d, void *out_FILE);
void plan_diagnostics_clear(struct plan_diagnostics *d);

/* Runs plan_read in a child of its own under limits (10 s of CPU, 512 MiB) by executing `program
 * --read-plan` with a frame of the Submit on its standard input and reading a frame of PlanReading
 * back. */
int plan_read_in_child(const char *program, const Plimsoll__Submit *submit,
                       Plimsoll__PlanReading **ret, struct err *e);
/* The child's main: returns its exit status. */
int plan_read_child_main(void);

/* Repetitions of a cell at an accelerator ("" for none), warm-ups not included. */
uint32_t plan_repeat(const Plimsoll__Cell *cell, const char *accelerator);
/* A cell in words, "lxc x 16", from its factors; the buffer must hold 128 bytes. */
const char *plan_cell_words(const Plimsoll__Cell *cell, char *buffer);

#endif
