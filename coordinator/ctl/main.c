/* SPDX-License-Identifier: GPL-3.0-or-later */
/* coordctl: finds the verb and runs it. */
#include "coordinator/ctl/verb.h"

#include "common/conf.h"
#include "common/log.h"
#include "coordinator/ctl/client.h"
#include "coordinator/leftovers.h"
#include "coordinator/plan/plan.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

/* To add a verb: its file, its declaration, its place in the list (the order of `coordctl help`).
 */
extern const struct verb verb_cancel;
extern const struct verb verb_check;
extern const struct verb verb_doctor;
extern const struct verb verb_hosts;
extern const struct verb verb_images;
extern const struct verb verb_keys;
extern const struct verb verb_list;
extern const struct verb verb_report;
extern const struct verb verb_run;
extern const struct verb verb_show;
extern const struct verb verb_status;
extern const struct verb verb_submit;
extern const struct verb verb_watch;

static const struct verb *const verbs[] = {
    &verb_check, &verb_run,  &verb_submit, &verb_list,   &verb_status, &verb_watch, &verb_cancel,
    &verb_hosts, &verb_show, &verb_report, &verb_images, &verb_doctor, &verb_keys,  NULL,
};

enum { NAME_MOST_BYTES = 32 };

static const struct verb *find_verb(const char *name)
{
    for (size_t i = 0; verbs[i]; i++)
        if (strcmp(verbs[i]->name, name) == 0)
            return verbs[i];
    return NULL;
}

static unsigned least(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

/* Levenshtein's distance, one row kept; a longer word than any verb's is as far as can be. */
static unsigned distance(const char *a, const char *b)
{
    size_t length = strlen(b);
    unsigned row[NAME_MOST_BYTES + 1];
    if (length > NAME_MOST_BYTES || strlen(a) > NAME_MOST_BYTES)
        return NAME_MOST_BYTES;
    for (size_t j = 0; j <= length; j++)
        row[j] = (unsigned)j;
    for (size_t i = 0; a[i]; i++) {
        unsigned diagonal = row[0];
        row[0] = (unsigned)i + 1;
        for (size_t j = 0; j < length; j++) {
            unsigned above = row[j + 1];
            unsigned changed = diagonal + (a[i] != b[j]);
            row[j + 1] = least(changed, least(above, row[j]) + 1);
            diagonal = above;
        }
    }
    return row[length];
}

static const struct verb *nearest_verb(const char *name)
{
    const struct verb *best = NULL;
    unsigned best_distance = 3;
    for (size_t i = 0; verbs[i]; i++) {
        unsigned d = distance(name, verbs[i]->name);
        if (d < best_distance) {
            best_distance = d;
            best = verbs[i];
        }
    }
    return best;
}

static int unknown_verb(const char *name)
{
    const struct verb *near = nearest_verb(name);
    fprintf(stderr, "coordctl: unknown verb `%s`", name);
    if (near)
        fprintf(stderr, "; did you mean `%s`?\n", near->name);
    else
        fputs("; `coordctl help` lists them\n", stderr);
    return EXIT_USAGE;
}

static void print_overview(FILE *out)
{
    fputs("usage: coordctl VERB [ARGUMENTS]\n\n"
          "Runs experiment plans on this host or on a fleet, and reports what came of them.\n\n",
          out);
    for (size_t i = 0; verbs[i]; i++)
        fprintf(out, "  %-8s %s\n", verbs[i]->name, verbs[i]->summary);
    fputs(
        "  help     Tell more of one verb, or of a file: coordctl help VERB|client.conf\n\n"
        "Exit codes: 0 done and good; 1 a check failed; 2 the plan or the command line is wrong;\n"
        "3 no coordinator; 4 the campaign ended with trials missing.\n",
        out);
}

void verb_print_help(const struct verb *v)
{
    printf("usage: coordctl %s%s%s\n\n%s.\n", v->name, *v->arguments ? " " : "", v->arguments,
           v->summary);
    if (v->help && *v->help)
        printf("\n%s", v->help);
}

static int help(int argc, char **argv)
{
    if (argc < 2 || strcmp(argv[1], "help") == 0) {
        print_overview(stdout);
        return EXIT_GOOD;
    }
    if (strcmp(argv[1], "client.conf") == 0) {
        puts("Which coordinator coordctl talks to (name = value, one a line):");
        conf_print_keys(client_target_keys, stdout);
        return EXIT_GOOD;
    }
    const struct verb *v = find_verb(argv[1]);
    if (!v)
        return unknown_verb(argv[1]);
    verb_print_help(v);
    return EXIT_GOOD;
}

/* Words after `--` are a verb's operands, never options of it. */
static int wants_help(int argc, char **argv)
{
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            return 1;
    return 0;
}

static int dispatch(int argc, char **argv)
{
    const char *name = argv[0];
    if (strcmp(name, "help") == 0 || strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0)
        return help(argc, argv);
    if (strcmp(name, "--version") == 0 || strcmp(name, "-V") == 0) {
        puts("coordctl (plimsoll) " PLIMSOLL_VERSION);
        return EXIT_GOOD;
    }
    const struct verb *v = find_verb(name);
    if (!v)
        return unknown_verb(name);
    if (wants_help(argc, argv)) {
        verb_print_help(v);
        return EXIT_GOOD;
    }
    leftovers_clean_if_found();
    return v->run(argc, argv);
}

int main(int argc, char **argv)
{
    log_open("coordctl", LOG_LEVEL_WARNING);
    signal(SIGPIPE, SIG_IGN);
    if (argc < 2) {
        print_overview(stderr);
        return EXIT_USAGE;
    }
    if (argc == 2 && strcmp(argv[1], "--read-plan") == 0)
        return plan_read_child_main(); /* ourselves, as the child that plan_file_read starts */
    int code = dispatch(argc - 1, argv + 1);
    if ((fflush(stdout) != 0 || ferror(stdout)) && code == EXIT_GOOD) {
        perror("coordctl: cannot write to standard output");
        return EXIT_CHECK_FAILED;
    }
    return code;
}
