/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What a message may hold, checked on its bytes before anything of it is allocated: elements of
 * each repeated field, bytes and characters of each text, parts that must be there, wire types,
 * nesting.
 */
#ifndef PROTO_CAPS_H
#define PROTO_CAPS_H

#include "common/err.h"

#include <protobuf-c/protobuf-c.h>
#include <stddef.h>
#include <stdint.h>

/* Walks the bytes by the type's descriptor; recursion is bounded by the types, which do not nest in
 * themselves. ERR_PROTOCOL names type and field. */
int caps_check(const ProtobufCMessageDescriptor *type, const uint8_t *bytes, size_t length,
               struct err *e);

/* As caps_check, for what we are about to send: control characters in prose (logs, reasons), which
 * a receiver would refuse, become '?' in place. */
int caps_clean(const ProtobufCMessageDescriptor *type, uint8_t *bytes, size_t length,
               struct err *e);

/* Most elements of a repeated field; 0 when caps.c has no row for it, which a test forbids. */
uint32_t caps_most_elements(const ProtobufCMessageDescriptor *type,
                            const ProtobufCFieldDescriptor *field);

#endif
