/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Small copies of what the program already holds: without memory for those the coordinator ends,
 * and is started again by its service with all it had committed. */
#ifndef COORDINATOR_FLEET_MEMORY_H
#define COORDINATOR_FLEET_MEMORY_H

#include <protobuf-c/protobuf-c.h>

/* The pointer, which is not NULL. */
void *memory_need(void *pointer);
char *memory_text(const char *text);
/* Replaces an owned text by a copy of another. */
void memory_set(char **owned, const char *text);
/* Replaces a text of a message, owned or the shared empty default, by one that is handed over. */
void memory_give(char **field, char *text);
/* A message of its own; free it with its free_unpacked. */
ProtobufCMessage *memory_copy(const ProtobufCMessage *m);

#endif
