/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agent/host/registry.h"

#include "common/cleanup.h"
#include "common/fs.h"
#include "common/netns.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

enum { ENTRY_MOST_BYTES = 16 << 10 };

struct registration {
    int fd; /* locked */
    char *path;
};

bool registry_is_id(const char *text)
{
    return strlen(text) == 8 && strspn(text, "0123456789abcdef") == 8;
}

static bool is_same_file(int fd, const char *path)
{
    struct stat of_fd, of_path;
    return fstat(fd, &of_fd) == 0 && stat(path, &of_path) == 0 && of_fd.st_dev == of_path.st_dev &&
           of_fd.st_ino == of_path.st_ino;
}

/* Whoever leaves removes the file while it holds the lock, so a lock on a file that is no longer at
 * its path is worth nothing and the path is opened again. */
static int lock_entry(const char *path, int flags, int *ret_fd, struct err *e)
{
    for (;;) {
        cleanup_close int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | flags, 0600);
        if (fd < 0 && errno == ENOENT)
            return err_set(e, ERR_NOT_FOUND, "there is no %s", path);
        if (fd < 0)
            return err_system(e, errno, "cannot open %s", path);
        if (flock(fd, LOCK_EX | LOCK_NB) < 0)
            return errno == EWOULDBLOCK ? err_set(e, ERR_REFUSED, "the agent of %s is alive", path)
                                        : err_system(e, errno, "cannot lock %s", path);
        if (!is_same_file(fd, path))
            continue;
        *ret_fd = steal_fd(&fd);
        return 0;
    }
}

static int registration_new(const char *run_folder, const char *id, int flags,
                            struct registration **ret, struct err *e)
{
    cleanup_free char *path = fs_path("%s/agents/%s", run_folder, id);
    int fd = -1;
    if (lock_entry(path, flags, &fd, e) < 0)
        return -1;
    struct registration *r = calloc(1, sizeof *r);
    if (!r) {
        close(fd);
        return err_system(e, ENOMEM, "cannot register the agent");
    }
    *r = (struct registration){.fd = fd, .path = steal(path)};
    *ret = r;
    return 0;
}

int registry_enter(const char *run_folder, const char *id, const char *state_folder,
                   const char *libvirt_uri, struct registration **ret, struct err *e)
{
    struct registration *r = NULL;
    if (registration_new(run_folder, id, O_CREAT, &r, e) < 0) {
        if (e && e->code == ERR_REFUSED)
            err_set(
                e, ERR_REFUSED,
                "an agent with the id %s is alive already; if %s is a copy of its state folder, "
                "remove the file id in it",
                id, state_folder);
        return -1;
    }
    /* Relative paths would mean something else to the program that cleans up. */
    cleanup_free char *state = realpath(state_folder, NULL);
    cleanup_free char *netns = netns_own();
    cleanup_free char *text =
        fs_path("state = %s\nlibvirt_uri = %s\npid = %ld\nnetns = %s\n",
                state ? state : state_folder, libvirt_uri, (long)getpid(), netns);
    size_t length = strlen(text);
    if (ftruncate(r->fd, 0) < 0 || pwrite(r->fd, text, length, 0) != (ssize_t)length) {
        err_system(e, errno, "cannot write %s", r->path);
        registry_leave(&r, false);
        return -1;
    }
    *ret = r;
    return 0;
}

/* The value of `key`, a new text, or NULL. */
static char *entry_value(const char *text, const char *key)
{
    size_t length = strlen(key);
    for (const char *line = text; line && *line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, key, length) == 0 && strncmp(line + length, " = ", 3) == 0) {
            const char *value = line + length + 3;
            return fs_path("%.*s", (int)strcspn(value, "\n"), value);
        }
    }
    return NULL;
}

int registry_take_over(const char *run_folder, const char *id, struct registration **ret,
                       char **state_folder, char **libvirt_uri, struct err *e)
{
    struct registration *r = NULL;
    if (registration_new(run_folder, id, 0, &r, e) < 0)
        return -1;
    char text[ENTRY_MOST_BYTES];
    ssize_t n = pread(r->fd, text, sizeof text - 1, 0);
    text[n > 0 ? n : 0] = '\0';
    /* An agent that was killed between making the entry and filling it has nothing on the host yet,
     * but the entry of one whose disk was full may be empty too: its id alone still finds its
     * guests. */
    cleanup_free char *netns = entry_value(text, "netns");
    if (netns && netns_is_elsewhere(netns)) {
        registry_leave(&r, true);
        return err_set(e, ERR_UNAVAILABLE, "agent %s was in another network namespace", id);
    }
    char *state = entry_value(text, "state");
    char *uri = entry_value(text, "libvirt_uri");
    free(*state_folder);
    *state_folder = state ? state : fs_path("%s/agents/%s.state", run_folder, id);
    if (uri) {
        free(*libvirt_uri);
        *libvirt_uri = uri;
    }
    *ret = r;
    return 0;
}

int registry_keep_guest(struct registration *r, const char *guest, struct err *e)
{
    cleanup_free char *line = fs_path("kept = %s\n", guest);
    size_t length = strlen(line);
    if (lseek(r->fd, 0, SEEK_END) < 0 || write(r->fd, line, length) != (ssize_t)length)
        return err_system(e, errno, "cannot write %s", r->path);
    return 0;
}

void registry_leave(struct registration **r, bool keep)
{
    if (!*r)
        return;
    if (!keep)
        unlink((*r)->path);
    close((*r)->fd);
    free((*r)->path);
    free(*r);
    *r = NULL;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(a, b);
}

int registry_list(const char *run_folder, char (**ret_ids)[9], size_t *ret_n, struct err *e)
{
    cleanup_free char *path = fs_path("%s/agents", run_folder);
    char(*ids)[9] = NULL;
    size_t n = 0;
    DIR *folder = opendir(path);
    if (!folder && errno != ENOENT)
        return err_system(e, errno, "cannot read %s", path);
    struct dirent *entry;
    while (folder && (entry = readdir(folder))) {
        if (!registry_is_id(entry->d_name))
            continue;
        char(*more)[9] = reallocarray(ids, n + 1, sizeof *ids);
        if (!more)
            abort();
        ids = more;
        memcpy(ids[n++], entry->d_name, 9);
    }
    if (folder)
        closedir(folder);
    if (n > 1)
        qsort(ids, n, sizeof *ids, by_text);
    *ret_ids = ids;
    *ret_n = n;
    return 0;
}
