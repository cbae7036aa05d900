/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The one symbol that each probe exports. */
#ifndef AGENT_PROBE_LIST_H
#define AGENT_PROBE_LIST_H

#include "agent/probe/probe.h"

extern const struct probe_ops probe_startup_ops;

#endif
