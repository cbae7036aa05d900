/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * plimsoll-coordinator: keeps campaigns and their results, and gives agents their trials.
 *
 * Threads: the loop (all sockets), the store's writer, libuv's workers (readers of the store, of
 * plans).
 */
#include "common/cleanup.h"
#include "common/conf.h"
#include "common/log.h"
#include "coordinator/daemon.h"
#include "coordinator/leftovers.h"
#include "coordinator/plan/plan.h"

#include <getopt.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>

static const char usage[] =
    "Usage: plimsoll-coordinator --config FILE\n"
    "Keeps Plimsoll's campaigns and gives agents their trials.\n"
    "\n"
    "  --config FILE  configuration; /etc/plimsoll/coordinator.conf unless given\n"
    "  --no-clean     leave to others what killed agents left on this host\n"
    "  --verbose      log each step\n"
    "  --read-plan    read one plan from standard input (used by the coordinator itself)\n"
    "  --help         print this\n"
    "  --version      print the version\n"
    "\n"
    "The configuration file (name = value, one a line):\n";

enum {
    OPTION_CONFIG = 'c',
    OPTION_NO_CLEAN = 'n',
    OPTION_VERBOSE = 'v',
    OPTION_READ = 'r',
    OPTION_HELP = 'h',
    OPTION_VERSION = 'V'
};

static const struct option options[] = {
    {"config", required_argument, NULL, OPTION_CONFIG},
    {"no-clean", no_argument, NULL, OPTION_NO_CLEAN},
    {"verbose", no_argument, NULL, OPTION_VERBOSE},
    {"read-plan", no_argument, NULL, OPTION_READ},
    {"help", no_argument, NULL, OPTION_HELP},
    {"version", no_argument, NULL, OPTION_VERSION},
    {0},
};

static void print_help(void)
{
    fputs(usage, stdout);
    conf_print_keys(daemon_keys, stdout);
}

static int run(const char *config)
{
    cleanup_err struct err e = ERR_INIT;
    /* A peer or a pipe that went away is an error to handle, never an end. */
    signal(SIGPIPE, SIG_IGN);
    if (daemon_run(config, &e) == 0)
        return 0;
    log_error("%s", err_text(&e));
    return e.code == ERR_INPUT || e.code == ERR_NOT_FOUND ? 2 : 1;
}

int main(int argc, char **argv)
{
    const char *config = "/etc/plimsoll/coordinator.conf";
    enum log_level level = LOG_LEVEL_INFO;
    bool clean = true;
    int option;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (option) {
        case OPTION_CONFIG:
            config = optarg;
            break;
        case OPTION_NO_CLEAN:
            clean = false;
            break;
        case OPTION_VERBOSE:
            level = LOG_LEVEL_DEBUG;
            break;
        case OPTION_READ:
            return plan_read_child_main();
        case OPTION_HELP:
            print_help();
            return 0;
        case OPTION_VERSION:
            puts("plimsoll-coordinator " PLIMSOLL_VERSION);
            return 0;
        default:
            fputs("Try plimsoll-coordinator --help.\n", stderr);
            return 2;
        }
    }
    if (optind < argc) {
        fprintf(stderr, "plimsoll-coordinator: %s: it takes no arguments, only options\n",
                argv[optind]);
        return 2;
    }
    log_open("plimsoll-coordinator", level);
    if (clean)
        leftovers_clean_if_found();
    return run(config);
}
