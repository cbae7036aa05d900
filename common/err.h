/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Errors: a function that can fail returns 0 or -1 and takes a `struct err *` last.
 *
 * On failure the error is set and no out-parameter is touched; on success the error is not touched.
 * Each level that knows more prefixes what it knows (err_prefix), so that the text read from left
 * to right goes from what was attempted to what went wrong. A NULL error is allowed and means that
 * the caller does not want to know.
 */
#ifndef COMMON_ERR_H
#define COMMON_ERR_H

enum err_code {
    ERR_NONE = 0,
    ERR_INPUT,       /* somebody's plan, configuration, message or command line is wrong */
    ERR_SYSTEM,      /* a system call or a library failed */
    ERR_UNAVAILABLE, /* this host cannot do it, and the text says why */
    ERR_TIMEOUT,
    ERR_CANCELLED,
    ERR_PROTOCOL, /* a peer broke the grammar of plimsoll.proto */
    ERR_REFUSED,  /* a peer would not have us */
    ERR_NOT_FOUND,
};

struct err {
    enum err_code code;
    int errnum; /* errno where a system call failed, else 0 */
    char *text; /* owned; NULL while code is ERR_NONE */
};

#define ERR_INIT                                                                                   \
    {                                                                                              \
        0                                                                                          \
    }

/* Sets the error from a format and returns -1. Whatever the error said before is replaced. */
int err_set(struct err *e, enum err_code code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* As err_set with ERR_SYSTEM, with ": " and the description of `errnum` appended. Returns -1. */
int err_system(struct err *e, int errnum, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Puts "CONTEXT: " before the text of an error that is set. Returns -1. */
int err_prefix(struct err *e, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The text, never NULL. */
const char *err_text(const struct err *e);

/* Moves `from` into `to`, leaving `from` clear. Returns -1 when there was an error to move, else 0.
 */
int err_move(struct err *to, struct err *from);

/* Frees the text; the error is as if newly initialised. */
void err_clear(struct err *e);

/* What the three return is a constant, and a static analyzer should know it: without this it
 * follows paths on which an error was set and the function went on. */
static inline int err_minus_one(int returned)
{
    (void)returned;
    return -1;
}
#define err_set(...)    err_minus_one(err_set(__VA_ARGS__))
#define err_system(...) err_minus_one(err_system(__VA_ARGS__))
#define err_prefix(...) err_minus_one(err_prefix(__VA_ARGS__))

#define cleanup_err __attribute__((cleanup(err_clear)))

#endif
