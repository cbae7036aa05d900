/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The text of a plan, as a client sends it. */
#include "coordinator/plan/plan.h"
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length)
{
    if (length > PLAN_MOST_BYTES)
        return 0;
    char *text = malloc(length + 1);
    if (length > 0)
        memcpy(text, data, length);
    text[length] = '\0';
    Plimsoll__LineOrigin origin = PLIMSOLL__LINE_ORIGIN__INIT;
    Plimsoll__LineOrigin *origins[] = {&origin};
    origin.flat_line = 1;
    origin.file = "fuzz.plan";
    origin.line = 1;
    struct plan_source source = {
        .text = text, .length = length, .origins = origins, .n_origins = 1};
    struct plan_diagnostics d = {0};
    Plimsoll__Plan *plan = NULL;
    int failed = plan_read(&source, &plan, &d);
    /* A plan or a reason, never neither. */
    if ((failed != 0) != (d.n_errors > 0) || (failed == 0) != (plan != NULL))
        abort();
    if (plan)
        plimsoll__plan__free_unpacked(plan, NULL);
    plan_diagnostics_clear(&d);
    free(text);
    return 0;
}
