/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A campaign as a report sees it: results grouped by cell and accelerator (two accelerators never
 * share a group), their values by metric, and everything that is not there with its reason.
 *
 * Counted are the values of accepted results that are valid or suspect and no warm-ups. Built in
 * one pass over the store; values take eight bytes each, everything else is bounded by the plan's
 * size.
 */
#ifndef COORDINATOR_REPORT_MODEL_H
#define COORDINATOR_REPORT_MODEL_H

#include "common/err.h"
#include "coordinator/stats/stats.h"
#include "coordinator/store/read.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct report_metric {
    char *name;
    char *unit;
    double *values; /* sorted once summarised */
    size_t n, capacity;
    struct stats_summary summary;
};

/* One reason for a verdict, and how many attempts had it; those that differ in figures alone are
 * one, told by the first of them. */
struct report_reason {
    Plimsoll__Outcome outcome; /* UNKNOWN: the attempt was lost with its agent */
    char *text;
    bool varies; /* in its figures */
    unsigned count;
};

/* A value that some result's conditions gave for a key, and how many results did. */
struct report_condition {
    char *key;
    char *value;
    unsigned count;
};

struct report_group {
    uint32_t cell;
    char *accelerator; /* "" where the backend has none */
    bool nested;
    unsigned
        counts[PLIMSOLL__OUTCOME__OUTCOME_CANCELLED + 1]; /* attempts by outcome; UNKNOWN: lost */
    unsigned warmups, superseded;
    uint64_t example; /* the first counted trial; 0: none */
    struct report_metric *metrics;
    size_t n_metrics;
    struct report_reason *reasons;
    size_t n_reasons;
    struct report_condition *conditions;
    size_t n_conditions;
    struct report_group *next; /* of the same cell */
};

struct report_host {
    char *name;
    char *group;
    char *software;
    Plimsoll__Fingerprint *fingerprint;
    Plimsoll__Prepared *prepared;
};

/* A cell that a host said beforehand it cannot run. */
struct report_unavailable {
    uint32_t cell;
    const char *host;   /* of the model's hosts */
    const char *reason; /* of its offer */
};

/* Trials without an accepted result, by cell and host. */
struct report_missing {
    uint32_t cell;
    char *host;
    char *reason; /* of the last attempt of the last of them; "" where none was made */
    unsigned trials;
};

/* A reference against a group. */
struct report_check {
    const Plimsoll__Reference *reference;
    const struct report_group *group;
    const struct report_metric *metric; /* NULL: nothing was measured */
    double ratio; /* of means, ours over theirs; NaN where nothing was measured */
    bool failed;  /* only where `within` was given */
};

struct report_model {
    char *id, *name, *title, *state, *note;
    int64_t submitted_ns, ended_ns;
    uint64_t seed;
    double confidence;
    Plimsoll__Plan *plan;
    struct report_group *
        *cells; /* by cell index: the first group of its list; n is the plan's n_cells */
    struct report_host *hosts;
    size_t n_hosts;
    struct report_unavailable *unavailable;
    size_t n_unavailable;
    struct report_missing *missing;
    size_t n_missing;
    unsigned trials, trials_missing;
    struct report_check *checks;
    size_t n_checks;
    unsigned checks_failed;
};

/* Between read_begin and read_end of the reader. */
int report_model_build(struct reader *r, const char *campaign, struct report_model **ret,
                       struct err *e);
void report_model_free(struct report_model **m);

const struct report_metric *report_metric_find(const struct report_group *g, const char *name);
/* The accelerator of a result: what its conditions say, else what its host had offered for the
 * cell. */
const char *report_accelerator(const struct report_model *m, uint32_t cell, const char *host,
                               Plimsoll__Factor *const *conditions, size_t n_conditions);
/* "valid", "suspect", ... */
const char *report_outcome_word(Plimsoll__Outcome o);
bool report_has_ended(const struct report_model *m);
/* A cell in words, unique within its plan's experiment. The buffer must hold 160 bytes. */
const char *report_cell_words(const struct report_model *m, uint32_t cell, char *buffer);

#endif
