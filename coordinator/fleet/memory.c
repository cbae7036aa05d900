/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "coordinator/fleet/memory.h"

#include "common/cleanup.h"
#include "common/log.h"

#include <string.h>

void *memory_need(void *pointer)
{
    if (pointer)
        return pointer;
    log_error("out of memory");
    abort();
}

char *memory_text(const char *text)
{
    return memory_need(strdup(text ? text : ""));
}

void memory_set(char **owned, const char *text)
{
    char *copy = memory_text(text);
    free(*owned);
    *owned = copy;
}

void memory_give(char **field, char *text)
{
    if (*field && *field != protobuf_c_empty_string)
        free(*field);
    *field = text;
}

ProtobufCMessage *memory_copy(const ProtobufCMessage *m)
{
    size_t length = protobuf_c_message_get_packed_size(m);
    cleanup_free uint8_t *packed = memory_need(malloc(length + 1));
    protobuf_c_message_pack(m, packed);
    return memory_need(protobuf_c_message_unpack(m->descriptor, NULL, length, packed));
}
