/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Options and operands of a verb, in any order, "--name value", "--name=value", "-x value". */
#ifndef COORDINATOR_CTL_OPTIONS_H
#define COORDINATOR_CTL_OPTIONS_H

#include "coordinator/ctl/verb.h"

#include <stdbool.h>

/* Exactly one of flag and text is set. A list is ended by a row without a name. */
struct option_row {
    const char *name;
    char letter; /* 0: none */
    bool *flag;
    const char **text;
};

/* Fills the rows' targets and returns the operands (argv is reordered so that they stand at its
 * end). Wrong ones, or fewer or more operands than allowed, are told on standard error; -1 then. */
int options_parse(const struct verb *v, int argc, char **argv, const struct option_row *rows,
                  int least_operands, int most_operands, char ***ret_operands);

/* "coordctl VERB: text" and where to read more. Returns EXIT_USAGE. */
int options_complain(const struct verb *v, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* A whole number from 1 to `most`; complains and returns -1 otherwise. */
int options_number(const struct verb *v, const char *what, const char *text,
                   unsigned long long most, unsigned long long *ret);

#endif
