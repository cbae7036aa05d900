// SPDX-License-Identifier: GPL-3.0-or-later
//
// The file: a line "boot BOOT_ID", then "NUMBER KIND ARGUMENT..." and "NUMBER undone" lines.
// Spaces, percent signs and control characters of an argument are written as %XX. What was borrowed
// before a reboot is gone with it, so entries of another boot are dropped.
#include "agent/host/journal.h"

#include "agent/host/bridge.h"
#include "agent/host/cgroup.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/fs.h"
#include "common/log.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>

enum { JOURNAL_MOST_BYTES = 16 << 20, ARGUMENTS = 2, KIND_BYTES = 16 };

static const int64_t KILL_NS = 10 * NS_PER_S;

struct entry {
    struct entry *older;
    uint64_t number;
    char kind[KIND_BYTES];
    char *arguments[ARGUMENTS];
};

struct journal {
    pthread_mutex_t lock; /* the trial thread borrows while the loop's thread may undo */
    char *path;
    int fd;
    uint64_t next;
    struct entry *newest; /* open entries */
};

/* ---- Text ---- */

static char *escape(const char *text)
{
    char *out = malloc(strlen(text) * 3 + 2);
    if (!out)
        abort();
    char *to = out;
    for (const char *at = text; *at; at++) {
        unsigned char c = (unsigned char)*at;
        if (c <= ' ' || c == '%' || c == 127)
            to += sprintf(to, "%%%02X", c);
        else
            *to++ = *at;
    }
    if (to == out) /* an empty argument must still be a word */
        *to++ = '%';
    *to = '\0';
    return out;
}

static void unescape(char *text)
{
    char *to = text;
    for (const char *at = text; *at; at++) {
        char hex[3] = "";
        if (at[0] == '%')
            strncat(hex, at + 1, 2);
        if (isxdigit((unsigned char)hex[0]) && isxdigit((unsigned char)hex[1])) {
            *to++ = (char)strtol(hex, NULL, 16);
            at += 2;
        } else if (at[0] != '%') {
            *to++ = *at;
        }
    }
    *to = '\0';
}

static void entry_free(struct entry *entry)
{
    for (size_t i = 0; i < ARGUMENTS; i++)
        free(entry->arguments[i]);
    free(entry);
}

static struct entry *entry_new(uint64_t number, const char *kind, const char *first,
                               const char *second)
{
    struct entry *entry = calloc(1, sizeof(*entry));
    if (!entry)
        abort();
    entry->number = number;
    snprintf(entry->kind, sizeof(entry->kind), "%s", kind);
    entry->arguments[0] = fs_path("%s", first);
    entry->arguments[1] = fs_path("%s", second ? second : "");
    return entry;
}

static struct entry **find(struct journal *j, uint64_t number)
{
    struct entry **at = &j->newest;
    while (*at && (*at)->number != number)
        at = &(*at)->older;
    return at;
}

static void forget(struct journal *j, uint64_t number)
{
    struct entry **at = find(j, number);
    struct entry *entry = *at;
    if (!entry)
        return;
    *at = entry->older;
    entry_free(entry);
}

/* ---- Reading at the start ---- */

static void read_line(struct journal *j, char *line, unsigned line_number)
{
    char *rest = NULL;
    char *number_text = strtok_r(line, " ", &rest);
    char *kind = strtok_r(NULL, " ", &rest);
    char *first = strtok_r(NULL, " ", &rest);
    char *second = strtok_r(NULL, " ", &rest);
    char *end = NULL;
    uint64_t number = number_text ? strtoull(number_text, &end, 10) : 0;
    bool undone = kind && strcmp(kind, "undone") == 0;
    if (!number || *end || !kind || strlen(kind) >= KIND_BYTES || (!undone && !first)) {
        log_warning("%s:%u: expected \"NUMBER KIND ARGUMENT...\", passed over", j->path,
                    line_number);
        return;
    }
    if (number >= j->next)
        j->next = number + 1;
    if (undone) {
        forget(j, number);
        return;
    }
    unescape(first);
    if (second)
        unescape(second);
    struct entry *entry = entry_new(number, kind, first, second);
    entry->older = j->newest;
    j->newest = entry;
}

static char *boot_line(void)
{
    cleanup_free char *boot = NULL;
    if (fs_read_kernel("/proc/sys/kernel/random/boot_id", &boot, NULL) < 0)
        return fs_path("boot unknown");
    return fs_path("boot %s", boot);
}

/* What follows the last newline was being written when the agent died, and nothing was done about
 * it. */
static void read_text(struct journal *j, char *text)
{
    cleanup_free char *boot = boot_line();
    unsigned line_number = 0;
    char *newline;
    for (char *line = text; (newline = strchr(line, '\n')); line = newline + 1) {
        *newline = '\0';
        if (++line_number > 1)
            read_line(j, line, line_number);
        else if (strcmp(line, boot) != 0)
            return;
    }
}

/* The open entries alone, oldest first, as a new file. */
static void format_entries(const struct entry *entry, FILE *out)
{
    if (!entry)
        return;
    format_entries(entry->older, out);
    cleanup_free char *first = escape(entry->arguments[0]);
    cleanup_free char *second = escape(entry->arguments[1]);
    fprintf(out, "%llu %s %s %s\n", (unsigned long long)entry->number, entry->kind, first, second);
}

static void close_file(struct journal *j)
{
    if (j->fd >= 0)
        close(j->fd);
    j->fd = -1;
}

/* Of the file that stands at the path: what is appended to one that was replaced is lost. */
static int open_end(struct journal *j, struct err *e)
{
    if (j->fd < 0)
        j->fd = open(j->path, O_WRONLY | O_APPEND | O_CLOEXEC);
    return j->fd < 0 ? err_system(e, errno, "cannot open %s", j->path) : 0;
}

static int rewrite(struct journal *j, struct err *e)
{
    cleanup_free char *text = NULL;
    size_t length = 0;
    cleanup_free char *boot = boot_line();
    FILE *out = open_memstream(&text, &length);
    if (!out)
        return err_system(e, errno, "cannot write %s", j->path);
    fprintf(out, "%s\n", boot);
    format_entries(j->newest, out);
    fclose(out);
    int failed = fs_write_atomic(j->path, text, length, 0600, e);
    close_file(j); /* it may have been replaced even so */
    return failed ? -1 : open_end(j, e);
}

int journal_open(const char *path, struct journal **ret, struct err *e)
{
    cleanup_free char *text = NULL;
    size_t length = 0;
    cleanup_err struct err reading = ERR_INIT;
    if (fs_read(path, JOURNAL_MOST_BYTES, &text, &length, &reading) < 0 &&
        reading.errnum != ENOENT) {
        err_prefix(&reading, "the journal of borrowed host state");
        return err_move(e, &reading);
    }
    struct journal *j = calloc(1, sizeof(*j));
    if (!j)
        return err_system(e, ENOMEM, "cannot open %s", path);
    pthread_mutex_init(&j->lock, NULL);
    j->path = fs_path("%s", path);
    j->fd = -1;
    j->next = 1;
    if (text)
        read_text(j, text);
    if (rewrite(j, e) < 0) {
        journal_close(&j);
        return -1;
    }
    *ret = j;
    return 0;
}

void journal_close(struct journal **j)
{
    if (!*j)
        return;
    while ((*j)->newest)
        forget(*j, (*j)->newest->number);
    close_file(*j);
    pthread_mutex_destroy(&(*j)->lock);
    free((*j)->path);
    free(*j);
    *j = NULL;
}

/* ---- Borrowing ---- */

static int write_synced(int fd, const char *line)
{
    size_t length = strlen(line);
    ssize_t n = write(fd, line, length);
    if (n >= 0 && (size_t)n < length)
        errno = ENOSPC;
    return n < 0 || (size_t)n < length || fdatasync(fd) < 0 ? -1 : 0;
}

/* A line that did not get through is cut off again, which takes no room on a full disk: half of it
 * would spoil the next one, and what that one is about would never be given back. */
static int append(struct journal *j, const char *line, struct err *e)
{
    struct stat before;
    if (open_end(j, e) < 0)
        return -1;
    if (fstat(j->fd, &before) < 0)
        return err_system(e, errno, "cannot write %s", j->path);
    if (write_synced(j->fd, line) == 0)
        return 0;
    err_system(e, errno, "cannot write %s", j->path);
    if (ftruncate(j->fd, before.st_size) < 0)
        log_error("%s: cannot cut off a failed write: %s", j->path, strerrordesc_np(errno));
    return -1;
}

static int borrow(struct journal *j, const char *kind, const char *first, const char *second,
                  uint64_t *ret_entry, struct err *e)
{
    cleanup_free char *a = escape(first);
    cleanup_free char *b = escape(second ? second : "");
    pthread_mutex_lock(&j->lock);
    uint64_t number = j->next;
    cleanup_free char *line = fs_path("%llu %s %s %s\n", (unsigned long long)number, kind, a, b);
    int result = append(j, line, e);
    if (result == 0) {
        struct entry *entry = entry_new(number, kind, first, second);
        entry->older = j->newest;
        j->newest = entry;
        j->next++;
        *ret_entry = number;
    }
    pthread_mutex_unlock(&j->lock);
    return result;
}

/* What was to be done could not be: nothing is borrowed. */
static int give_up(struct journal *j, uint64_t entry)
{
    journal_undo(j, entry, NULL);
    return -1;
}

/* A file that offers choices, "always [madvise] never", says in brackets which one holds. */
static void keep_choice(char *text)
{
    char *open = strchr(text, '[');
    char *close = open ? strchr(open, ']') : NULL;
    if (!close)
        return;
    *close = '\0';
    memmove(text, open + 1, strlen(open + 1) + 1);
}

int journal_write_setting(struct journal *j, const char *path, const char *value,
                          uint64_t *ret_entry, struct err *e)
{
    cleanup_free char *before = NULL;
    if (fs_read_kernel(path, &before, e) < 0)
        return -1;
    keep_choice(before);
    uint64_t entry;
    if (borrow(j, "setting", path, before, &entry, e) < 0)
        return -1;
    if (fs_write_kernel(path, value, e) < 0)
        return give_up(j, entry);
    *ret_entry = entry;
    return 0;
}

int journal_mount(struct journal *j, const char *source, const char *target, const char *type,
                  unsigned long flags, const char *data, uint64_t *ret_entry, struct err *e)
{
    uint64_t entry;
    if (borrow(j, "mount", target, type, &entry, e) < 0)
        return -1;
    if (mount(source, target, type, flags, data) < 0) {
        err_system(e, errno, "cannot mount %s on %s", type ? type : source, target);
        return give_up(j, entry);
    }
    *ret_entry = entry;
    return 0;
}

int journal_bridge(struct journal *j, const char *name, uint64_t *ret_entry, struct err *e)
{
    uint64_t entry;
    if (borrow(j, "bridge", name, NULL, &entry, e) < 0)
        return -1;
    if (bridge_make(name, e) < 0)
        return give_up(j, entry);
    *ret_entry = entry;
    return 0;
}

int journal_cgroup(struct journal *j, const char *relative_path, uint64_t *ret_entry, struct err *e)
{
    uint64_t entry;
    cleanup_free char *controllers = cgroup_handed_down();
    if (borrow(j, "cgroup", relative_path, controllers, &entry, e) < 0)
        return -1;
    if (cgroup_make(relative_path, e) < 0)
        return give_up(j, entry);
    *ret_entry = entry;
    return 0;
}

/* ---- Giving back ---- */

static int undo_mount(const char *target, struct err *e)
{
    if (umount2(target, MNT_DETACH | UMOUNT_NOFOLLOW) == 0 || errno == EINVAL || errno == ENOENT)
        return 0;
    return err_system(e, errno, "cannot unmount %s", target);
}

static int undo_cgroup(const char *path, const char *controllers, struct err *e)
{
    if (cgroup_kill(path, clock_monotonic_ns() + KILL_NS, e) < 0 || cgroup_remove(path, e) < 0)
        return -1;
    if (cgroup_layout() == CGROUP_V2)
        cgroup_hand_down_only(controllers);
    return 0;
}

static int undo_action(const struct entry *entry, struct err *e)
{
    const char *first = entry->arguments[0];
    if (strcmp(entry->kind, "mount") == 0)
        return undo_mount(first, e);
    if (strcmp(entry->kind, "cgroup") == 0)
        return undo_cgroup(first, entry->arguments[1], e);
    if (strcmp(entry->kind, "bridge") == 0)
        return bridge_remove(first, e);
    if (strcmp(entry->kind, "setting") == 0)
        return fs_write_kernel(first, entry->arguments[1], e);
    return err_set(e, ERR_INPUT, "the journal has an entry of an unknown kind, \"%s\"",
                   entry->kind);
}

static int undo_locked(struct journal *j, uint64_t number, struct err *e)
{
    struct entry *entry = *find(j, number);
    if (!entry)
        return 0;
    if (undo_action(entry, e) < 0)
        return -1;
    forget(j, number);
    if (!j->newest)
        return rewrite(j, e);
    cleanup_free char *line = fs_path("%llu undone\n", (unsigned long long)number);
    return append(j, line, e);
}

int journal_undo(struct journal *j, uint64_t entry, struct err *e)
{
    pthread_mutex_lock(&j->lock);
    int result = undo_locked(j, entry, e);
    pthread_mutex_unlock(&j->lock);
    return result;
}

int journal_undo_all(struct journal *j, unsigned *undone, struct err *e)
{
    struct err first = ERR_INIT;
    pthread_mutex_lock(&j->lock);
    for (struct entry *entry = j->newest, *older; entry; entry = older) {
        cleanup_err struct err now = ERR_INIT;
        older = entry->older;
        if (undo_locked(j, entry->number, &now) == 0)
            (*undone)++;
        else if (first.code == ERR_NONE)
            err_move(&first, &now);
    }
    pthread_mutex_unlock(&j->lock);
    return err_move(e, &first);
}
