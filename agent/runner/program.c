/* SPDX-License-Identifier: GPL-3.0-or-later */
/* One program inside the guest: started, watched to its end, killed at its deadline. */
#include "agent/runner/runner.h"
#include "common/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

enum { DRAIN_READS = 8 };

/* The last RUNNER_OUTPUT_BYTES of what was said, as a ring. */
struct tail {
    size_t total_bytes;
    uint8_t ring[RUNNER_OUTPUT_BYTES];
};

static void tail_add(struct tail *t, const uint8_t *data, size_t n)
{
    for (size_t i = 0; i < n; i++)
        t->ring[(t->total_bytes + i) % RUNNER_OUTPUT_BYTES] = data[i];
    t->total_bytes += n;
}

/* In order, oldest first. */
static int tail_take(const struct tail *t, ProtobufCBinaryData *ret)
{
    size_t kept = t->total_bytes < RUNNER_OUTPUT_BYTES ? t->total_bytes : RUNNER_OUTPUT_BYTES;
    uint8_t *data = malloc(kept + 1);
    if (!data)
        return -1;
    for (size_t i = 0; i < kept; i++)
        data[i] = t->ring[(t->total_bytes - kept + i) % RUNNER_OUTPUT_BYTES];
    *ret = (ProtobufCBinaryData){.len = kept, .data = data};
    return 0;
}

/* What a full pipe holds at the most, so that a program which never stops talking does not keep us
 * from its deadline. 0 when the pipe has ended. */
static int output_drain(int fd, struct tail *t)
{
    uint8_t buffer[16384];
    ssize_t n = 1;
    for (int i = 0; n > 0 && i < DRAIN_READS; i++) {
        n = read(fd, buffer, sizeof buffer);
        if (n > 0)
            tail_add(t, buffer, (size_t)n);
    }
    return n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR));
}

/* In a process group of its own, so that whatever it starts can be killed with it. Returns errno.
 */
static int program_spawn(char **argv, int output, pid_t *ret_pid)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none;
    sigemptyset(&none);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&actions, output, STDERR_FILENO);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK);
    posix_spawnattr_setsigmask(&attributes, &none);
    int errnum = posix_spawnp(ret_pid, argv[0], &actions, &attributes, argv, environ);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    return errnum;
}

static int left_ms(int64_t until_ns)
{
    if (until_ns == 0)
        return -1;
    int64_t left_ns = until_ns - guest_clock_ns();
    if (left_ns <= 0)
        return 0;
    return left_ns > INT64_C(3600000000000) ? 3600000 : (int)((left_ns + 999999) / 1000000);
}

enum watch_end { WATCH_EXITED, WATCH_DEADLINE, WATCH_PEER_GONE };

static enum watch_end program_watch(int process, int output, int peer, int64_t until_ns,
                                    struct tail *tail)
{
    struct pollfd fds[] = {{.fd = process, .events = POLLIN},
                           {.fd = output, .events = POLLIN},
                           {.fd = peer, .events = POLLRDHUP}};
    for (;;) {
        int n = poll(fds, 3, left_ms(until_ns));
        if (n < 0 && errno == EINTR)
            continue;
        if (left_ms(until_ns) == 0 && !fds[0].revents)
            return WATCH_DEADLINE;
        if (fds[1].revents && !output_drain(output, tail))
            fds[1].fd = -1; /* closed by the program: nothing more to poll for */
        if (fds[0].revents)
            return WATCH_EXITED;
        if (fds[2].revents & (POLLHUP | POLLRDHUP | POLLERR | POLLNVAL))
            return WATCH_PEER_GONE;
    }
}

static int status_of(int wait_status)
{
    return WIFSIGNALED(wait_status) ? 128 + WTERMSIG(wait_status) : WEXITSTATUS(wait_status);
}

static Plimsoll__Finished *finished_new(int status, int64_t elapsed_ns, const struct tail *tail)
{
    Plimsoll__Finished *f = malloc(sizeof *f);
    if (!f)
        return NULL;
    plimsoll__finished__init(f);
    f->status = status;
    f->elapsed_ns = (uint64_t)elapsed_ns;
    if (tail_take(tail, &f->output) == 0)
        return f;
    free(f);
    return NULL;
}

void program_finished_free(Plimsoll__Finished **f)
{
    if (!*f)
        return;
    free((*f)->output.data);
    free(*f);
    *f = NULL;
}

static void tail_say(struct tail *t, const char *text)
{
    tail_add(t, (const uint8_t *)text, strlen(text));
}

/* Starts, watches, reaps. The process group is killed whatever happened: nothing outlives its
 * request. */
static int program_to_end(char **argv, int peer, uint64_t deadline_ns, const int pipe_fds[2],
                          struct tail *tail, int *ret_status, int64_t *ret_elapsed_ns)
{
    pid_t pid;
    int64_t begin_ns = guest_clock_ns();
    int errnum = program_spawn(argv, pipe_fds[1], &pid);
    if (errnum) {
        tail_say(tail, "plimsoll-runner: could not run ");
        tail_say(tail, argv[0]);
        tail_say(tail, ": ");
        tail_say(tail, strerror(errnum));
        tail_say(tail, "\n");
        *ret_status = 127;
        *ret_elapsed_ns = 0;
        return 0;
    }
    int64_t until_ns = deadline_ns == 0                        ? 0
                       : deadline_ns < (uint64_t)INT64_MAX / 2 ? begin_ns + (int64_t)deadline_ns
                                                               : INT64_MAX;
    cleanup_close int process = (int)syscall(SYS_pidfd_open, pid, 0);
    enum watch_end end = WATCH_PEER_GONE;
    if (process >= 0)
        end = program_watch(process, pipe_fds[0], peer, until_ns, tail);
    *ret_elapsed_ns = guest_clock_ns() - begin_ns;
    kill(-pid, SIGKILL);
    int wait_status = 0;
    while (waitpid(pid, &wait_status, 0) < 0 && errno == EINTR)
        ;
    output_drain(pipe_fds[0], tail);
    *ret_status = status_of(wait_status);
    return end == WATCH_PEER_GONE ? -1 : 0;
}

int program_run(const Plimsoll__Exec *request, int peer_fd, Plimsoll__Finished **ret)
{
    static struct tail tail;
    tail.total_bytes = 0;
    int status = 127;
    int64_t elapsed_ns = 0;
    if (request->n_argv == 0) {
        tail_say(&tail, "plimsoll-runner: the request names no program\n");
    } else {
        int fds[2];
        cleanup_free char **argv = calloc(request->n_argv + 1, sizeof *argv);
        if (!argv || pipe2(fds, O_CLOEXEC) < 0)
            return -1;
        memcpy(argv, request->argv, request->n_argv * sizeof *argv);
        fcntl(fds[0], F_SETFL, O_NONBLOCK);
        int result =
            program_to_end(argv, peer_fd, request->deadline_ns, fds, &tail, &status, &elapsed_ns);
        close(fds[0]);
        close(fds[1]);
        if (result < 0)
            return -1;
    }
    *ret = finished_new(status, elapsed_ns, &tail);
    return *ret ? 0 : -1;
}
