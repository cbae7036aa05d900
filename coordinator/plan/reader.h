/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Between the files of this folder: a plan's sections as they were read, and the cells they make.
 */
#ifndef COORDINATOR_PLAN_READER_H
#define COORDINATOR_PLAN_READER_H

#include "common/value.h"
#include "coordinator/plan/plan.h"

#include <libconfig.h>
#include <stdbool.h>
#include <stddef.h>

enum { PLAN_MOST_CELLS = 4096, PLAN_MOST_SECTIONS = 256 };

/* What a key of a section says: no value (absent without a fallback), one, or a factor's. */
struct key_values {
    const struct key_row *row;
    unsigned line; /* flat; the section's where the key is not given */
    bool given, is_factor;
    struct value *values;
    unsigned *lines; /* of each value */
    size_t n;
};

struct section {
    const char *name; /* borrowed from the configuration */
    unsigned line;
    const struct catalog_entry *entry; /* of the backend or probe; NULL for others */
    struct key_values *keys;
    size_t n_keys;
    bool used;
};

struct sections {
    struct section *items;
    size_t n;
};

struct reader {
    const struct plan_source *source;
    struct plan_diagnostics *diagnostics;
    config_t config;
    struct section campaign, design, hosts;
    struct sections images, guests, experiments;
    Plimsoll__Repeat *repeats;    /* one an experiment */
    struct section default_image; /* for guests of a plan that has no image section */
};

/* ---- diagnose.c ---- */
/* As plan_diagnose, for a line of the flat text. */
void reader_diagnose(struct reader *r, unsigned flat_line, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void reader_warn(struct reader *r, unsigned flat_line, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* "; did you mean `x`?" where something is near, else "; known are `a`, `b`"; offer candidates
 * first. */
struct suggestion {
    struct nearest nearest;
    char known[400];
};
void suggestion_offer(struct suggestion *s, const char *candidate);
/* Into a buffer of 512 bytes. */
const char *suggestion_text(const struct suggestion *s, char *buffer);

/* ---- section.c ---- */
/* Reads a group by two tables of rows (`more` may be NULL); rows of `skip` are read elsewhere.
 * Where `factors` is false several values of any key are an error. Everything wrong is diagnosed.
 */
struct section_rules {
    const struct key_row *rows, *more;
    bool factors;
    const char *what;  /* "the image `debian`", for texts */
    const char *skip;  /* a key that the caller reads, or NULL */
    bool skip_unknown; /* unknown keys are the caller's */
};
void section_read(struct reader *r, const config_setting_t *group,
                  const struct section_rules *rules, struct section *ret);
void section_clear(struct section *s);
/* NULL where the section has no such row. */
const struct key_values *section_key(const struct section *s, const char *name);
/* The single value of a key that is no factor; NULL where absent. */
const struct value *section_value(const struct section *s, const char *name);
struct section *sections_find(const struct sections *s, const char *name);

/* ---- sections.c ---- */
/* Reads all sections but references. */
void reader_sections(struct reader *r);
void reader_clear(struct reader *r);

/* ---- cells.c ---- */
struct choice {
    const struct key_values *key;
    size_t at;
};

struct cell {
    const struct section *experiment, *guest, *image;
    size_t experiment_index;
    struct choice *choices; /* of every factor, in the order of the plan's nesting */
    size_t n_choices;
};

struct cells {
    struct cell *items;
    size_t n;
};

/* Expands every experiment. Diagnoses a plan of too many cells. */
void cells_expand(struct reader *r, struct cells *ret);
void cells_clear(struct cells *c);
/* The value a key has in a cell, NULL where the cell has no such key. */
const struct value *cell_value(const struct cell *c, const char *name,
                               const struct key_row **ret_row);
/* The name that the guest or image section goes by in this cell: with factors of its own they stand
 * behind it, so that one name always means one definition. The caller frees. */
char *cell_section_name(const struct cell *c, const struct section *s);

/* ---- build.c ---- */
Plimsoll__Plan *plan_build(struct reader *r, const struct cells *cells);

/* ---- references.c ---- */
void references_read(struct reader *r, const struct cells *cells, Plimsoll__Plan *plan);

#endif
