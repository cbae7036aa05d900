/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "coordinator/ctl/progress.h"

#include "common/clock.h"
#include "common/lexer.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { PLAIN_LINE_S = 10, HOSTS_SHOWN = 3, WIDTH_UNKNOWN = 80 };

const char *progress_duration(uint64_t ns, char *buffer)
{
    uint64_t s = (ns + (uint64_t)NS_PER_S - 1) / (uint64_t)NS_PER_S;
    unsigned long long minutes = (s + 30) / 60;
    if (s < 90)
        snprintf(buffer, 48, "%llu s", (unsigned long long)s);
    else if (minutes < 60)
        snprintf(buffer, 48, "%llu min", minutes);
    else
        snprintf(buffer, 48, "%llu h %llu min", minutes / 60, minutes % 60);
    return buffer;
}

/* Appends; what does not fit is cut. */
static void add(char *buffer, size_t size, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void add(char *buffer, size_t size, const char *format, ...)
{
    size_t used = strlen(buffer);
    va_list args;
    va_start(args, format);
    vsnprintf(buffer + used, size - used, format, args);
    va_end(args);
}

static void add_activity(const Plimsoll__Campaign *c, char *buffer, size_t size)
{
    for (size_t i = 0; i < c->n_activity && i < HOSTS_SHOWN; i++) {
        const Plimsoll__Activity *a = c->activity[i];
        if (*a->cell)
            add(buffer, size, ", %s: %s", a->host, a->cell);
    }
    if (c->n_activity > HOSTS_SHOWN)
        add(buffer, size, " and %zu more hosts", c->n_activity - HOSTS_SHOWN);
}

void progress_words(const Plimsoll__Campaign *c, char *buffer, size_t size)
{
    char left[48];
    *buffer = '\0';
    add(buffer, size, "%s: ", c->name);
    if (c->trials == 0) {
        add(buffer, size, "%s: finding out what the hosts can run", c->state);
        return;
    }
    add(buffer, size, "%llu of %llu trials", (unsigned long long)c->accepted,
        (unsigned long long)c->trials);
    if (c->failed)
        add(buffer, size, ", %llu failed", (unsigned long long)c->failed);
    if (c->rejected)
        add(buffer, size, ", %llu rejected", (unsigned long long)c->rejected);
    if (strcmp(c->state, "running") != 0)
        add(buffer, size, ", %s", c->state);
    add_activity(c, buffer, size);
    if (c->left_ns)
        add(buffer, size, ", %s left", progress_duration(c->left_ns, left));
}

static size_t terminal_width(void)
{
    struct winsize w;
    return ioctl(STDERR_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col > 1 ? w.ws_col : WIDTH_UNKNOWN;
}

void progress_start(struct progress *p)
{
    *p = (struct progress){.terminal = isatty(STDERR_FILENO) == 1};
}

/* Code points: good enough for what people name things here. */
static size_t bytes_of_columns(const char *line, size_t columns)
{
    const char *at = line;
    for (; *at; at++)
        if (((unsigned char)*at & 0xc0) != 0x80 && columns-- == 0)
            break;
    return (size_t)(at - line);
}

static void show_on_terminal(struct progress *p, const char *line)
{
    fprintf(stderr, "\r%.*s\033[K", (int)bytes_of_columns(line, terminal_width() - 1), line);
    fflush(stderr);
    p->line_open = true;
}

static void show_plainly(struct progress *p, const char *line, const char *state)
{
    int64_t now_ns = clock_monotonic_ns();
    bool changed = strcmp(state, p->last_state) != 0;
    if (!changed && p->shown_ns && now_ns - p->shown_ns < PLAIN_LINE_S * NS_PER_S)
        return;
    fprintf(stderr, "%s\n", line);
    p->shown_ns = now_ns;
}

/* Names come from a plan and hosts, checked by the coordinator; a terminal is still not trusted
 * with what is no printable character. */
static void make_printable(char *line)
{
    for (char *s = line; *s; s++)
        if (utf8_is_control(s))
            *s = '?';
}

void progress_show(struct progress *p, const Plimsoll__Campaign *c)
{
    char line[sizeof p->last];
    progress_words(c, line, sizeof line);
    utf8_trim(line);
    make_printable(line);
    if (strcmp(line, p->last) == 0)
        return;
    if (p->terminal)
        show_on_terminal(p, line);
    else
        show_plainly(p, line, c->state);
    memcpy(p->last, line, sizeof line);
    snprintf(p->last_state, sizeof p->last_state, "%s", c->state);
}

void progress_end(struct progress *p)
{
    if (p->line_open)
        fputc('\n', stderr);
    p->line_open = false;
}
