/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agent/host/tool.h"

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/fs.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

enum { MOST_TOOLS = 16 };

/* A service's PATH may lack the folders of administrators. */
static char *find_program(const char *name)
{
    if (strchr(name, '/'))
        return access(name, X_OK) == 0 ? fs_path("%s", name) : NULL;
    const char *path = getenv("PATH");
    cleanup_free char *folders =
        fs_path("%s:/usr/local/sbin:/usr/sbin:/sbin:/usr/bin", path ? path : "/usr/local/bin");
    char *rest = NULL;
    for (char *f = strtok_r(folders, ":", &rest); f; f = strtok_r(NULL, ":", &rest)) {
        char *program = fs_path("%s/%s", f, name);
        if (access(program, X_OK) == 0)
            return program;
        free(program);
    }
    return NULL;
}

static int spawn_reading(const char *program, const char *const *argv, int write_fd, pid_t *ret)
{
    static const char *const environment[] = {"LC_ALL=C", "PATH=/usr/sbin:/usr/bin:/sbin:/bin",
                                              NULL};
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, write_fd, 1);
    posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
    /* The agent's threads block signals; the tool must not inherit that, or nothing could end it.
     */
    posix_spawnattr_t attributes;
    posix_spawnattr_init(&attributes);
    sigset_t none;
    sigemptyset(&none);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
    int failed = posix_spawn(ret, program, &actions, &attributes, (char *const *)argv,
                             (char *const *)environment);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    return failed;
}

static void tool_start(struct tool *t)
{
    t->fd = -1;
    t->pid = 0;
    t->used = 0;
    t->line[0] = t->version[0] = '\0';
    cleanup_free char *program = find_program(t->argv[0]);
    int pipe_fds[2];
    if (!program || pipe2(pipe_fds, O_CLOEXEC) < 0)
        return;
    if (spawn_reading(program, t->argv, pipe_fds[1], &t->pid) == 0)
        t->fd = steal_fd(&pipe_fds[0]);
    else
        t->pid = 0;
    if (pipe_fds[0] >= 0)
        close(pipe_fds[0]);
    close(pipe_fds[1]);
}

/* Keeps the beginning; the rest is read too, so that the tool never waits for us. */
static void tool_read(struct tool *t)
{
    char block[1024];
    ssize_t n = read(t->fd, block, sizeof block);
    if (n < 0 && errno == EINTR)
        return;
    if (n <= 0) {
        close(t->fd);
        t->fd = -1;
        return;
    }
    size_t room = sizeof t->line - 1 - t->used;
    size_t take = (size_t)n < room ? (size_t)n : room;
    memcpy(t->line + t->used, block, take);
    t->used += take;
    t->line[t->used] = '\0';
}

static void find_version(struct tool *t)
{
    t->line[strcspn(t->line, "\n")] = '\0';
    for (const char *at = t->line; *at; at++) {
        if (!isdigit((unsigned char)*at) || (at > t->line && at[-1] != ' '))
            continue;
        size_t length = strcspn(at, " ");
        if (length >= sizeof t->version)
            return;
        memcpy(t->version, at, length);
        t->version[length] = '\0';
        return;
    }
}

static void tool_end(struct tool *t)
{
    if (t->fd >= 0) {
        close(t->fd);
        t->fd = -1;
        kill(t->pid, SIGKILL);
        t->line[0] = '\0';
    }
    int status = 0;
    while (t->pid > 0 && waitpid(t->pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (t->pid > 0 && (!WIFEXITED(status) || WEXITSTATUS(status) != 0))
        t->line[0] = '\0';
    t->pid = 0;
    find_version(t);
}

void tool_run_all(struct tool *tools, size_t n, int64_t deadline_ns)
{
    if (n > MOST_TOOLS)
        abort();
    for (size_t i = 0; i < n; i++)
        tool_start(&tools[i]);
    for (;;) {
        struct pollfd fds[MOST_TOOLS];
        size_t open = 0;
        for (size_t i = 0; i < n; i++) {
            fds[i] = (struct pollfd){.fd = tools[i].fd, .events = POLLIN};
            open += tools[i].fd >= 0;
        }
        int ms = clock_poll_ms(deadline_ns);
        if (open == 0 || ms == 0)
            break;
        if (poll(fds, (nfds_t)n, ms) <= 0)
            continue;
        for (size_t i = 0; i < n; i++)
            if (tools[i].fd >= 0 && fds[i].revents)
                tool_read(&tools[i]);
    }
    for (size_t i = 0; i < n; i++)
        tool_end(&tools[i]);
}
