// SPDX-License-Identifier: GPL-3.0-or-later
#include "agent/guest/spawn.h"

#include "agent/host/cgroup.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/fs.h"
#include "proto/settings.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

enum { STACK_BYTES = 64 << 10 };

/* Shared with the child, which writes `failed`, `errnum` and `started_ns`. */
struct spawn {
    const struct spawn_request *request;
    bool v2;
    int tasks[CGROUP_IN_USE_MOST]; /* v1: open `tasks` files; v2: the cgroup's folder, for clone3 */
    size_t n_tasks;
    cpu_set_t cpus;
    const char *failed; /* what could not be done, NULL: executed */
    int errnum;
    int64_t started_ns;
};

static char *const environment[] = {
    (char *)"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    (char *)"HOME=/",
    (char *)"LANG=C.UTF-8",
    NULL,
};

/* ---- The child: shares the parent's memory, so bare system calls only ---- */

static int give_up(struct spawn *s, const char *what)
{
    s->errnum = errno;
    s->failed = what;
    return -1;
}

static bool born_inside(const struct spawn *s)
{
#ifdef __x86_64__
    return s->v2;
#else
    return false;
#endif
}

static int enter_cgroup(struct spawn *s)
{
    for (size_t i = 0; !born_inside(s) && i < s->n_tasks; i++)
        if (write(s->tasks[i], "0", 1) < 0)
            return give_up(s, "enter its cgroup");
    return 0;
}

/* Signals that the agent ignores or handles are its own affair. */
static void reset_signals(void)
{
    struct sigaction usual = {.sa_handler = SIG_DFL};
    for (int signal = 1; signal < NSIG; signal++)
        if (signal != SIGKILL && signal != SIGSTOP)
            sigaction(signal, &usual, NULL);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

static int take_descriptors(struct spawn *s)
{
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (null < 0 || dup2(null, 0) < 0 || dup2(s->request->output, 1) < 0 ||
        dup2(s->request->output, 2) < 0)
        return give_up(s, "take its descriptors");
    /* Libraries are not as careful with close-on-exec as this program is. */
    if (close_range(3, ~0U, CLOSE_RANGE_CLOEXEC) < 0)
        return give_up(s, "close the agent's descriptors");
    return 0;
}

/* glibc's setresuid would make all threads of the parent change too. */
static int become_user(struct spawn *s)
{
    uid_t uid = s->request->uid;
    if (syscall(SYS_setgroups, 0, NULL) < 0 || syscall(SYS_setresgid, uid, uid, uid) < 0 ||
        syscall(SYS_setresuid, uid, uid, uid) < 0)
        return give_up(s, "become an unprivileged user");
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return give_up(s, "renounce new privileges");
    return 0;
}

static int confine(struct spawn *s)
{
    if (enter_cgroup(s) < 0 || take_descriptors(s) < 0)
        return -1;
    if (sched_setaffinity(0, sizeof(s->cpus), &s->cpus) < 0)
        return give_up(s, "be confined to its CPU");
    if (chroot(s->request->root) < 0 || chdir("/") < 0)
        return give_up(s, "enter its root");
    setsid();
    return become_user(s);
}

__attribute__((no_sanitize("address"))) static int child(void *arg)
{
    struct spawn *s = arg;
    if (confine(s) == 0) {
        reset_signals();
        s->started_ns = clock_monotonic_ns();
        execve(s->request->argv[0], s->request->argv, environment);
        give_up(s, "be executed");
    }
    _exit(127);
}

/* ---- The parent ---- */

static int open_cgroup(struct spawn *s, struct err *e)
{
    const char *mounts[CGROUP_IN_USE_MOST];
    size_t n = cgroup_in_use(mounts);
    const char *file = born_inside(s) ? "" : s->v2 ? "/cgroup.procs" : "/tasks";
    for (size_t i = 0; i < n; i++) {
        cleanup_free char *path = fs_path("%s/%s%s", mounts[i], s->request->cgroup, file);
        int fd = open(path, (file[0] ? O_WRONLY : O_RDONLY | O_DIRECTORY) | O_CLOEXEC);
        if (fd < 0)
            return err_system(e, errno, "cannot open %s", path);
        s->tasks[s->n_tasks++] = fd;
    }
    return 0;
}

static void close_cgroup(struct spawn *s)
{
    for (size_t i = 0; i < s->n_tasks; i++)
        close(s->tasks[i]);
}

#ifdef __x86_64__
/* clone3 with a function, as glibc's clone has it: the child finds itself on its own stack with all
 * registers but %rax as they were, and never returns from the call. */
static pid_t clone_born_inside(struct spawn *s, void *stack)
{
    struct clone_args args = {
        .flags = CLONE_VM | CLONE_VFORK | CLONE_INTO_CGROUP,
        .exit_signal = SIGCHLD,
        .stack = (uint64_t)(uintptr_t)stack,
        .stack_size = STACK_BYTES,
        .cgroup = (unsigned)s->tasks[0],
    };
    register int (*function)(void *) __asm__("r12") = child;
    register void *argument __asm__("r13") = s;
    long result;
    __asm__ volatile("syscall\n\t"
                     "test %%rax, %%rax\n\t"
                     "jnz 1f\n\t"
                     "xor %%ebp, %%ebp\n\t"
                     "mov %%r13, %%rdi\n\t"
                     "call *%%r12\n\t"
                     "hlt\n"
                     "1:"
                     : "=a"(result)
                     : "a"(SYS_clone3), "D"(&args), "S"(sizeof(args)), "r"(function), "r"(argument)
                     : "rcx", "r11", "memory");
    if (result >= 0)
        return (pid_t)result;
    errno = (int)-result;
    return -1;
}
#endif

static pid_t clone_child(struct spawn *s, void *stack)
{
#ifdef __x86_64__
    if (s->v2)
        return clone_born_inside(s, stack);
#endif
    return clone(child, (char *)stack + STACK_BYTES, CLONE_VM | CLONE_VFORK | SIGCHLD, s);
}

/* With every signal blocked: a handler of the parent's must not run in the child, on the parent's
 * memory. */
static int run_child(struct spawn *s, pid_t *ret_pid, struct err *e)
{
    cleanup_free void *stack = malloc(STACK_BYTES);
    sigset_t all;
    sigset_t before;
    if (!stack)
        return err_system(e, ENOMEM, "cannot start a process");
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pid_t pid = clone_child(s, stack);
    int errnum = errno;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (pid < 0)
        return err_system(e, errnum, "cannot start a process");
    if (s->failed) {
        while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
            continue;
        return err_system(e, s->errnum, "%s could not %s", s->request->argv[0], s->failed);
    }
    *ret_pid = pid;
    return 0;
}

/* Without a descriptor of it nobody would notice its end. */
static int abandon(pid_t pid, int errnum, struct err *e)
{
    kill(pid, SIGKILL);
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        continue;
    return err_system(e, errnum, "cannot watch process %d", (int)pid);
}

int spawn_confined(const struct spawn_request *request, pid_t *ret_pid, int *ret_pidfd,
                   int64_t *ret_started_ns, struct err *e)
{
    struct spawn s = {.request = request, .v2 = cgroup_layout() == CGROUP_V2};
    CPU_ZERO(&s.cpus);
    CPU_SET((size_t)request->cpu, &s.cpus);
    pid_t pid = -1;
    int result = open_cgroup(&s, e) < 0 ? -1 : run_child(&s, &pid, e);
    close_cgroup(&s);
    if (result < 0)
        return -1;
    int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (pidfd < 0)
        return abandon(pid, errno, e);
    *ret_pid = pid;
    *ret_pidfd = pidfd;
    *ret_started_ns = s.started_ns;
    return 0;
}

int spawn_reap(pid_t pid, int pidfd, int64_t deadline_ns, int *ret_status, struct err *e)
{
    struct pollfd p = {.fd = pidfd, .events = POLLIN};
    if (pidfd >= 0 && poll(&p, 1, clock_poll_ms(deadline_ns)) == 0)
        return err_set(e, ERR_TIMEOUT, "process %d has not ended in time", (int)pid);
    while (waitpid(pid, ret_status, 0) < 0 && errno == EINTR)
        continue;
    return 0;
}

/* ---- What a single guest runs ---- */

char **single_command(const struct guest *g)
{
    const Plimsoll__Strings *list = settings_list(g->section, "command");
    size_t n = 0;
    if (g->argv)
        while (g->argv[n])
            n++;
    else if (list)
        n = list->n_item;
    char **argv = calloc(n + 4, sizeof(*argv));
    if (!argv)
        abort();
    argv[0] = fs_path("/.plimsoll/runner");
    argv[1] = fs_path("app");
    argv[2] = fs_path("--");
    for (size_t i = 0; i < n; i++)
        argv[3 + i] = fs_path("%s", g->argv ? g->argv[i] : list->item[i]);
    return argv;
}

void single_command_free(char ***argv)
{
    for (char **at = *argv; at && *at; at++)
        free(*at);
    free(*argv);
    *argv = NULL;
}
