/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "common/log.h"

#include "common/clock.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static const char *log_program = "plimsoll";
static enum log_level log_most = LOG_LEVEL_WARNING;
static int log_journal;

void log_open(const char *program, enum log_level most)
{
    log_program = program;
    log_most = most;
    log_journal = getenv("JOURNAL_STREAM") != NULL;
}

static void write_line(enum log_level level, const char *format, va_list args)
{
    if (level > log_most)
        return;
    char line[2048];
    int used = log_journal ? snprintf(line, sizeof line, "<%d>%s: ", (int)level, log_program)
                           : snprintf(line, sizeof line, "%s: ", log_program);
    if (used < 0)
        return;
    vsnprintf(line + used, sizeof line - (size_t)used, format, args);
    fprintf(stderr, "%s\n", line);
}

#define LOG_FUNCTION(name, level)                                                                  \
    void name(const char *format, ...)                                                             \
    {                                                                                              \
        va_list args;                                                                              \
        va_start(args, format);                                                                    \
        write_line(level, format, args);                                                           \
        va_end(args);                                                                              \
    }

LOG_FUNCTION(log_error, LOG_LEVEL_ERROR)
LOG_FUNCTION(log_warning, LOG_LEVEL_WARNING)
LOG_FUNCTION(log_info, LOG_LEVEL_INFO)
LOG_FUNCTION(log_debug, LOG_LEVEL_DEBUG)

enum { LIMIT_LINES = 10 };
#define LIMIT_SPAN_NS (60 * NS_PER_S)

bool log_limit_allows(struct log_limit *l)
{
    int64_t now_ns = clock_monotonic_ns();
    if (l->since_ns == 0 || now_ns - l->since_ns >= LIMIT_SPAN_NS) {
        if (l->lines > LIMIT_LINES)
            log_warning("%u more such lines were left out", l->lines - LIMIT_LINES);
        *l = (struct log_limit){.since_ns = now_ns};
    }
    return l->lines++ < LIMIT_LINES;
}
