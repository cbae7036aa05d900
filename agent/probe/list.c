/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agent/probe/list.h"

#include <stddef.h>
#include <string.h>

const struct probe_ops *const *probe_list(void)
{
    static const struct probe_ops *const all[] = {
        &probe_startup_ops,
        NULL,
    };
    return all;
}

const struct probe_ops *probe_find(const char *name)
{
    for (const struct probe_ops *const *at = probe_list(); *at; at++)
        if (strcmp((*at)->catalog->name, name) == 0)
            return *at;
    return NULL;
}
