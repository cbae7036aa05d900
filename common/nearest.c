/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "common/value.h"

#include <stdlib.h>
#include <string.h>

enum { MOST_BYTES = 40 };

static size_t least_of(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Optimal string alignment distance (Damerau-Levenshtein without edits of a swapped pair). */
static size_t distance(const char *a, const char *b)
{
    size_t n = strlen(a), m = strlen(b);
    if (n > MOST_BYTES || m > MOST_BYTES)
        return SIZE_MAX;
    size_t d[MOST_BYTES + 1][MOST_BYTES + 1];
    for (size_t i = 0; i <= n; i++)
        d[i][0] = i;
    for (size_t j = 0; j <= m; j++)
        d[0][j] = j;
    for (size_t i = 1; i <= n; i++) {
        for (size_t j = 1; j <= m; j++) {
            d[i][j] = least_of(least_of(d[i - 1][j], d[i][j - 1]) + 1,
                               d[i - 1][j - 1] + (a[i - 1] != b[j - 1]));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                d[i][j] = least_of(d[i][j], d[i - 2][j - 2] + 1);
        }
    }
    return d[n][m];
}

void nearest_offer(struct nearest *n, const char *candidate)
{
    size_t far = distance(n->wanted, candidate);
    size_t most = strlen(n->wanted) < 4 ? 1 : strlen(n->wanted) / 3 + 1;
    if (far > most || (n->found && far >= n->distance))
        return;
    n->found = candidate;
    n->distance = far;
}
