/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Somebody else's plan is read in a process of its own: whatever a parser does wrong ends there. */
#include "coordinator/plan/plan.h"

#include "common/cleanup.h"
#include "common/clock.h"
#include "proto/frame.h"

#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CPU_LIMIT_S = 10, MEMORY_LIMIT_BYTES = 512 << 20, MOST_DESCRIPTORS = 16 };
static const int64_t deadline_after_ns = INT64_C(20) * 1000000000;

static int spawn(const char *program, int fd, pid_t *ret, struct err *e)
{
    char *const argv[] = {(char *)program, (char *)"--read-plan", NULL};
    char *const environment[] = {(char *)"LC_ALL=C", NULL};
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none;
    sigemptyset(&none);
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    posix_spawn_file_actions_adddup2(&actions, fd, STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&actions, fd, STDOUT_FILENO);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
    pid_t child = 0;
    int errnum = posix_spawn(&child, program, &actions, &attributes, argv, environment);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    if (errnum != 0)
        return err_system(e, errnum, "cannot start %s", program);
    *ret = child;
    return 0;
}

static int converse(int fd, const Plimsoll__Submit *submit, Plimsoll__PlanReading **ret,
                    struct err *e)
{
    int64_t deadline_ns = clock_monotonic_ns() + deadline_after_ns;
    ProtobufCMessage *answer = NULL;
    if (frame_write(fd, &submit->base, deadline_ns, e) < 0 ||
        frame_read(fd, &plimsoll__plan_reading__descriptor, deadline_ns, &answer, e) < 0)
        return -1;
    *ret = (Plimsoll__PlanReading *)answer;
    return 0;
}

/* Why a child that gave no answer ended, in words that help. */
static int explain_end(int status, struct err *e)
{
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGXCPU)
        return err_set(e, ERR_INPUT, "reading the plan takes more than %d s", CPU_LIMIT_S);
    if (WIFSIGNALED(status) && WTERMSIG(status) != SIGKILL)
        return err_set(e, ERR_INPUT, "reading the plan ended with signal %d", WTERMSIG(status));
    return err_prefix(e, "the reader of plans gave no answer");
}

int plan_read_in_child(const char *program, const Plimsoll__Submit *submit,
                       Plimsoll__PlanReading **ret, struct err *e)
{
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
        return err_system(e, errno, "cannot make a socket pair");
    cleanup_close int own = ends[0];
    cleanup_close int theirs = ends[1];
    pid_t child;
    if (spawn(program, theirs, &child, e) < 0)
        return -1;
    close(steal_fd(&theirs));
    cleanup_err struct err failure = ERR_INIT;
    Plimsoll__PlanReading *reading = NULL;
    int result = converse(own, submit, &reading, &failure);
    /* It may answer nonsense and live on; one that has ended does not feel it. */
    if (result < 0)
        kill(child, SIGKILL);
    close(steal_fd(&own));
    int status = 0;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        continue;
    if (result < 0) {
        explain_end(status, &failure);
        return err_move(e, &failure);
    }
    *ret = reading;
    return 0;
}

static int limit(__rlimit_resource_t resource, rlim_t soft, rlim_t hard)
{
    const struct rlimit both = {soft, hard};
    return setrlimit(resource, &both);
}

/* It needs its socket, time and memory: no files, no processes, no privileges. Address space is
 * what a sanitizer needs most of. 0, or -1 with errno. */
static int limit_self(void)
{
    if (limit(RLIMIT_CPU, CPU_LIMIT_S, CPU_LIMIT_S + 1) < 0 || limit(RLIMIT_CORE, 0, 0) < 0 ||
        limit(RLIMIT_FSIZE, 0, 0) < 0 ||
        limit(RLIMIT_NOFILE, MOST_DESCRIPTORS, MOST_DESCRIPTORS) < 0 ||
        limit(RLIMIT_NPROC, 0, 0) < 0)
        return -1;
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    if (limit(RLIMIT_AS, MEMORY_LIMIT_BYTES, MEMORY_LIMIT_BYTES) < 0)
        return -1;
#endif
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}

static int answer(const Plimsoll__Submit *submit)
{
    struct plan_source source = {.text = submit->plan,
                                 .length = strlen(submit->plan),
                                 .origins = submit->origins,
                                 .n_origins = submit->n_origins};
    struct plan_diagnostics diagnostics = {0};
    Plimsoll__Plan *plan = NULL;
    plan_read(&source, &plan, &diagnostics);
    Plimsoll__PlanReading reading = PLIMSOLL__PLAN_READING__INIT;
    reading.plan = plan;
    reading.diagnostics = diagnostics.items;
    reading.n_diagnostics = diagnostics.n;
    cleanup_err struct err e = ERR_INIT;
    int result = frame_write(STDOUT_FILENO, &reading.base, 0, &e);
    if (plan)
        plimsoll__plan__free_unpacked(plan, NULL);
    plan_diagnostics_clear(&diagnostics);
    return result < 0 ? 1 : 0;
}

int plan_read_child_main(void)
{
    if (limit_self() < 0)
        return 1;
    cleanup_err struct err e = ERR_INIT;
    ProtobufCMessage *message = NULL;
    if (frame_read(STDIN_FILENO, &plimsoll__submit__descriptor, 0, &message, &e) < 0)
        return 1;
    int status = answer((Plimsoll__Submit *)message);
    frame_free(message);
    return status;
}
