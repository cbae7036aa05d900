/* SPDX-License-Identifier: GPL-3.0-or-later */
/* coordctl check: everything that is wrong with a plan, or what it would do. Starts nothing. */
#include "common/cleanup.h"
#include "coordinator/ctl/findings.h"
#include "coordinator/ctl/options.h"
#include "coordinator/ctl/preview.h"
#include "coordinator/ctl/verb.h"
#include "coordinator/plan/plan.h"

#include <stdio.h>

static int check(int argc, char **argv);

extern const struct verb verb_check;
const struct verb verb_check = {
    .name = "check",
    .arguments = "PLAN",
    .summary = "Say what is wrong with a plan, or what it would do",
    .help = "Every error stands on a line of its own, FILE:LINE: what is wrong, what was expected; "
            "the\n"
            "exit code is 2 then. A good plan is answered with its cells, trials, expected "
            "duration and\n"
            "memory, and with what this host cannot run, from what `coordctl doctor` last found.\n"
            "Nothing is started.\n",
    .run = check,
};

static void tell_preview(const Plimsoll__Plan *plan)
{
    struct findings found = {0};
    cleanup_err struct err e = ERR_INIT;
    cleanup_free char *path = findings_path();
    bool known = findings_load(path, &found, &e) == 0;
    preview_print(plan, known ? &found : NULL, stdout);
    if (!known && e.code == ERR_NOT_FOUND)
        puts("What this host can run is not known yet: `coordctl doctor` finds out.");
    else if (!known)
        fprintf(stderr, "coordctl check: %s\n", err_text(&e));
    findings_clear(&found);
}

static int check(int argc, char **argv)
{
    static const struct option_row rows[] = {{0}};
    char **operands;
    if (options_parse(&verb_check, argc, argv, rows, 1, 1, &operands) < 0)
        return EXIT_USAGE;
    struct plan_diagnostics diagnostics = {0};
    struct plan_source *source = NULL;
    Plimsoll__Plan *plan = NULL;
    int bad = plan_source_load(operands[0], &source, &diagnostics) < 0 ||
              plan_read(source, &plan, &diagnostics) < 0;
    plan_diagnostics_print(&diagnostics, stderr);
    if (!bad) {
        tell_preview(plan);
        plimsoll__plan__free_unpacked(plan, NULL);
    }
    plan_source_free(&source);
    plan_diagnostics_clear(&diagnostics);
    return bad ? EXIT_USAGE : EXIT_GOOD;
}
