/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/ctl/program.h"

#include "common/fs.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { MOST_ARGUMENTS = 16, MOST_S = 30, MOST_BYTES = 1 << 20 };

static char *contents(FILE *file)
{
    char *text = calloc(1, MOST_BYTES + 1);
    assert_non_null(text);
    rewind(file);
    size_t n = fread(text, 1, MOST_BYTES, file);
    text[n] = '\0';
    fclose(file);
    return text;
}

struct said coordctl(const char *first, ...)
{
    char *argv[MOST_ARGUMENTS + 2] = {(char *)COORDCTL, (char *)first};
    va_list args;
    va_start(args, first);
    for (size_t i = 2; first && i <= MOST_ARGUMENTS; i++)
        if (!(argv[i] = va_arg(args, char *)))
            break;
    va_end(args);
    FILE *output = tmpfile();
    FILE *error = tmpfile();
    assert_true(output && error);
    pid_t pid = fork();
    if (pid == 0) {
        alarm(MOST_S);
        dup2(fileno(output), 1);
        dup2(fileno(error), 2);
        execv(COORDCTL, argv);
        _exit(127);
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    assert_int_not_equal(code, 127);
    return (struct said){code, contents(output), contents(error)};
}

void said_clear(struct said *s)
{
    free(s->output);
    free(s->error);
}
