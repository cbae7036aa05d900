/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "coordinator/report/markup.h"

#include "common/lexer.h"

#include <string.h>

/* U+200E, U+200F, U+202A to U+202E, U+2066 to U+2069 reorder text; U+2028 and U+2029 break it. */
static bool reorders(const char *at)
{
    const unsigned char *s = (const unsigned char *)at;
    if (s[0] != 0xe2)
        return false;
    if (s[1] == 0x80)
        return s[2] == 0x8e || s[2] == 0x8f || (s[2] >= 0xa8 && s[2] <= 0xae);
    return s[1] == 0x81 && s[2] >= 0xa6 && s[2] <= 0xa9;
}

static const char *escape_of(char c)
{
    switch (c) {
    case '&':
        return "&amp;";
    case '<':
        return "&lt;";
    case '>':
        return "&gt;";
    case '"':
        return "&quot;";
    case '\'':
        return "&#39;";
    default:
        return NULL;
    }
}

/* Writes the character at `at`; its bytes. */
static size_t put_character(const char *at, const char *end, FILE *out)
{
    size_t length = utf8_length(at, end);
    const char *escape = escape_of(*at);
    if (length == 0 || utf8_is_control(at) || reorders(at))
        fputs("\xef\xbf\xbd", out);
    else if (escape)
        fputs(escape, out);
    else
        fwrite(at, 1, length, out);
    return length ? length : 1;
}

void markup_text(const char *text, FILE *out)
{
    const char *end = text + strlen(text);
    while (text < end)
        text += put_character(text, end, out);
}

void markup_block(const char *text, FILE *out)
{
    const char *end = text + strlen(text);
    while (text < end) {
        if (*text == '\n' || *text == '\t')
            fputc(*text++, out);
        else
            text += put_character(text, end, out);
    }
}

void markup_name(const char *text, FILE *out)
{
    fputs("<bdi>", out);
    markup_text(text, out);
    fputs("</bdi>", out);
}

static void put_row(const struct table *t, size_t row, FILE *out)
{
    const char *columns = table_columns(t);
    fputs("<tr>", out);
    for (size_t i = 0; columns[i]; i++) {
        if (!table_column_is_used(t, i))
            continue;
        const char *element = row == 0 ? "th scope=\"col\"" : i == 0 ? "th scope=\"row\"" : "td";
        fprintf(out, "<%s%s>", element, columns[i] == 'r' ? " class=\"r\"" : "");
        markup_text(table_cell(t, row, i), out);
        fprintf(out, "</%.2s>", element);
    }
    fputs("</tr>\n", out);
}

void markup_table(const struct table *t, FILE *out)
{
    if (table_rows(t) < 2)
        return;
    fputs("<div class=\"scroll\"><table>\n<thead>", out);
    put_row(t, 0, out);
    fputs("</thead>\n<tbody>\n", out);
    for (size_t row = 1; row < table_rows(t); row++)
        put_row(t, row, out);
    fputs("</tbody>\n</table></div>\n", out);
}
