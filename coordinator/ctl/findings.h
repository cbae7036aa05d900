/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What `coordctl doctor` last found out about this host: STATE/doctor.json,
 * {"schema": 1, "backends": [{"name": "kvm", "available": true, "accelerator": "tcg", "reason":
 * ""}]}. */
#ifndef COORDINATOR_CTL_FINDINGS_H
#define COORDINATOR_CTL_FINDINGS_H

#include "common/err.h"

#include <stdbool.h>
#include <stddef.h>

struct finding {
    char *backend;
    bool available;
    char *accelerator; /* "" where there is none */
    char *reason;      /* why it is not available, or "" */
};

struct findings {
    struct finding *items;
    size_t n;
};

/* $PLIMSOLL_STATE/doctor.json, else the user's state folder's; the caller's to free. */
char *findings_path(void);
/* ERR_NOT_FOUND where doctor has not run yet. */
int findings_load(const char *path, struct findings *ret, struct err *e);
void findings_clear(struct findings *f);
/* NULL where nothing was found out about it. */
const struct finding *findings_of(const struct findings *f, const char *backend);

#endif
