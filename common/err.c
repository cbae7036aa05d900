/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "common/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void replace_text(struct err *e, char *text)
{
    free(e->text);
    e->text = text;
}

/* An error without a text still has its code: that memory is short must not hide what happened. */
static char *format_text(const char *format, va_list args)
{
    char *text = NULL;
    return vasprintf(&text, format, args) < 0 ? NULL : text;
}

int(err_set)(struct err *e, enum err_code code, const char *format, ...)
{
    if (!e)
        return -1;
    va_list args;
    va_start(args, format);
    char *text = format_text(format, args);
    va_end(args);
    replace_text(e, text);
    e->code = code;
    e->errnum = 0;
    return -1;
}

/* Libraries have numbers of their own, libzmq's begin at 156384712, which libc does not know. */
static char *describe(const char *what, int errnum)
{
    const char *known = strerrordesc_np(errnum);
    char *text = NULL;
    int n = known ? asprintf(&text, "%s: %s", what, known)
                  : asprintf(&text, "%s: error %d", what, errnum);
    return n < 0 ? NULL : text;
}

int(err_system)(struct err *e, int errnum, const char *format, ...)
{
    if (!e)
        return -1;
    va_list args;
    va_start(args, format);
    char *what = format_text(format, args);
    va_end(args);
    char *text = describe(what ? what : "system call", errnum);
    free(what);
    replace_text(e, text);
    e->code = ERR_SYSTEM;
    e->errnum = errnum;
    return -1;
}

int(err_prefix)(struct err *e, const char *format, ...)
{
    if (!e || e->code == ERR_NONE)
        return -1;
    va_list args;
    va_start(args, format);
    char *context = format_text(format, args);
    va_end(args);
    char *text = NULL;
    if (context && asprintf(&text, "%s: %s", context, err_text(e)) >= 0)
        replace_text(e, text);
    free(context);
    return -1;
}

const char *err_text(const struct err *e)
{
    if (!e || e->code == ERR_NONE)
        return "no error";
    return e->text ? e->text : "out of memory";
}

int err_move(struct err *to, struct err *from)
{
    if (from->code == ERR_NONE)
        return 0;
    if (!to) {
        err_clear(from);
        return -1;
    }
    err_clear(to);
    *to = *from;
    *from = (struct err)ERR_INIT;
    return -1;
}

void err_clear(struct err *e)
{
    free(e->text);
    *e = (struct err)ERR_INIT;
}
