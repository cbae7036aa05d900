/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agent/spool-file.h"

#include "common/cleanup.h"
#include "common/fs.h"
#include "common/log.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

enum { RESERVE_BYTES = 2 << 20 }; /* two of the largest results */

int spool_pwrite(int fd, const uint8_t *data, size_t length, uint64_t offset)
{
    while (length > 0) {
        ssize_t n = pwrite(fd, data, length, (off_t)offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        data += n;
        length -= (size_t)n;
        offset += (uint64_t)n;
    }
    return 0;
}

int spool_pread(int fd, uint8_t *to, size_t length, uint64_t offset)
{
    while (length > 0) {
        ssize_t n = pread(fd, to, length, (off_t)offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            errno = n < 0 ? errno : EIO;
            return -1;
        }
        to += n;
        length -= (size_t)n;
        offset += (uint64_t)n;
    }
    return 0;
}

void spool_reserve_make(const char *folder)
{
    cleanup_free char *path = fs_path("%s/reserve", folder);
    cleanup_close int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    struct stat st;
    if (fd < 0 || (fstat(fd, &st) == 0 && st.st_size >= RESERVE_BYTES))
        return;
    int failed = posix_fallocate(fd, 0, RESERVE_BYTES);
    if (!failed)
        return;
    /* An incomplete reserve takes the room that it is meant to keep. */
    unlink(path);
    log_warning("%s: no room for the reserve of %d bytes: %s", folder, RESERVE_BYTES,
                strerrordesc_np(failed));
}

bool spool_reserve_spend(const char *folder)
{
    cleanup_free char *path = fs_path("%s/reserve", folder);
    if (unlink(path) < 0)
        return false;
    log_warning("%s: the disk is full; the spool's reserve is spent", folder);
    return true;
}
