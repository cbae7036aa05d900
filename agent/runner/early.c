/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The program's first instructions. libc's static start (CPU features, indirect relocations, TLS,
 * stdio) touches dozens of pages that are not there yet, and each is a fault between the moment to
 * be reported and the report. So the entry point connects and writes the mark by bare system calls,
 * and in the modes `app` and `shim` even the exec follows before libc is ever started.
 *
 * Nothing here may call libc: its memcpy and strlen are indirect functions that are not resolved
 * yet, and the stack protector has no canary. Compiled accordingly (CMakeLists.txt). Whatever does
 * not work out is left to main, which tries again and has words for it.
 */
#include "agent/runner/runner.h"

#if defined(__GNUC__) && !defined(__clang__)
/* A loop over a string must stay one and not become a call of strlen or memcpy. */
#pragma GCC optimize("no-tree-loop-distribute-patterns")
#endif

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>

struct early runner_early_state = {.fd = -1};

#ifdef __x86_64__

void runner_early(char **stack);

/* The stack at entry holds argc, argv, envp (System V ABI, AMD64 supplement, 3.4.1). %rdx is the
 * ABI's function to register with atexit, which _start wants to see. */
__asm__(".pushsection .text.runner_entry,\"ax\",@progbits\n"
        ".globl runner_entry\n"
        ".type runner_entry,@function\n"
        "runner_entry:\n"
        "    xor %ebp, %ebp\n"
        "    mov %rsp, %rdi\n"
        "    push %rdx\n"
        "    push %rdx\n"
        "    call runner_early\n"
        "    pop %rdx\n"
        "    pop %rdx\n"
        "    jmp _start\n"
        ".size runner_entry, .-runner_entry\n"
        ".popsection\n");

static long call3(long number, long a, long b, long c)
{
    long result;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c)
                     : "rcx", "r11", "memory");
    return result;
}

static int same(const char *a, const char *b)
{
    while (*a && *a == *b) {
        a++;
        b++;
    }
    return *a == *b;
}

static void connect_and_mark(unsigned char phase)
{
    static const struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = RUNNER_SOCKET};
    const unsigned char frame[MARK_BYTES] = MARK_FRAME(phase);

    long fd = call3(SYS_socket, AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    if (call3(SYS_connect, fd, (long)&address, (long)sizeof address) < 0) {
        call3(SYS_close, fd, 0, 0);
        return;
    }
    runner_early_state.fd = (int)fd;
    runner_early_state.sent = call3(SYS_write, fd, (long)frame, MARK_BYTES) == MARK_BYTES;
}

/* A container in the background has no other place for what its program says. After the mark, so
 * that it costs what is measured nothing. */
static void keep_output(void)
{
    long fd =
        call3(SYS_open, (long)RUNNER_FOLDER "/channel/console", O_WRONLY | O_APPEND | O_CLOEXEC, 0);
    if (fd < 0)
        return;
    call3(SYS_dup2, fd, 1, 0);
    call3(SYS_dup2, fd, 2, 0);
}

/* `argv` is NULL-terminated and followed by the environment. */
static void exec_after_mark(char **argv, char **environment)
{
    if (runner_early_state.sent && argv[2] && same(argv[2], "--") && argv[3] && argv[3][0] == '/')
        call3(SYS_execve, (long)argv[3], (long)(argv + 3), (long)environment);
}

void runner_early(char **stack)
{
    long argc = (long)stack[0];
    char **argv = stack + 1;
    if (argc < 2)
        return;
    const char *mode = argv[1];
    if (same(mode, "serve")) {
        connect_and_mark(PLIMSOLL__PHASE__PHASE_READY);
    } else if (same(mode, "app")) {
        connect_and_mark(PLIMSOLL__PHASE__PHASE_READY);
        keep_output();
        exec_after_mark(argv, argv + argc + 1);
    } else if (same(mode, "shim")) {
        connect_and_mark(PLIMSOLL__PHASE__PHASE_INIT);
        exec_after_mark(argv, argv + argc + 1);
    }
}

#endif
