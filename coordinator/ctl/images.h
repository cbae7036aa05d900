/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The images a plan needs: which are built, and building the others with the image builder. */
#ifndef COORDINATOR_CTL_IMAGES_H
#define COORDINATOR_CTL_IMAGES_H

#include "common/err.h"
#include "proto/plimsoll.pb-c.h"

#include <stdbool.h>
#include <stddef.h>

struct images_item {
    const Plimsoll__Section *recipe; /* of the plan */
    char *link;                      /* IMAGES/recipe-<hex>: exists once it is built */
    bool built;
};

/* The distinct images of a plan's cells, the caller's to free with images_free. */
int images_of_plan(const Plimsoll__Plan *plan, struct images_item **ret, size_t *ret_n,
                   struct err *e);
void images_free(struct images_item *items, size_t n);

/* Builds what is missing, saying so on standard error. What cannot be built is told there too; its
 * cells will not be available. Returns how many are lacking in the end. */
size_t images_build(struct images_item *items, size_t n);

#endif
