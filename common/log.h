/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * One line a message on standard error, "plimsoll-agent: could not ...". Under journald
 * (JOURNAL_STREAM set) each line begins with its syslog priority. Threads may log at once. Never a
 * secret in a line.
 */
#ifndef COMMON_LOG_H
#define COMMON_LOG_H

#include <stdbool.h>
#include <stdint.h>

enum log_level {
    LOG_LEVEL_ERROR = 3,
    LOG_LEVEL_WARNING = 4,
    LOG_LEVEL_INFO = 6,
    LOG_LEVEL_DEBUG = 7
};

/* `program` must outlive all logging. Call once, before threads; the default is WARNING. */
void log_open(const char *program, enum log_level most);

void log_error(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_warning(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_info(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_debug(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* For lines that strangers cause: at most 10 in a minute, and one that says how many were left out.
 * All zeros to begin with; one thread. */
struct log_limit {
    int64_t since_ns; /* monotonic */
    unsigned lines;
};
bool log_limit_allows(struct log_limit *l);

#endif
