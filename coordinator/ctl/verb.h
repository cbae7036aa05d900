/* SPDX-License-Identifier: GPL-3.0-or-later */
/* One file a coordctl verb, with its entry on top; main.c lists them. */
#ifndef COORDINATOR_CTL_VERB_H
#define COORDINATOR_CTL_VERB_H

/* coordctl's exit codes. */
enum {
    EXIT_GOOD = 0,
    EXIT_CHECK_FAILED = 1,
    EXIT_USAGE = 2,
    EXIT_NO_COORDINATOR = 3,
    EXIT_MISSING = 4
};

struct verb {
    const char *name;
    const char *arguments; /* "PLAN [--hosts FILE]" */
    const char *summary;   /* one line, no full stop */
    const char *help;      /* what `coordctl help VERB` prints below usage: options, examples */
    /* argv[0] is the verb's name. Returns the exit code. */
    int (*run)(int argc, char **argv);
};

/* `help` and `--help` of a verb print this; a verb may call it itself. */
void verb_print_help(const struct verb *v);

#endif
