/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Network namespaces: the hosts of a lab on one machine. What one of them has, bridges above all,
 * another cannot remove. */
#ifndef COMMON_NETNS_H
#define COMMON_NETNS_H

#include <stdbool.h>

/* This process's, as the kernel writes it: "net:[4026531840]" (namespaces(7)). The caller frees. */
char *netns_own(void);
/* Whether it is another than ours and still there: a process or a name in /run/netns has it. */
bool netns_is_elsewhere(const char *netns);

#endif
