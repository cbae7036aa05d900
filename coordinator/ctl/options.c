/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "coordinator/ctl/options.h"

#include <assert.h>
#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { MOST_ROWS = 16, FIRST_VALUE = 256 };

int options_complain(const struct verb *v, const char *format, ...)
{
    fprintf(stderr, "coordctl %s: ", v->name);
    va_list args;
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fprintf(stderr, "\nusage: coordctl %s %s; `coordctl help %s` tells more\n", v->name,
            v->arguments, v->name);
    return EXIT_USAGE;
}

/* getopt's tables of our rows: a row's value is FIRST_VALUE plus its index. */
static void fill_tables(const struct option_row *rows, struct option *table, char *letters)
{
    *letters++ = ':';
    size_t i = 0;
    for (; rows[i].name; i++) {
        assert(i < MOST_ROWS);
        bool takes = rows[i].text != NULL;
        table[i] = (struct option){rows[i].name, takes ? required_argument : no_argument, NULL,
                                   FIRST_VALUE + (int)i};
        if (rows[i].letter) {
            *letters++ = rows[i].letter;
            if (takes)
                *letters++ = ':';
        }
    }
    table[i] = (struct option){0};
    *letters = '\0';
}

static const struct option_row *row_of(const struct option_row *rows, int value)
{
    if (value >= FIRST_VALUE)
        return &rows[value - FIRST_VALUE];
    for (size_t i = 0; rows[i].name; i++)
        if (rows[i].letter == value)
            return &rows[i];
    return NULL;
}

static int check_operands(const struct verb *v, int n, char **operands, int least, int most)
{
    if (n < least) {
        options_complain(v, n == 0 ? "an argument is missing" : "too few arguments");
        return -1;
    }
    if (n > most) {
        options_complain(v, "`%s` is one argument too many", operands[most]);
        return -1;
    }
    return 0;
}

int options_parse(const struct verb *v, int argc, char **argv, const struct option_row *rows,
                  int least_operands, int most_operands, char ***ret_operands)
{
    struct option table[MOST_ROWS + 1];
    char letters[2 * MOST_ROWS + 2];
    fill_tables(rows, table, letters);
    opterr = 0;
    optind = 0;
    for (;;) {
        int value = getopt_long(argc, argv, letters, table, NULL);
        if (value == -1)
            break;
        const struct option_row *row = value == '?' || value == ':' ? NULL : row_of(rows, value);
        if (!row) {
            const char letter[] = {'-', (char)optopt, '\0'};
            const char *word = optopt > 0 && optopt < FIRST_VALUE ? letter : argv[optind - 1];
            options_complain(v,
                             value == ':'            ? "`%s` needs a value"
                             : optopt >= FIRST_VALUE ? "`%s`: this option takes no value"
                                                     : "unknown option `%s`",
                             word);
            return -1;
        }
        if (row->text)
            *row->text = optarg;
        else
            *row->flag = true;
    }
    if (check_operands(v, argc - optind, argv + optind, least_operands, most_operands) < 0)
        return -1;
    *ret_operands = argv + optind;
    return 0;
}

int options_number(const struct verb *v, const char *what, const char *text,
                   unsigned long long most, unsigned long long *ret)
{
    char *end = NULL;
    errno = 0;
    unsigned long long value = *text >= '0' && *text <= '9' ? strtoull(text, &end, 10) : 0;
    if (!end || *end || errno || value < 1 || value > most) {
        options_complain(v, "%s is a whole number from 1 to %llu, not `%s`", what, most, text);
        return -1;
    }
    *ret = value;
    return 0;
}
