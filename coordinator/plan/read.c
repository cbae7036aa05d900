/* SPDX-License-Identifier: GPL-3.0-or-later */
/* plan_read: from flat text to the Plan, or to everything that is wrong with it. */
#include "coordinator/plan/reader.h"

#include "common/libconf.h"
#include "proto/frame.h"

#include <stdio.h>
#include <string.h>

/* A Plan travels in one frame with room for diagnostics and the envelope. */
enum { PLAN_MOST_PACKED_BYTES = FRAME_MOST_BYTES - (32 << 10) };

static Plimsoll__Plan *build(struct reader *r)
{
    struct cells cells = {0};
    reader_sections(r);
    cells_expand(r, &cells);
    Plimsoll__Plan *plan = NULL;
    /* A reference can be judged only when every cell is what its author meant. */
    if (r->diagnostics->n_errors == 0) {
        plan = plan_build(r, &cells);
        references_read(r, &cells, plan);
    }
    if (plan && plimsoll__plan__get_packed_size(plan) > PLAN_MOST_PACKED_BYTES)
        reader_diagnose(r, 1, "the plan's %zu cells fill more than %d KiB; expected fewer", cells.n,
                        PLAN_MOST_PACKED_BYTES >> 10);
    cells_clear(&cells);
    return plan;
}

int plan_read(const struct plan_source *source, Plimsoll__Plan **ret, struct plan_diagnostics *d)
{
    struct reader r = {.source = source, .diagnostics = d};
    struct libconf_fault fault;
    size_t before = d->n_errors;
    if (strlen(source->text) < source->length) {
        plan_diagnose(d, "plan", 0, "has a NUL byte; a plan is text");
        return -1;
    }
    if (libconf_read(source->text, source->length, &r.config, &fault) < 0) {
        reader_diagnose(&r, fault.line, "%s", fault.text);
        return -1;
    }
    Plimsoll__Plan *plan = build(&r);
    reader_clear(&r);
    config_destroy(&r.config);
    if (d->n_errors > before) {
        if (plan)
            plimsoll__plan__free_unpacked(plan, NULL);
        return -1;
    }
    *ret = plan;
    return 0;
}
