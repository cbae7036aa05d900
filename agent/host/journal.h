/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What an agent borrows from its host is written down and synced before it is taken, and given back
 * at the end of the trial, on cancel, at a stop, and at the agent's next start after a crash.
 *
 * A text file, one entry a line, appended; an entry that was given back is followed by its "undone"
 * line; the file is emptied when nothing is open. A torn last line (a crash in mid-write) was not
 * yet acted on and is dropped.
 */
#ifndef AGENT_HOST_JOURNAL_H
#define AGENT_HOST_JOURNAL_H

#include "common/err.h"

#include <stdint.h>

struct journal;

int journal_open(const char *path, struct journal **ret, struct err *e);
void journal_close(struct journal **j);

/* Each writes the entry, syncs, then acts; *ret_entry is what journal_undo takes. */
/* Writes a /proc or /sys file, remembering what it said. */
int journal_write_setting(struct journal *j, const char *path, const char *value,
                          uint64_t *ret_entry, struct err *e);
/* mount(2); undone by umount2(MNT_DETACH) of whatever is mounted there. */
int journal_mount(struct journal *j, const char *source, const char *target, const char *type,
                  unsigned long flags, const char *data, uint64_t *ret_entry, struct err *e);
/* A bridge device, made and brought up; undone by deleting it. */
int journal_bridge(struct journal *j, const char *name, uint64_t *ret_entry, struct err *e);
/* A cgroup made in every hierarchy in use; undone by killing what is in it, removing it with all
 * below, and taking back the controllers that v2's root did not hand down before. */
int journal_cgroup(struct journal *j, const char *relative_path, uint64_t *ret_entry,
                   struct err *e);

int journal_undo(struct journal *j, uint64_t entry, struct err *e);
/* Newest first; goes on after an error and reports the first. Adds the number undone. */
int journal_undo_all(struct journal *j, unsigned *undone, struct err *e);

#endif
