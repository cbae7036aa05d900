/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "proto/budget.h"

#include <malloc.h>
#include <stdlib.h>

static void *budget_alloc(void *data, size_t size)
{
    struct budget *b = data;
    if (size > b->left_bytes) {
        b->exceeded = true;
        return NULL;
    }
    void *memory = malloc(size);
    /* What malloc really set aside, so that many small pieces are not counted as next to nothing.
     */
    size_t real = malloc_usable_size(memory);
    if (real > b->left_bytes) {
        b->exceeded = true;
        free(memory);
        return NULL;
    }
    b->left_bytes -= real;
    return memory;
}

static void budget_free(void *data, void *memory)
{
    struct budget *b = data;
    b->left_bytes += malloc_usable_size(memory);
    free(memory);
}

void budget_init(struct budget *b, size_t bytes)
{
    *b = (struct budget){
        .allocator = {.alloc = budget_alloc, .free = budget_free, .allocator_data = b},
        .left_bytes = bytes,
    };
}
