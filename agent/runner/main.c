/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agent/runner/runner.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char usage[] =
    "Usage: plimsoll-runner app -- COMMAND [ARGUMENT]...    report, then run a single program\n"
    "       plimsoll-runner shim -- INIT [ARGUMENT]...      report, then become a system's init\n"
    "       plimsoll-runner serve                           report, then run what the agent asks "
    "for\n"
    "       plimsoll-runner --help | --version\n"
    "Runs inside Plimsoll's guests; started as /init by a VM's kernel it brings up the root "
    "disk.\n";

int runner_fail(const char *format, ...)
{
    int errnum = errno;
    char text[256];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (errnum)
        dprintf(STDERR_FILENO, "plimsoll-runner: %s: %s\n", text, strerror(errnum));
    else
        dprintf(STDERR_FILENO, "plimsoll-runner: %s\n", text);
    return RUNNER_EXIT_FAILED;
}

/* Comes here when the early path could not do all of it: report if that is still to do, then exec.
 */
static int report_and_exec(char **argv, Plimsoll__Phase phase)
{
    if (!argv[2] || strcmp(argv[2], "--") != 0 || !argv[3]) {
        fputs(usage, stderr);
        return 2;
    }
    if (!runner_early_state.sent) {
        int fd = channel_open_now();
        if (fd < 0)
            return runner_fail("could not reach the agent at " RUNNER_SOCKET);
        if (mark_send(fd, phase) < 0)
            return runner_fail("could not report to the agent");
    }
    execvp(argv[3], argv + 3);
    return runner_fail("could not run %s", argv[3]);
}

static int is_init(const char *program)
{
    const char *slash = strrchr(program, '/');
    return strcmp(slash ? slash + 1 : program, "init") == 0;
}

int main(int argc, char **argv)
{
    if (argc > 0 && getpid() == 1 && is_init(argv[0]))
        return initrd_main();
    const char *mode = argc > 1 ? argv[1] : "";
    if (strcmp(mode, "app") == 0)
        return report_and_exec(argv, PLIMSOLL__PHASE__PHASE_READY);
    if (strcmp(mode, "shim") == 0)
        return report_and_exec(argv, PLIMSOLL__PHASE__PHASE_INIT);
    if (strcmp(mode, "serve") == 0 && argc == 2)
        return serve_main();
    if (strcmp(mode, "--version") == 0)
        return puts("plimsoll-runner " PLIMSOLL_VERSION) < 0;
    if (strcmp(mode, "--help") == 0)
        return fputs(usage, stdout) < 0;
    fputs(usage, stderr);
    return 2;
}
