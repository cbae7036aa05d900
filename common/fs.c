/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "common/fs.h"

#include "common/cleanup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { KERNEL_FILE_BYTES = 64 << 10 };

/* Reads until end of file or until `most` bytes are there; one byte more than `most` is an error.
 */
static int read_all(int fd, const char *path, size_t most, char **ret_text, size_t *ret_length,
                    struct err *e)
{
    size_t capacity = most < 4096 ? most : 4096;
    size_t used = 0;
    cleanup_free char *text = malloc(capacity + 1);
    while (text) {
        ssize_t n = read(fd, text + used, capacity + 1 - used);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_system(e, errno, "cannot read %s", path);
        used += (size_t)n;
        if (used > most)
            return err_set(e, ERR_INPUT, "%s is larger than %zu bytes", path, most);
        if (n == 0) {
            text[used] = '\0';
            *ret_text = steal(text);
            *ret_length = used;
            return 0;
        }
        if (used > capacity - capacity / 4) {
            capacity = capacity > most / 2 ? most : capacity * 2;
            char *larger = realloc(text, capacity + 1);
            if (!larger)
                break;
            text = larger;
        }
    }
    return err_system(e, ENOMEM, "cannot read %s", path);
}

int fs_read(const char *path, size_t most, char **ret_text, size_t *ret_length, struct err *e)
{
    cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        return err_system(e, errno, "cannot open %s", path);
    if (!S_ISREG(st.st_mode))
        return err_set(e, ERR_INPUT, "%s is not a regular file", path);
    if (st.st_size > 0 && (uintmax_t)st.st_size > most)
        return err_set(e, ERR_INPUT, "%s is larger than %zu bytes", path, most);
    return read_all(fd, path, most, ret_text, ret_length, e);
}

int fs_read_kernel(const char *path, char **ret_text, struct err *e)
{
    cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_system(e, errno, "cannot open %s", path);
    char *text = NULL;
    size_t length = 0;
    if (read_all(fd, path, KERNEL_FILE_BYTES, &text, &length, e) < 0)
        return -1;
    if (length > 0 && text[length - 1] == '\n')
        text[length - 1] = '\0';
    *ret_text = text;
    return 0;
}

int fs_write_kernel(const char *path, const char *text, struct err *e)
{
    cleanup_close int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return err_system(e, errno, "cannot open %s", path);
    ssize_t n = write(fd, text, strlen(text));
    if (n < 0 || (size_t)n < strlen(text))
        return err_system(e, n < 0 ? errno : EIO, "cannot write \"%s\" to %s", text, path);
    return 0;
}

static int write_all(int fd, const void *data, size_t length)
{
    const char *at = data;
    while (length > 0) {
        ssize_t n = write(fd, at, length);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        at += n;
        length -= (size_t)n;
    }
    return 0;
}

int fs_sync_folder_of(const char *path)
{
    cleanup_free char *folder = fs_path("%s", path);
    char *slash = strrchr(folder, '/');
    if (slash)
        slash[slash == folder ? 1 : 0] = '\0';
    cleanup_close int fd = open(slash ? folder : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 ? -1 : fsync(fd);
}

int fs_write_atomic(const char *path, const void *data, size_t length, mode_t mode, struct err *e)
{
    cleanup_free char *draft = fs_path("%s.XXXXXX", path);
    cleanup_close int fd = mkostemp(draft, O_CLOEXEC);
    if (fd < 0)
        return err_system(e, errno, "cannot make a file beside %s", path);
    if (write_all(fd, data, length) < 0 || fchmod(fd, mode) < 0 || fsync(fd) < 0 ||
        rename(draft, path) < 0) {
        err_system(e, errno, "cannot write %s", path);
        unlink(draft);
        return -1;
    }
    if (fs_sync_folder_of(path) < 0)
        return err_system(e, errno, "cannot sync the folder of %s", path);
    return 0;
}

int fs_make_dirs(const char *path, mode_t mode, struct err *e)
{
    if (path[0] == '\0')
        return err_set(e, ERR_INPUT, "cannot make a folder without a name");
    cleanup_free char *part = fs_path("%s", path);
    for (char *slash = part; slash; *slash = '/') {
        slash = strchr(slash + 1, '/');
        if (slash)
            *slash = '\0';
        int made = mkdir(part, mode);
        if ((made < 0 && errno != EEXIST) || (made == 0 && fs_sync_folder_of(part) < 0))
            return err_system(e, errno, "cannot make the folder %s", part);
        if (!slash)
            break;
    }
    struct stat st;
    if (stat(path, &st) < 0 || !S_ISDIR(st.st_mode))
        return err_system(e, ENOTDIR, "cannot make the folder %s", path);
    return 0;
}

/* A tree may be as deep as a guest liked to make it, and each level takes a descriptor and a piece
 * of the stack: what lies deeper than this is first moved up to the top. */
enum { TREE_MOST_DEPTH = 64 };

struct removal {
    int top; /* the tree's own folder */
    dev_t device;
    unsigned moved; /* numbers the names of what was moved up */
};

static int remove_below(struct removal *r, int parent, const char *name, int depth);

/* Takes the descriptor. */
static int remove_entries(struct removal *r, int fd, int depth)
{
    DIR *folder = fd < 0 ? NULL : fdopendir(fd);
    if (!folder) {
        if (fd >= 0)
            close(fd);
        return -1;
    }
    int failed = 0;
    struct dirent *entry;
    while (!failed && (entry = readdir(folder)))
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            failed = remove_below(r, dirfd(folder), entry->d_name, depth);
    int saved = errno;
    closedir(folder);
    errno = saved;
    return failed;
}

static int move_up(struct removal *r, int parent, const char *name)
{
    char to[32];
    int failed;
    do {
        snprintf(to, sizeof to, "deep-%u", r->moved++);
        failed = renameat2(parent, name, r->top, to, RENAME_NOREPLACE);
    } while (failed && errno == EEXIST);
    return failed;
}

static int remove_below(struct removal *r, int parent, const char *name, int depth)
{
    struct stat st;
    if (fstatat(parent, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? 0 : -1;
    if (!S_ISDIR(st.st_mode))
        return unlinkat(parent, name, 0);
    if (st.st_dev != r->device) {
        errno = EXDEV;
        return -1;
    }
    if (depth == TREE_MOST_DEPTH)
        return move_up(r, parent, name);
    int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (remove_entries(r, fd, depth + 1) < 0)
        return -1;
    return unlinkat(parent, name, AT_REMOVEDIR);
}

/* What is moved up may come behind the place where the reading of the top is: once more, then. */
static int remove_folder(const char *path, dev_t device)
{
    cleanup_close int top = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    struct removal r = {.top = top, .device = device};
    unsigned moved_before;
    if (top < 0)
        return -1;
    do {
        moved_before = r.moved;
        int again = openat(top, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (remove_entries(&r, again, 1) < 0)
            return -1;
    } while (r.moved > moved_before);
    return rmdir(path);
}

int fs_remove_tree(const char *path, struct err *e)
{
    struct stat st;
    if (lstat(path, &st) < 0)
        return errno == ENOENT ? 0 : err_system(e, errno, "cannot remove %s", path);
    if ((S_ISDIR(st.st_mode) ? remove_folder(path, st.st_dev) : unlink(path)) < 0)
        return err_system(e, errno, "cannot remove %s", path);
    return 0;
}

char *fs_path(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    char *path = NULL;
    int n = vasprintf(&path, format, args);
    va_end(args);
    if (n < 0)
        abort();
    return path;
}

bool fs_exists(const char *path)
{
    return access(path, F_OK) == 0;
}

char *fs_run_folder(void)
{
    if (geteuid() == 0)
        return fs_path("/run/plimsoll");
    const char *base = getenv("XDG_RUNTIME_DIR");
    if (base && base[0] == '/')
        return fs_path("%s/plimsoll", base);
    return fs_path("/tmp/plimsoll-%u", (unsigned)geteuid());
}
