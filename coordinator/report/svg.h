/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * gnuplot's SVG made into part of an HTML page: its marks become our texts, its colours our
 * stylesheet's.
 *
 * In a script a text is the mark `@N@`, N its place in a list, so that gnuplot never sees it; a
 * colour is `#0000NN` (hexadecimal), which becomes var(--kN) (decimal) of style.css.
 */
#ifndef COORDINATOR_REPORT_SVG_H
#define COORDINATOR_REPORT_SVG_H

#include "common/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

struct svg_page {
    const char *title;        /* of the figure */
    const char *const *texts; /* of the marks */
    size_t n_texts;
    bool with_definitions; /* the first figure of a page brings the point symbols of all */
};

/* Opens a <figure> with its title and the <svg> element. ERR_PROTOCOL, and nothing written, where
 * it is none of gnuplot's. */
int svg_adopt(const char *svg, const struct svg_page *page, FILE *out, struct err *e);

#endif
