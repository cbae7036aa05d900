/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/golden/run.h"

#include "common/cleanup.h"
#include "common/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <cmocka.h>

enum { MOST_WALL_S = 20 };

static char *read_back(int fd)
{
    off_t length = lseek(fd, 0, SEEK_END);
    assert_true(length >= 0);
    char *text = calloc((size_t)length + 1, 1);
    assert_non_null(text);
    assert_int_equal(pread(fd, text, (size_t)length, 0), length);
    return text;
}

static void be_coordctl(const char *plan, int output, int error)
{
    dup2(output, STDOUT_FILENO);
    dup2(error, STDERR_FILENO);
    alarm(MOST_WALL_S);
    execl(COORDCTL, "coordctl", "check", plan, (char *)NULL);
    _exit(127);
}

static long ms_of(struct timeval t)
{
    return t.tv_sec * 1000 + t.tv_usec / 1000;
}

void run_check(const char *plan, struct run *ret)
{
    cleanup_close int output = memfd_create("output", MFD_CLOEXEC);
    cleanup_close int error = memfd_create("error", MFD_CLOEXEC);
    assert_true(output >= 0 && error >= 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0)
        be_coordctl(plan, output, error);
    int status;
    struct rusage usage;
    while (wait4(child, &status, 0, &usage) < 0)
        assert_int_equal(errno, EINTR);
    *ret = (struct run){
        .status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status),
        .cpu_ms = ms_of(usage.ru_utime) + ms_of(usage.ru_stime),
        .output = read_back(output),
        .error = read_back(error),
    };
}

void run_clear(struct run *r)
{
    free(r->output);
    free(r->error);
}
