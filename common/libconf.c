/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "common/libconf.h"

#include "common/cleanup.h"
#include "common/lexer.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_NAME_BYTES = 63 };

/* The grammar checker; recursion is bounded by LIBCONF_MOST_DEPTH. */
struct reader {
    struct lexer lexer;
    struct token token; /* the one looked at */
    const char *copied; /* the text up to here is in `safe` */
    char *safe;         /* the text with an L behind every large integer */
    size_t safe_length;
    unsigned *lines; /* of every value in the order of the text */
    size_t n_values;
    struct token *names;        /* of the settings of all open groups, outermost first */
    size_t n_names, first_name; /* the innermost group's begin at first_name */
    struct libconf_fault *fault;
};

__attribute__((format(printf, 3, 4))) static int fail(struct reader *r, unsigned line,
                                                      const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(r->fault->text, sizeof r->fault->text, format, args);
    va_end(args);
    r->fault->line = line;
    return -1;
}

static bool at_mark(const struct reader *r, char mark)
{
    return r->token.kind == TOKEN_MARK && *r->token.start == mark;
}

static int unexpected(struct reader *r, const char *expected)
{
    if (r->token.kind == TOKEN_WRONG)
        return fail(r, r->token.line, "%s", r->lexer.wrong);
    if (r->token.kind == TOKEN_INCLUDE)
        return fail(r, r->token.line, "@include is not taken here; expected %s", expected);
    if (r->token.kind == TOKEN_END)
        return fail(r, r->token.line, "the text ends here; expected %s", expected);
    return fail(r, r->token.line, "unexpected `%.*s`; expected %s",
                (int)(r->token.length < 60 ? r->token.length : 60), r->token.start, expected);
}

static void copy_until(struct reader *r, const char *until)
{
    size_t n = (size_t)(until - r->copied);
    memcpy(r->safe + r->safe_length, r->copied, n);
    r->safe_length += n;
    r->copied = until;
}

static void advance(struct reader *r)
{
    if (r->token.kind == TOKEN_LARGE) {
        copy_until(r, r->token.start + r->token.length);
        r->safe[r->safe_length++] = 'L';
    }
    r->token = lexer_next(&r->lexer);
}

static int read_value(struct reader *r, unsigned line, int depth);

/* The library says that there is a duplicate, but not of what. */
static int note_name(struct reader *r, const struct token *name)
{
    if (name->length > MOST_NAME_BYTES)
        return fail(r, name->line, "the name `%.40s...` has %zu bytes; expected at most %d",
                    name->start, name->length, MOST_NAME_BYTES);
    for (size_t i = r->first_name; i < r->n_names; i++) {
        const struct token *other = &r->names[i];
        if (other->length == name->length && memcmp(other->start, name->start, name->length) == 0)
            return fail(r, name->line,
                        "`%.*s` stands here a second time, after line %u; expected it once",
                        (int)(name->length < 60 ? name->length : 60), name->start, other->line);
    }
    if (r->n_names == LIBCONF_MOST_VALUES)
        return fail(r, name->line, "more than %d values; expected at most that",
                    LIBCONF_MOST_VALUES);
    r->names[r->n_names++] = *name;
    return 0;
}

static int read_setting(struct reader *r, int depth)
{
    unsigned line = r->token.line;
    struct token name = r->token;
    if (name.kind != TOKEN_NAME)
        return unexpected(r, depth == 0 ? "a name" : "a name or `}`");
    advance(r);
    if (!at_mark(r, '=') && !at_mark(r, ':')) {
        char expected[80];
        snprintf(expected, sizeof expected, "`=` after `%.*s`",
                 (int)(name.length < 40 ? name.length : 40), name.start);
        return unexpected(r, expected);
    }
    advance(r);
    if (note_name(r, &name) < 0 || read_value(r, line, depth) < 0)
        return -1;
    if (at_mark(r, ';') || at_mark(r, ','))
        advance(r);
    return 0;
}

static int read_group(struct reader *r, int depth)
{
    unsigned line = r->token.line;
    size_t outer_first = r->first_name;
    r->first_name = r->n_names;
    for (advance(r); !at_mark(r, '}');) {
        if (r->token.kind == TOKEN_END)
            return fail(r, r->token.line, "the text ends here; expected `}` for the `{` of line %u",
                        line);
        if (read_setting(r, depth) < 0)
            return -1;
    }
    r->n_names = r->first_name;
    r->first_name = outer_first;
    advance(r);
    return 0;
}

/* libconfig wants the scalars of a [ ] to be of one type; integers of both widths are one to us, so
 * a mixture of those is refused with a hint. */
static int read_items(struct reader *r, char close, int depth)
{
    unsigned line = r->token.line;
    enum token_kind first = TOKEN_END;
    for (advance(r); !at_mark(r, close); advance(r)) {
        enum token_kind kind = r->token.kind;
        if (close == ']' && kind == TOKEN_MARK)
            return unexpected(r, "a plain value in [ ]; use ( ) for lists of lists");
        if (close == ']' && first != TOKEN_END && kind != first)
            return unexpected(r, "values of one type in [ ]; use ( ) for a mixture");
        first = kind;
        if (read_value(r, r->token.line, depth) < 0)
            return -1;
        if (at_mark(r, close))
            break;
        if (r->token.kind == TOKEN_END)
            return fail(r, r->token.line, "the text ends here; expected `%c` for line %u", close,
                        line);
        if (!at_mark(r, ','))
            return unexpected(r, close == ')' ? "`,` or `)`" : "`,` or `]`");
        struct lexer ahead = r->lexer;
        struct token next = lexer_next(&ahead);
        if (next.kind == TOKEN_MARK && *next.start == close)
            return fail(r, next.line, "expected a value after the `,`, found `%c`", close);
    }
    advance(r);
    return 0;
}

static int read_value(struct reader *r, unsigned line, int depth)
{
    if (depth >= LIBCONF_MOST_DEPTH)
        return fail(r, r->token.line,
                    "groups and lists nested deeper than %d; expected at most that",
                    LIBCONF_MOST_DEPTH);
    if (r->n_values == LIBCONF_MOST_VALUES)
        return fail(r, r->token.line, "more than %d values; expected at most that",
                    LIBCONF_MOST_VALUES);
    r->lines[r->n_values++] = line;
    if (at_mark(r, '{'))
        return read_group(r, depth + 1);
    if (at_mark(r, '('))
        return read_items(r, ')', depth + 1);
    if (at_mark(r, '['))
        return read_items(r, ']', depth + 1);
    bool string = r->token.kind == TOKEN_STRING;
    if (!string && r->token.kind != TOKEN_INTEGER && r->token.kind != TOKEN_LARGE &&
        r->token.kind != TOKEN_REAL && r->token.kind != TOKEN_FLAG)
        return unexpected(r, "a value: \"text\", a number, true, false, { }, ( ) or [ ]");
    do {
        advance(r);
    } while (string && r->token.kind == TOKEN_STRING);
    return 0;
}

static int read_all(struct reader *r)
{
    for (advance(r); r->token.kind != TOKEN_END;)
        if (read_setting(r, 0) < 0)
            return -1;
    copy_until(r, r->lexer.end);
    r->safe[r->safe_length] = '\0';
    return 0;
}

/* The library stamps an element with the line of whatever follows it; ours is where it begins. */
static const unsigned *set_lines(config_setting_t *s, const unsigned *lines)
{
    int n = config_setting_is_aggregate(s) ? config_setting_length(s) : 0;
    for (int i = 0; i < n; i++) {
        config_setting_t *item = config_setting_get_elem(s, (unsigned)i);
        item->line = *lines++;
        lines = set_lines(item, lines);
    }
    return lines;
}

static int parse(struct reader *r, config_t *ret)
{
    config_init(ret);
    if (config_read_string(ret, r->safe) == CONFIG_TRUE) {
        set_lines(config_root_setting(ret), r->lines);
        return 0;
    }
    fail(r, (unsigned)config_error_line(ret), "%s", config_error_text(ret));
    config_destroy(ret);
    return -1;
}

int libconf_read(const char *text, size_t length, config_t *ret, struct libconf_fault *fault)
{
    struct reader r = {.copied = text, .fault = fault};
    if (length > LIBCONF_MOST_BYTES)
        return fail(&r, 1, "larger than %d KiB", LIBCONF_MOST_BYTES >> 10);
    /* A large integer has at least ten digits, so the L's are fewer than a tenth of the text. */
    cleanup_free char *safe = malloc(length + length / 10 + 2);
    cleanup_free unsigned *lines = calloc(LIBCONF_MOST_VALUES, sizeof *lines);
    cleanup_free struct token *names = calloc(LIBCONF_MOST_VALUES, sizeof *names);
    if (!safe || !lines || !names)
        return fail(&r, 1, "out of memory");
    r.safe = safe;
    r.lines = lines;
    r.names = names;
    lexer_open(&r.lexer, text, length);
    if (read_all(&r) < 0)
        return -1;
    return parse(&r, ret);
}

const char *libconf_type(const config_setting_t *s)
{
    switch (config_setting_type(s)) {
    case CONFIG_TYPE_GROUP:
        return "a group { }";
    case CONFIG_TYPE_INT:
    case CONFIG_TYPE_INT64:
    case CONFIG_TYPE_FLOAT:
        return "a number";
    case CONFIG_TYPE_STRING:
        return "a text";
    case CONFIG_TYPE_BOOL:
        return "true or false";
    default:
        return "a list ( )";
    }
}
