/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What this host can do, as JSON for `coordctl doctor` and other programs:
 *
 *   {"schema": 1, "software": "0.1.0", "images": "/var/lib/plimsoll/images", "stamper": "SCHED_FIFO
 * 50", "image": "sha256:..." | null, "backends": [{"name": "kvm", "built": true, "available": true,
 * "accelerator": "tcg", "nested": true, "reason": "", "note": ""}], "facts": [{"key": "cpu.model",
 * "value": "...", "tier": "must match"}]}
 *
 * Backends are asked with their default settings and one of the images built here; a VM is tried
 * out by booting it, whose answer is remembered.
 */
#ifndef AGENT_DOCTOR_H
#define AGENT_DOCTOR_H

#include "agent/trial.h"

#include <stdio.h>

int doctor_print(struct bench *b, FILE *to, struct err *e);

#endif
