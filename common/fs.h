/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Files: whole reads, atomic writes, trees. All descriptors are close-on-exec. */
#ifndef COMMON_FS_H
#define COMMON_FS_H

#include "common/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* Reads a regular file of at most `most` bytes; a NUL is put behind the last one. The text is the
 * caller's to free. A directory, FIFO, device, or larger file is ERR_INPUT; never blocks on a FIFO.
 */
int fs_read(const char *path, size_t most, char **ret_text, size_t *ret_length, struct err *e);

/* As fs_read for the small files of /proc and /sys, which have no size: at most 64 KiB, and a
 * trailing newline is cut off. */
int fs_read_kernel(const char *path, char **ret_text, struct err *e);

/* Writes `text` to an existing file of /proc, /sys or a cgroup in one write(2). */
int fs_write_kernel(const char *path, const char *text, struct err *e);

/* Writes a new file beside `path`, syncs it, renames it over `path`, syncs the folder. */
int fs_write_atomic(const char *path, const void *data, size_t length, mode_t mode, struct err *e);

/* fsync of the folder that `path` is in, so that a new or changed name survives a crash. -1 with
 * errno. */
int fs_sync_folder_of(const char *path);

/* Makes a folder and its parents, and syncs the folder that each new one is in; one that exists is
 * fine. */
int fs_make_dirs(const char *path, mode_t mode, struct err *e);

/* Removes a tree without following symbolic links and without leaving its file system (a mount
 * below stops it with ERR_SYSTEM, EXDEV). A path that does not exist is fine. */
int fs_remove_tree(const char *path, struct err *e);

/* asprintf that ends the program when memory is out: paths are short. The caller frees. */
char *fs_path(const char *format, ...) __attribute__((format(printf, 1, 2)));

bool fs_exists(const char *path);

/* The folder of what lasts as long as the host is up: /run/plimsoll; not root:
 * $XDG_RUNTIME_DIR/plimsoll, else /tmp/plimsoll-UID. The caller frees. */
char *fs_run_folder(void);

#endif
