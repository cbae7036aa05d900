// SPDX-License-Identifier: GPL-3.0-or-later
#include "agent/guest/common.h"
#include "agent/host/cgroup.h"
#include "agent/host/journal.h"
#include "common/cleanup.h"
#include "common/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/un.h>

/* Numeric user and group ids in an overlay's upper layer are the host's: nothing is shifted. */
enum { FOLDER_MODE = 0755 };

static int mount_noted(struct guest *g, struct guest_root *r, const char *source,
                       const char *target, const char *type, unsigned long flags, const char *data,
                       struct err *e)
{
    uint64_t entry;
    if (journal_mount(g->host->journal, source, target, type, flags, data, &entry, e) < 0)
        return -1;
    r->mounts[r->n_mounts++] = entry;
    return 0;
}

/* An image may hold anything, and these paths are resolved on the host: a link in it would lead
 * what is made or mounted there out of the guest's root. Nothing of the guest runs yet. */
static int must_be(const char *path, mode_t kind, struct err *e)
{
    struct stat st;
    if (lstat(path, &st) < 0)
        return err_system(e, errno, "cannot look at %s", path);
    if ((st.st_mode & S_IFMT) != kind)
        return err_set(e, ERR_UNAVAILABLE, "%s is something else in the image; expected a %s", path,
                       kind == S_IFDIR ? "folder" : "file");
    return 0;
}

static int make_folder(const char *path, struct err *e)
{
    if (mkdir(path, FOLDER_MODE) == 0)
        return 0;
    if (errno != EEXIST)
        return err_system(e, errno, "cannot make the folder %s", path);
    return must_be(path, S_IFDIR, e);
}

static int make_file(const char *path, struct err *e)
{
    cleanup_close int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0755);
    if (fd >= 0)
        return 0;
    if (errno != EEXIST)
        return err_system(e, errno, "cannot make %s", path);
    return must_be(path, S_IFREG, e);
}

/* overlay takes its folders as one text, where these characters mean something. */
static int check_overlay_path(const char *path, struct err *e)
{
    if (strpbrk(path, ",:\\"))
        return err_set(e, ERR_INPUT,
                       "%s: a comma, a colon, or a backslash cannot be in the path "
                       "of an overlay's folder",
                       path);
    return 0;
}

static int mount_overlay(struct guest *g, struct guest_root *r, struct err *e)
{
    cleanup_free char *upper = fs_path("%s/upper", g->folder);
    cleanup_free char *work = fs_path("%s/work", g->folder);
    cleanup_free char *data =
        fs_path("lowerdir=%s,upperdir=%s,workdir=%s", g->image->root, upper, work);
    if (check_overlay_path(g->image->root, e) < 0 || check_overlay_path(g->folder, e) < 0 ||
        make_folder(upper, e) < 0 || make_folder(work, e) < 0 || make_folder(r->path, e) < 0)
        return -1;
    return mount_noted(g, r, "overlay", r->path, "overlay", 0, data, e);
}

static int bind_runner(struct guest *g, struct guest_root *r, struct err *e)
{
    cleanup_free char *target = fs_path("%s/.plimsoll/runner", r->path);
    if (make_file(target, e) < 0 ||
        mount_noted(g, r, g->host->runner_path, target, NULL, MS_BIND, NULL, e) < 0)
        return -1;
    if (mount(NULL, target, NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID, NULL) < 0)
        return err_system(e, errno, "cannot make %s read-only", target);
    return 0;
}

static int bind_channel(struct guest *g, struct guest_root *r, struct err *e)
{
    cleanup_free char *source = fs_path("%s/channel", g->folder);
    cleanup_free char *target = fs_path("%s/.plimsoll/channel", r->path);
    cleanup_free char *socket = fs_path("%s/sock", source);
    if (make_folder(source, e) < 0 || make_folder(target, e) < 0 ||
        mount_noted(g, r, source, target, NULL, MS_BIND, NULL, e) < 0)
        return -1;
    return channel_listen(g->stamper, socket, &g->channel, e);
}

int root_prepare(struct guest *g, struct guest_root *r, struct err *e)
{
    r->path = fs_path("%s/root", g->folder);
    cleanup_free char *inside = fs_path("%s/.plimsoll", r->path);
    if (mount_overlay(g, r, e) < 0 || make_folder(inside, e) < 0 || bind_runner(g, r, e) < 0)
        return -1;
    return bind_channel(g, r, e);
}

int root_add_proc(struct guest *g, struct guest_root *r, struct err *e)
{
    cleanup_free char *target = fs_path("%s/proc", r->path);
    if (make_folder(target, e) < 0)
        return -1;
    return mount_noted(g, r, "proc", target, "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL, e);
}

int root_release(struct guest *g, struct guest_root *r, struct err *e)
{
    struct err first = ERR_INIT;
    while (r->n_mounts > 0) {
        cleanup_err struct err now = ERR_INIT;
        if (journal_undo(g->host->journal, r->mounts[--r->n_mounts], &now) < 0 &&
            first.code == ERR_NONE)
            err_move(&first, &now);
    }
    free(steal(r->path));
    return err_move(e, &first);
}

/* The mount of a hierarchy in which no cgroup can be made, or NULL. */
static const char *closed_hierarchy(void)
{
    const char *mounts[CGROUP_IN_USE_MOST];
    size_t n = cgroup_in_use(mounts);
    for (size_t i = 0; i < n; i++)
        if (access(mounts[i], W_OK) < 0)
            return mounts[i];
    return NULL;
}

char *root_obstacle(const struct host *host)
{
    if (geteuid() != 0)
        return fs_path("it needs root, to mount the guest's file system and to make its cgroup");
    if (access(host->runner_path, X_OK) < 0)
        return fs_path("there is no runner at %s", host->runner_path);
    if (cgroup_layout() == CGROUP_NONE)
        return fs_path("the cgroup controllers cpu, cpuset and memory are not all mounted");
    const char *closed = closed_hierarchy();
    return closed ? fs_path("no cgroup can be made in %s: %s", closed, strerror(errno)) : NULL;
}
