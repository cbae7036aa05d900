/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "coordinator/plan/reader.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Where a line of the flat text came from. */
static const char *find_origin(const struct plan_source *s, unsigned flat_line, unsigned *ret_line)
{
    const char *file = "plan";
    unsigned line = flat_line;
    for (size_t i = 0; i < s->n_origins && s->origins[i]->flat_line <= flat_line; i++) {
        file = s->origins[i]->file;
        line = s->origins[i]->line + (flat_line - s->origins[i]->flat_line);
    }
    *ret_line = line;
    return file;
}

static char *format_text(const char *format, va_list args)
{
    char *text = NULL;
    if (vasprintf(&text, format, args) < 0)
        abort();
    return text;
}

void reader_diagnose(struct reader *r, unsigned flat_line, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    char *text = format_text(format, args);
    va_end(args);
    unsigned line;
    const char *file = find_origin(r->source, flat_line, &line);
    plan_diagnose(r->diagnostics, file, line, "%s", text);
    free(text);
}

void reader_warn(struct reader *r, unsigned flat_line, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    char *text = format_text(format, args);
    va_end(args);
    unsigned line;
    const char *file = find_origin(r->source, flat_line, &line);
    plan_warn(r->diagnostics, file, line, "%s", text);
    free(text);
}

void suggestion_offer(struct suggestion *s, const char *candidate)
{
    nearest_offer(&s->nearest, candidate);
    size_t used = strlen(s->known);
    snprintf(s->known + used, sizeof s->known - used, "%s`%s`", used > 0 ? ", " : "", candidate);
}

const char *suggestion_text(const struct suggestion *s, char *buffer)
{
    if (s->nearest.found)
        snprintf(buffer, 512, "; did you mean `%s`?", s->nearest.found);
    else if (*s->known)
        snprintf(buffer, 512, "; expected one of %s", s->known);
    else
        snprintf(buffer, 512, "; there is none in this plan");
    return buffer;
}
