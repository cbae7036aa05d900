/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A host with a state folder of its own, a stamping thread, and guests made from the catalog's
 * defaults. */
#ifndef TESTS_CONTRACT_FIXTURE_H
#define TESTS_CONTRACT_FIXTURE_H

#include "agent/guest/guest.h"

#include <stdbool.h>

struct fixture {
    char *folder; /* holds state and run folders */
    struct host host;
    struct stamper *stamper;
    const struct guest_ops *ops;
    Plimsoll__Section *image_section;
    struct image *image; /* NULL where the backend needs none */
    char *accelerator;   /* as offered */
    bool slow;           /* a full boot takes seconds */
};

/* NULL, or why this backend cannot be tested here (owned). */
char *fixture_open(struct fixture *f, const char *backend);
/* Leaves the host as it was; false when something would not go away. */
bool fixture_close(struct fixture *f);

/* Opens the host on the fixture's folders: again after fixture_host_close, as an agent's next start
 * does. */
void fixture_host_open(struct fixture *f);
void fixture_host_close(struct fixture *f);

/* A section with the catalog's defaults and `key = text` changed (NULL: nothing is). Only texts,
 * lists of one text, and integers. Free with section_free. */
Plimsoll__Section *section_new(const struct catalog_entry *entry, const char *key,
                               const char *text);
Plimsoll__Section *section_from_rows(const char *name, const struct key_row *rows);
void section_set(Plimsoll__Section *s, const char *key, const char *text);
void section_set_list(Plimsoll__Section *s, const char *key, char **items, size_t n);
void section_free(Plimsoll__Section **s);
bool backend_has_key(const struct guest_ops *ops, const char *key);

struct guest *fixture_guest(struct fixture *f, const Plimsoll__Section *section);

/* From now; long enough for a boot in an emulator. */
int64_t in_seconds(double seconds);

#endif
