/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "coordinator/report/svg.h"

#include "coordinator/report/markup.h"

#include <stdlib.h>
#include <string.h>

static bool begins(const char *at, const char *with)
{
    return strncmp(at, with, strlen(with)) == 0;
}

/* `@3@`; what follows it, or NULL where it is no mark. */
static const char *put_mark(const char *at, const struct svg_page *page, FILE *out)
{
    char *end;
    unsigned long number = strtoul(at + 1, &end, 10);
    if (end == at + 1 || *end != '@' || number >= page->n_texts)
        return NULL;
    markup_text(page->texts[number], out);
    return end + 1;
}

/* `rgb(  0,   0,  17)`, with or without its spaces; NULL where it is no colour of ours. */
static const char *put_colour(const char *at, FILE *out)
{
    unsigned red, green, blue;
    int length = 0;
    if (sscanf(at, "rgb(%u,%u,%u)%n", &red, &green, &blue, &length) != 3 || length == 0 || red ||
        green || !blue)
        return NULL;
    fprintf(out, "var(--k%u)", blue);
    return at + length;
}

/* What does not belong on a page: an id that every figure would have, definitions that are there
 * already. What follows it, or NULL. */
static const char *leave_out(const char *at, const struct svg_page *page)
{
    static const char canvas[] = " id=\"gnuplot_canvas\"";
    if (begins(at, canvas))
        return at + sizeof canvas - 1;
    if (page->with_definitions || !begins(at, "<defs>"))
        return NULL;
    const char *end = strstr(at, "</defs>");
    return end ? end + strlen("</defs>") : NULL;
}

static void put_body(const char *at, const char *end, const struct svg_page *page, FILE *out)
{
    while (at < end) {
        const char *next = *at == '@'                 ? put_mark(at, page, out)
                           : *at == 'r'               ? put_colour(at, out)
                           : *at == '<' || *at == ' ' ? leave_out(at, page)
                                                      : NULL;
        if (!next)
            fputc(*at, out);
        at = next ? next : at + 1;
    }
}

int svg_adopt(const char *svg, const struct svg_page *page, FILE *out, struct err *e)
{
    const char *box = strstr(svg, "viewBox=\"");
    const char *body = strstr(svg, "</desc>");
    const char *end = strstr(svg, "</svg>");
    double width, height;
    if (!box || !body || !end || body > end ||
        sscanf(box, "viewBox=\"0 0 %lf %lf\"", &width, &height) != 2)
        return err_set(e, ERR_PROTOCOL, "gnuplot wrote no SVG");
    fputs("<figure>\n<div class=\"title\">", out);
    markup_text(page->title, out);
    fputs("</div>\n<svg class=\"plot\" role=\"img\" aria-label=\"", out);
    markup_text(page->title, out);
    fprintf(out, "\" viewBox=\"0 0 %g %g\" xmlns:xlink=\"http://www.w3.org/1999/xlink\">", width,
            height);
    put_body(body + strlen("</desc>"), end, page, out);
    fputs("</svg>\n", out);
    return 0;
}
