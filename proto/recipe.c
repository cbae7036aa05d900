/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proto/recipe.h"

#include "common/cleanup.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void write_escaped(FILE *out, const char *text, bool item)
{
    if (item && !*text)
        fputs("\\e", out);
    for (const unsigned char *c = (const unsigned char *)text; *c; c++) {
        if (*c == '\\')
            fputs("\\\\", out);
        else if (*c == '\n')
            fputs("\\n", out);
        else if (*c == ' ' && item)
            fputs("\\s", out);
        else if (*c < 0x20 || *c == 0x7f)
            fprintf(out, "\\x%02x", *c);
        else
            fputc(*c, out);
    }
}

static void write_list(FILE *out, const Plimsoll__Strings *list)
{
    for (size_t i = 0; i < list->n_item; i++) {
        if (i > 0)
            fputc(' ', out);
        write_escaped(out, list->item[i], true);
    }
}

static void write_value(FILE *out, const Plimsoll__Value *v)
{
    switch (v->kind_case) {
    case PLIMSOLL__VALUE__KIND_TEXT:
        write_escaped(out, v->text, false);
        break;
    case PLIMSOLL__VALUE__KIND_INTEGER:
        fprintf(out, "%" PRId64, v->integer);
        break;
    case PLIMSOLL__VALUE__KIND_REAL:
        fprintf(out, "%.17g", v->real);
        break;
    case PLIMSOLL__VALUE__KIND_FLAG:
        fputs(v->flag ? "true" : "false", out);
        break;
    case PLIMSOLL__VALUE__KIND_LIST:
        write_list(out, v->list);
        break;
    default:
        break;
    }
}

static int by_key(const void *a, const void *b)
{
    const Plimsoll__Setting *const *x = a, *const *y = b;
    return strcmp((*x)->key, (*y)->key);
}

int recipe_text(const Plimsoll__Section *image, char **ret_text, struct err *e)
{
    size_t n = image->n_settings;
    cleanup_free const Plimsoll__Setting **sorted = calloc(n + 1, sizeof *sorted);
    cleanup_free char *text = NULL;
    size_t length = 0;
    FILE *out = sorted ? open_memstream(&text, &length) : NULL;
    if (!out)
        return err_system(e, ENOMEM, "cannot write a recipe");
    for (size_t i = 0; i < n; i++)
        sorted[i] = image->settings[i];
    qsort(sorted, n, sizeof *sorted, by_key);
    for (size_t i = 0; i < n; i++) {
        fprintf(out, "%s = ", sorted[i]->key);
        write_value(out, sorted[i]->value);
        fputc('\n', out);
    }
    if (fclose(out) != 0)
        return err_system(e, errno, "cannot write a recipe");
    *ret_text = steal(text);
    return 0;
}

int recipe_digest(const Plimsoll__Section *image, char ret_digest[DIGEST_TEXT_BYTES], struct err *e)
{
    cleanup_free char *text = NULL;
    if (recipe_text(image, &text, e) < 0)
        return -1;
    digest_bytes(text, strlen(text), ret_digest);
    return 0;
}
