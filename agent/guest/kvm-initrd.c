/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agent/guest/kvm-initrd.h"

#include "common/cleanup.h"
#include "common/digest.h"
#include "common/fs.h"

#include <string.h>
#include <sys/stat.h>

enum { MODULES_MOST_BYTES = 256 << 20, RUNNER_MOST_BYTES = 64 << 20, CPIO_HEADER_BYTES = 110 };

static void pad(FILE *to, size_t length)
{
    for (; length % 4; length++)
        fputc(0, to);
}

/* 13 fields of 8 hex digits after the magic: inode, mode, uid, gid, links, mtime, size, device (2),
 * device of the node (2), length of the name with its NUL, checksum (0 in newc). */
static void cpio_entry(FILE *to, unsigned inode, unsigned mode, const char *name, const void *data,
                       size_t length)
{
    size_t name_bytes = strlen(name) + 1;
    fprintf(to, "070701%08x%08x%08x%08x%08x%08x%08zx%08x%08x%08x%08x%08zx%08x", inode, mode, 0, 0,
            1, 0, length, 0, 0, 0, 0, name_bytes, 0);
    fwrite(name, 1, name_bytes, to);
    pad(to, CPIO_HEADER_BYTES + name_bytes);
    fwrite(data, 1, length, to);
    pad(to, length);
}

void cpio_write_program(FILE *to, const char *name, const void *data, size_t length)
{
    cpio_entry(to, 1, S_IFREG | 0755, name, data, length);
    cpio_entry(to, 0, 0, "TRAILER!!!", "", 0);
}

/* The same image and the same runner give the same name. */
static int cached_path(const struct host *host, const struct image *image, char **ret,
                       struct err *e)
{
    char runner[DIGEST_TEXT_BYTES];
    char both[DIGEST_TEXT_BYTES];
    if (digest_file(host->runner_path, runner, e) < 0)
        return err_prefix(e, "the runner");
    cleanup_free char *key = fs_path("%s %s", image->digest, runner);
    digest_bytes(key, strlen(key), both);
    *ret = fs_path("%s/initrd/%s.cpio", host->state_folder, both + strlen("sha256:"));
    return 0;
}

static int assemble(const struct host *host, const struct image *image, const char *path,
                    struct err *e)
{
    cleanup_free char *modules = NULL;
    cleanup_free char *runner = NULL;
    cleanup_free char *initrd = NULL;
    size_t n_modules, n_runner;
    size_t n_initrd = 0;
    if (fs_read(image->initrd, MODULES_MOST_BYTES, &modules, &n_modules, e) < 0 ||
        fs_read(host->runner_path, RUNNER_MOST_BYTES, &runner, &n_runner, e) < 0)
        return -1;
    FILE *to = open_memstream(&initrd, &n_initrd);
    if (!to)
        return err_set(e, ERR_SYSTEM, "out of memory for the initrd");
    fwrite(modules, 1, n_modules, to);
    pad(to, n_modules);
    cpio_write_program(to, "init", runner, n_runner);
    if (fclose(to) != 0)
        return err_set(e, ERR_SYSTEM, "out of memory for the initrd");
    return fs_write_atomic(path, initrd, n_initrd, 0644, e);
}

int kvm_initrd(const struct host *host, const struct image *image, char **ret_path, struct err *e)
{
    cleanup_free char *path = NULL;
    if (cached_path(host, image, &path, e) < 0)
        return -1;
    if (!fs_exists(path)) {
        cleanup_free char *folder = fs_path("%s/initrd", host->state_folder);
        if (fs_make_dirs(folder, 0711, e) < 0 || assemble(host, image, path, e) < 0)
            return err_prefix(e, "initrd");
    }
    *ret_path = steal(path);
    return 0;
}
