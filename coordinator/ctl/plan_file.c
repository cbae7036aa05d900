/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "coordinator/ctl/plan_file.h"

#include "common/cleanup.h"
#include "proto/frame.h"

#include <stdio.h>

void plan_file_submit(const struct plan_file *f, Plimsoll__Submit *ret)
{
    plimsoll__submit__init(ret);
    ret->plan = f->source->text;
    ret->origins = f->source->origins;
    ret->n_origins = f->source->n_origins;
}

void plan_file_tell(Plimsoll__Diagnostic *const *items, size_t n)
{
    struct plan_diagnostics d = {.items = (Plimsoll__Diagnostic **)items, .n = n, .capacity = n};
    plan_diagnostics_print(&d, stderr);
}

static int read_text(struct plan_file *f, struct err *e)
{
    Plimsoll__Submit submit;
    plan_file_submit(f, &submit);
    return plan_read_in_child("/proc/self/exe", &submit, &f->reading, e);
}

int plan_file_read(const char *path, struct plan_file *ret)
{
    *ret = (struct plan_file){0};
    struct plan_diagnostics d = {0};
    cleanup_err struct err e = ERR_INIT;
    int loaded = plan_source_load(path, &ret->source, &d);
    plan_diagnostics_print(&d, stderr);
    plan_diagnostics_clear(&d);
    if (loaded < 0)
        return EXIT_USAGE;
    if (read_text(ret, &e) < 0) {
        fprintf(stderr, "%s: %s\n", path, err_text(&e));
        return EXIT_USAGE;
    }
    plan_file_tell(ret->reading->diagnostics, ret->reading->n_diagnostics);
    ret->plan = ret->reading->plan;
    return ret->plan ? EXIT_GOOD : EXIT_USAGE;
}

void plan_file_clear(struct plan_file *f)
{
    plan_source_free(&f->source);
    if (f->reading)
        plimsoll__plan_reading__free_unpacked(f->reading, NULL);
    *f = (struct plan_file){0};
}
