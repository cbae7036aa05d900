/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Cleanup attributes: a local that owns something says so where it is declared and is released on
 * every way out. To hand it over, `steal` it.
 */
#ifndef COMMON_CLEANUP_H
#define COMMON_CLEANUP_H

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static inline void cleanup_free_at(void *pointer)
{
    free(*(void **)pointer);
}

static inline void cleanup_close_at(const int *fd)
{
    if (*fd >= 0)
        close(*fd);
}

static inline void cleanup_file_at(FILE **file)
{
    if (*file)
        fclose(*file);
}

#define cleanup_free  __attribute__((cleanup(cleanup_free_at)))
#define cleanup_close __attribute__((cleanup(cleanup_close_at)))
#define cleanup_file  __attribute__((cleanup(cleanup_file_at)))

/* The pointer's value; the pointer itself becomes NULL and owns nothing any more. */
#define steal(pointer)                                                                             \
    ({                                                                                             \
        __typeof__(pointer) stolen_ = (pointer);                                                   \
        (pointer) = NULL;                                                                          \
        stolen_;                                                                                   \
    })

/* The same for a descriptor, which becomes -1. */
static inline int steal_fd(int *fd)
{
    int stolen = *fd;
    *fd = -1;
    return stolen;
}

#endif
