/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The tokens of libconfig's syntax, cut by ourselves so that nothing unchecked reaches the library.
 */
#ifndef COMMON_LEXER_H
#define COMMON_LEXER_H

#include <stdbool.h>
#include <stddef.h>

enum token_kind {
    TOKEN_END,
    TOKEN_NAME,
    TOKEN_STRING,
    TOKEN_INTEGER,
    TOKEN_LARGE, /* an integer of more than 32 bits without its L */
    TOKEN_REAL,
    TOKEN_FLAG,
    TOKEN_MARK,    /* one of = : ; , { } [ ] ( ) */
    TOKEN_INCLUDE, /* @include */
    TOKEN_WRONG,   /* `wrong` says why */
};

struct token {
    enum token_kind kind;
    const char *start;
    size_t length;
    unsigned line; /* from 1, of its first byte */
};

struct lexer {
    const char *at, *end;
    unsigned line;
    char wrong[160];
};

void lexer_open(struct lexer *l, const char *text, size_t length);
/* After TOKEN_WRONG only TOKEN_WRONG follows. */
struct token lexer_next(struct lexer *l);

/* Bytes of the UTF-8 character at `at`, which is before `end`; 0 where it is none. */
size_t utf8_length(const char *at, const char *end);

/* Takes off what a cut in the middle of a character left at the end of a text of UTF-8. */
void utf8_trim(char *text);

/* Whether the character there steers a terminal: C0, DEL, or C1 (U+0080 to U+009F), which a
 * terminal obeys as it does ESC. Reads no byte behind a NUL. */
bool utf8_is_control(const char *at);

#endif
