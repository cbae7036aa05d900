/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * An allocator for protobuf-c that stops at a budget. What it gives comes from malloc and may be
 * freed by free or by the default allocator; memory given back is counted off again.
 */
#ifndef PROTO_BUDGET_H
#define PROTO_BUDGET_H

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>

struct budget {
    ProtobufCAllocator allocator; /* its allocator_data is this struct: never copy it */
    size_t left_bytes;
    bool exceeded;
};

void budget_init(struct budget *b, size_t bytes);

#endif
