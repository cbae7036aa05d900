/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "coordinator/child.h"

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

enum { LOG_LINES = 15, LOG_BYTES = 16 << 10, OUTPUT_MOST_BYTES = 8 << 20 };

/* ---- Finding ---- */

char *child_folder(void)
{
    char path[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
    path[n > 0 ? n : 0] = '\0';
    char *slash = strrchr(path, '/');
    if (slash)
        *slash = '\0';
    return fs_path("%s", path);
}

/* Takes the path; NULL where nobody can execute it. */
static char *executable(char *path)
{
    if (access(path, X_OK) == 0)
        return path;
    free(path);
    return NULL;
}

int child_find(const char *name, char **ret_path, struct err *e)
{
    cleanup_free char *folder = child_folder();
    char *path = executable(fs_path("%s/%s", folder, name));
    if (!path)
        path = executable(fs_path("%s/../libexec/plimsoll/%s", folder, name));
    if (!path)
        return err_set(e, ERR_NOT_FOUND,
                       "the program %s is neither in %s nor in %s/../libexec/plimsoll", name,
                       folder, folder);
    *ret_path = path;
    return 0;
}

/* ---- Starting and stopping ---- */

static void reset_signals(void)
{
    sigset_t none;
    sigemptyset(&none);
    signal(SIGPIPE, SIG_DFL);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

/* In the child, after the fork: only what is async-signal-safe. */
_Noreturn static void become(char *const argv[], int in, int out, int err)
{
    if (dup2(in, 0) < 0 || dup2(out, 1) < 0 || dup2(err, 2) < 0)
        _exit(126);
    reset_signals();
    execv(argv[0], argv);
    _exit(127);
}

/* A parent that died before the child's prctl sends no signal; its pid has changed by then. */
static void follow_parent(pid_t parent)
{
    setpgid(0, 0);
    if (prctl(PR_SET_PDEATHSIG, SIGTERM) < 0 || getppid() != parent)
        _exit(126);
}

int child_start(struct child *c, const char *name, char *const argv[], const char *log,
                struct err *e)
{
    cleanup_close int out = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    cleanup_close int in = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (out < 0 || in < 0)
        return err_system(e, errno, "cannot open %s", log);
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid < 0)
        return err_system(e, errno, "cannot start %s", name);
    if (pid == 0) {
        follow_parent(parent);
        become(argv, in, out, out);
    }
    *c = (struct child){.name = name, .pid = pid, .log = fs_path("%s", log)};
    return 0;
}

bool child_ended(struct child *c)
{
    if (c->pid > 0 && waitpid(c->pid, &c->status, WNOHANG) == c->pid)
        c->pid = 0;
    return c->pid == 0;
}

const char *child_end_words(const struct child *c, char *buffer)
{
    if (WIFSIGNALED(c->status))
        snprintf(buffer, 96, "was killed by signal %d (%s)", WTERMSIG(c->status),
                 strsignal(WTERMSIG(c->status)));
    else
        snprintf(buffer, 96, "ended with status %d", WEXITSTATUS(c->status));
    return buffer;
}

bool child_stop(struct child *c, int64_t deadline_ns)
{
    if (child_ended(c))
        return true;
    cleanup_close int fd = (int)syscall(SYS_pidfd_open, c->pid, 0);
    kill(c->pid, SIGTERM);
    struct pollfd wait = {.fd = fd, .events = POLLIN};
    while (fd >= 0 && clock_monotonic_ns() < deadline_ns)
        if (poll(&wait, 1, clock_poll_ms(deadline_ns)) > 0)
            break;
    if (child_ended(c))
        return true;
    kill(c->pid, SIGKILL);
    while (waitpid(c->pid, &c->status, 0) < 0 && errno == EINTR)
        ;
    c->pid = 0;
    return false;
}

/* Where the last `lines` lines of a text begin. */
static const char *last_lines(const char *text, size_t length, unsigned lines)
{
    const char *at = text + length;
    if (at > text && at[-1] == '\n')
        at--;
    while (at > text && (at[-1] != '\n' || --lines > 0))
        at--;
    return at;
}

void child_print_log(const struct child *c, FILE *out)
{
    cleanup_file FILE *log = c->log ? fopen(c->log, "re") : NULL;
    if (!log)
        return;
    char text[LOG_BYTES + 1];
    if (fseek(log, -LOG_BYTES, SEEK_END) < 0)
        rewind(log);
    size_t length = fread(text, 1, LOG_BYTES, log);
    text[length] = '\0';
    fprintf(out, "the last lines of %s:\n", c->log);
    bool line_start = true;
    for (const char *s = last_lines(text, length, LOG_LINES); *s; s++) {
        if (line_start)
            fputs("  ", out);
        line_start = *s == '\n';
        fputc(*s == '\n' || (unsigned char)*s >= 0x20 ? *s : '?', out);
    }
    if (!line_start)
        fputc('\n', out);
}

void child_clear(struct child *c)
{
    free(c->log);
    *c = (struct child){0};
}

/* ---- To the end ---- */

/* An unlinked file, so that neither side can wait for the other. */
static int input_file(const char *input, struct err *e)
{
    if (!input) {
        int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
        return fd < 0 ? err_system(e, errno, "cannot open /dev/null") : fd;
    }
    cleanup_close int fd = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_system(e, errno, "cannot make a temporary file in /tmp");
    size_t length = strlen(input);
    if (write(fd, input, length) != (ssize_t)length || lseek(fd, 0, SEEK_SET) < 0)
        return err_system(e, errno, "cannot write a temporary file in /tmp");
    return steal_fd(&fd);
}

/* Everything a program writes until it closes its end; what is beyond the limit is dropped. */
static char *collect(int fd)
{
    size_t used = 0, capacity = 4096;
    char *text = malloc(capacity + 1);
    while (text) {
        ssize_t n = read(fd, text + used, capacity - used);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        used += (size_t)n;
        if (used < capacity)
            continue;
        if (capacity >= OUTPUT_MOST_BYTES) {
            used = 0;
            continue;
        }
        char *larger = realloc(text, 2 * capacity + 1);
        if (!larger)
            break;
        text = larger;
        capacity *= 2;
    }
    if (text)
        text[used] = '\0';
    return text;
}

int child_run(char *const argv[], const char *input, enum child_errors errors, char **ret_output,
              struct err *e)
{
    cleanup_close int in = input_file(input, e);
    int pipe_fds[2];
    if (in < 0)
        return -1;
    if (pipe2(pipe_fds, O_CLOEXEC) < 0)
        return err_system(e, errno, "cannot make a pipe");
    cleanup_close int from = pipe_fds[0];
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGTERM);
        become(argv, in, pipe_fds[1], errors == CHILD_ERRORS_KEPT ? pipe_fds[1] : 2);
    }
    close(pipe_fds[1]);
    if (pid < 0)
        return err_system(e, errno, "cannot start %s", argv[0]);
    char *output = collect(from);
    int status = 0;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (ret_output && output)
        *ret_output = output;
    else
        free(output);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
        return err_set(e, ERR_SYSTEM, "cannot execute %s", argv[0]);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
