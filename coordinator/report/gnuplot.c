/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "coordinator/report/gnuplot.h"

#include "common/cleanup.h"
#include "common/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    DEADLINE_S = 20,
    CPU_LIMIT_S = 10,
    MEMORY_LIMIT_BYTES = 512 << 20,
    OPEN_FILES_MOST = 32,
    OUTPUT_MOST_BYTES = 16 << 20,
    PIECE_BYTES = 64 << 10,
};

/* What goes to the child and what came back. */
struct talk {
    const char *script;
    size_t left;
    char *answer;
    size_t length, capacity;
    bool ended; /* by the child */
};

/* ---- The child ---- */

static int spawn(int fd, pid_t *ret, struct err *e)
{
    /* -d: no start-up files */
    char *const argv[] = {(char *)"gnuplot", (char *)"-d", (char *)"-", NULL};
    char *const environment[] = {(char *)"LC_ALL=C", NULL};
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none;
    sigemptyset(&none);
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    posix_spawn_file_actions_adddup2(&actions, fd, STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&actions, fd, STDOUT_FILENO);
    posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
    int errnum = posix_spawnp(ret, "gnuplot", &actions, &attributes, argv, environment);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    if (errnum == ENOENT || errnum == ENOTDIR || errnum == EACCES)
        return err_set(e, ERR_NOT_FOUND, "gnuplot is not installed");
    return errnum != 0 ? err_system(e, errnum, "cannot start gnuplot") : 0;
}

/* Before it is given a script: until then it waits. */
static int limit(pid_t pid, struct err *e)
{
    static const struct {
        __rlimit_resource_t which;
        rlim_t most;
    } limits[] = {
        {RLIMIT_CPU, CPU_LIMIT_S},
        {RLIMIT_AS, MEMORY_LIMIT_BYTES},
        {RLIMIT_NOFILE, OPEN_FILES_MOST},
        {RLIMIT_FSIZE, 0},
        {RLIMIT_CORE, 0},
    };
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        const struct rlimit both = {limits[i].most, limits[i].most};
        if (prlimit(pid, limits[i].which, &both, NULL) < 0)
            return err_system(e, errno, "cannot limit gnuplot");
    }
    return 0;
}

/* ---- The talk ---- */

static int send_some(int fd, struct talk *t, struct err *e)
{
    ssize_t n = send(fd, t->script, t->left, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0)
        return errno == EAGAIN || errno == EINTR ? 0
                                                 : err_system(e, errno, "gnuplot does not read");
    t->script += n;
    t->left -= (size_t)n;
    if (t->left == 0 && shutdown(fd, SHUT_WR) < 0)
        return err_system(e, errno, "cannot end gnuplot's script");
    return 0;
}

static int make_room(struct talk *t, struct err *e)
{
    if (t->capacity - t->length > PIECE_BYTES)
        return 0;
    if (t->capacity >= OUTPUT_MOST_BYTES)
        return err_set(e, ERR_SYSTEM, "gnuplot wrote more than %d MiB", OUTPUT_MOST_BYTES >> 20);
    size_t capacity = t->capacity ? 2 * t->capacity : (size_t)4 * PIECE_BYTES;
    char *larger = realloc(t->answer, capacity);
    if (!larger)
        return err_set(e, ERR_SYSTEM, "out of memory");
    t->answer = larger;
    t->capacity = capacity;
    return 0;
}

static int receive_some(int fd, struct talk *t, struct err *e)
{
    if (make_room(t, e) < 0)
        return -1;
    ssize_t n = recv(fd, t->answer + t->length, PIECE_BYTES, MSG_DONTWAIT);
    if (n < 0)
        return errno == EAGAIN || errno == EINTR ? 0 : err_system(e, errno, "gnuplot broke off");
    t->length += (size_t)n;
    t->answer[t->length] = '\0';
    t->ended = n == 0;
    return 0;
}

static int converse(int fd, struct talk *t, struct err *e)
{
    const int64_t deadline_ns = clock_monotonic_ns() + DEADLINE_S * NS_PER_S;
    while (!t->ended) {
        int64_t left_ns = deadline_ns - clock_monotonic_ns();
        struct pollfd p = {.fd = fd, .events = (short)(POLLIN | (t->left ? POLLOUT : 0))};
        if (left_ns <= 0)
            return err_set(e, ERR_TIMEOUT, "gnuplot took more than %d s", DEADLINE_S);
        if (poll(&p, 1, (int)(left_ns / 1000000) + 1) < 0 && errno != EINTR)
            return err_system(e, errno, "cannot wait for gnuplot");
        if ((p.revents & POLLOUT) && t->left && send_some(fd, t, e) < 0)
            return -1;
        if ((p.revents & (POLLIN | POLLHUP | POLLERR)) && receive_some(fd, t, e) < 0)
            return -1;
    }
    return 0;
}

static int end_of(pid_t pid, struct err *e)
{
    int status = 0;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        continue;
    if (WIFSIGNALED(status))
        return err_set(e, ERR_SYSTEM, "gnuplot was ended by signal %d", WTERMSIG(status));
    if (WEXITSTATUS(status) != 0)
        return err_set(e, ERR_SYSTEM, "gnuplot ended with status %d", WEXITSTATUS(status));
    return 0;
}

int gnuplot_run(const char *script, size_t length, char **ret, struct err *e)
{
    int ends[2];
    pid_t child = 0;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
        return err_system(e, errno, "cannot make a socket pair");
    cleanup_close int own = ends[0];
    cleanup_close int theirs = ends[1];
    if (spawn(theirs, &child, e) < 0)
        return -1;
    close(steal_fd(&theirs));
    struct talk t = {.script = script, .left = length};
    int result = limit(child, e);
    if (result == 0)
        result = converse(own, &t, e);
    if (result < 0)
        kill(child, SIGKILL);
    close(steal_fd(&own));
    if (end_of(child, result == 0 ? e : NULL) < 0)
        result = -1;
    if (result < 0)
        free(t.answer);
    else
        *ret = t.answer;
    return result;
}
