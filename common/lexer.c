/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "common/lexer.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { MOST_NUMBER_BYTES = 63 };

void lexer_open(struct lexer *l, const char *text, size_t length)
{
    *l = (struct lexer){.at = text, .end = text + length, .line = 1};
}

__attribute__((format(printf, 2, 3))) static bool complain(struct lexer *l, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(l->wrong, sizeof l->wrong, format, args);
    va_end(args);
    return false;
}

/* Overlong forms, surrogates, and what lies beyond U+10FFFF show in the second byte (RFC 3629). */
static bool second_is_good(unsigned char lead, unsigned char second)
{
    unsigned char least = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
    unsigned char most = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
    return second >= least && second <= most;
}

size_t utf8_length(const char *at, const char *end)
{
    unsigned char lead = (unsigned char)*at;
    if (lead < 0x80)
        return 1;
    size_t n = lead < 0xC2 || lead > 0xF4 ? 0 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
    if (n == 0 || n > (size_t)(end - at) || !second_is_good(lead, (unsigned char)at[1]))
        return 0;
    for (size_t i = 2; i < n; i++)
        if (((unsigned char)at[i] & 0xC0) != 0x80)
            return 0;
    return n;
}

void utf8_trim(char *text)
{
    char *end = text + strlen(text);
    char *last = end;
    while (last > text && ((unsigned char)last[-1] & 0xC0) == 0x80)
        last--;
    if (last > text && (unsigned char)last[-1] >= 0x80 && utf8_length(last - 1, end) == 0)
        last[-1] = '\0';
}

bool utf8_is_control(const char *at)
{
    unsigned char c = (unsigned char)at[0];
    unsigned char next = c == 0xC2 ? (unsigned char)at[1] : 0;
    return c < 0x20 || c == 0x7F || (next >= 0x80 && next < 0xA0);
}

/* Steps over one character of a comment, string or gap; counts lines; refuses what is no text. */
static bool step(struct lexer *l)
{
    unsigned char c = (unsigned char)*l->at;
    size_t n = utf8_length(l->at, l->end);
    if (n == 0 || c == 0x7F || (c < 0x20 && !strchr("\t\n\r\f", c)) || c == 0)
        return complain(l, "byte 0x%02x is no text; a plan or configuration is UTF-8 text", c);
    l->line += c == '\n';
    l->at += n;
    return true;
}

static bool starts(const struct lexer *l, const char *with)
{
    size_t n = strlen(with);
    return (size_t)(l->end - l->at) >= n && memcmp(l->at, with, n) == 0;
}

static bool skip_line(struct lexer *l)
{
    while (l->at < l->end && *l->at != '\n')
        if (!step(l))
            return false;
    return true;
}

static bool skip_block(struct lexer *l)
{
    unsigned line = l->line;
    l->at += 2;
    while (!starts(l, "*/")) {
        if (l->at == l->end)
            return complain(l, "the comment begun with /* on line %u is not closed; expected */",
                            line);
        if (!step(l))
            return false;
    }
    l->at += 2;
    return true;
}

static bool skip_gap(struct lexer *l)
{
    bool good = true;
    while (good && l->at < l->end) {
        if (*l->at == '#' || starts(l, "//"))
            good = skip_line(l);
        else if (starts(l, "/*"))
            good = skip_block(l);
        else if (*l->at != 0 && strchr(" \t\n\r\f", *l->at))
            good = step(l);
        else
            return true;
    }
    return good;
}

static bool scan_string(struct lexer *l)
{
    for (l->at++; l->at < l->end && *l->at != '"';) {
        if (*l->at == '\n')
            return complain(l, "the string is not closed with a \" on its line");
        if (*l->at == '\\' && l->at + 1 < l->end && l->at[1] != '\n')
            l->at++;
        if (!step(l))
            return false;
    }
    if (l->at == l->end)
        return complain(l, "the string is not closed with a \"");
    l->at++;
    return true;
}

static bool is_name_byte(char c)
{
    return isalnum((unsigned char)c) || c == '_' || c == '-' || c == '*';
}

static enum token_kind scan_name(struct lexer *l, const char *start)
{
    while (l->at < l->end && is_name_byte(*l->at))
        l->at++;
    size_t n = (size_t)(l->at - start);
    bool flag = (n == 4 && strncasecmp(start, "true", n) == 0) ||
                (n == 5 && strncasecmp(start, "false", n) == 0);
    return flag ? TOKEN_FLAG : TOKEN_NAME;
}

/* An integer in `text`, which ends in at most two L: the library would wrap what does not fit. */
static enum token_kind check_integer(struct lexer *l, char *text)
{
    size_t n = strlen(text);
    bool marked = false;
    for (; n > 1 && text[n - 1] == 'L'; marked = true)
        text[--n] = '\0';
    bool hex = n > 2 && text[0] == '0' && (text[1] == 'x' || text[1] == 'X');
    char *end;
    errno = 0;
    long long value = strtoll(text, &end, hex ? 16 : 10);
    if (*end != '\0' || n == 0) {
        complain(l, "\"%.60s\" is no number; expected one, or a text in quotes", text);
        return TOKEN_WRONG;
    }
    if (errno == ERANGE) {
        complain(l, "the number %.60s is out of range; expected -2^63 to 2^63 - 1", text);
        return TOKEN_WRONG;
    }
    return marked || (value >= INT32_MIN && value <= INT32_MAX) ? TOKEN_INTEGER : TOKEN_LARGE;
}

static enum token_kind check_real(struct lexer *l, const char *text)
{
    char *end;
    double value = strtod(text, &end);
    if (*end != '\0' || end == text || strpbrk(text, "xXnNpP"))
        complain(l, "\"%.60s\" is no number; expected one, or a text in quotes", text);
    else if (!isfinite(value))
        complain(l, "the number %.60s is out of range; expected at most 1.7e308", text);
    else
        return TOKEN_REAL;
    return TOKEN_WRONG;
}

static enum token_kind scan_number(struct lexer *l)
{
    char text[MOST_NUMBER_BYTES + 1];
    size_t n = 0;
    while (l->at < l->end && (isalnum((unsigned char)*l->at) || strchr("+-._", *l->at)) && *l->at) {
        if (n == MOST_NUMBER_BYTES) {
            text[20] = '\0';
            complain(l, "the number %s... is out of range; expected at most %d characters", text,
                     MOST_NUMBER_BYTES);
            return TOKEN_WRONG;
        }
        text[n++] = *l->at++;
    }
    text[n] = '\0';
    bool hex = strncasecmp(text, "0x", 2) == 0;
    return strchr(text, '.') || (!hex && strpbrk(text, "eE")) ? check_real(l, text)
                                                              : check_integer(l, text);
}

static enum token_kind scan_include(struct lexer *l)
{
    const size_t n = strlen("@include");
    if (starts(l, "@include")) {
        l->at += n;
        return TOKEN_INCLUDE;
    }
    complain(l, "unexpected `@`; only @include \"FILE\" begins with it");
    return TOKEN_WRONG;
}

static enum token_kind scan(struct lexer *l, const char *start)
{
    char c = *start;
    if (c == '"')
        return scan_string(l) ? TOKEN_STRING : TOKEN_WRONG;
    if (isalpha((unsigned char)c) || c == '*')
        return scan_name(l, start);
    if (isdigit((unsigned char)c) || c == '+' || c == '-' || c == '.')
        return scan_number(l);
    if (c == '@')
        return scan_include(l);
    if (c != '\0' && strchr("=:;,{}[]()", c)) {
        l->at++;
        return TOKEN_MARK;
    }
    if (step(l))
        complain(l, "unexpected character `%.*s`", (int)(l->at - start), start);
    return TOKEN_WRONG;
}

struct token lexer_next(struct lexer *l)
{
    struct token t = {.kind = TOKEN_WRONG};
    bool good = !*l->wrong && skip_gap(l);
    t.line = l->line;
    t.start = l->at;
    if (good)
        t.kind = l->at == l->end ? TOKEN_END : scan(l, l->at);
    t.length = (size_t)(l->at - t.start);
    return t;
}
