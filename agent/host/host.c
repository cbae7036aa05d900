/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agent/host/host.h"

#include "agent/host/journal.h"
#include "agent/host/registry.h"
#include "common/cleanup.h"
#include "common/fs.h"
#include "common/log.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>

struct host_claim {
    int state_fd;               /* the state folder's lock */
    struct registration *entry; /* under the run folder */
    bool left_over;             /* keep the entry at close */
    char *stand_in; /* a dead agent's state folder that is gone: ours, removed at close */
};

/* Beside this program, as it is built, or where `cmake --install` puts what people do not call. */
static char *own_program(const char *name)
{
    char self[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    if (n <= 0)
        return fs_path("%s", name);
    self[n] = '\0';
    *strrchr(self, '/') = '\0';
    cleanup_free char *beside = fs_path("%s/%s", self, name);
    cleanup_free char *installed = fs_path("%s/../libexec/plimsoll/%s", self, name);
    bool use_installed = access(beside, X_OK) < 0 && access(installed, X_OK) == 0;
    return use_installed ? steal(installed) : steal(beside);
}

static char *user_folder(const char *variable, const char *below_home, const char *rest)
{
    const char *base = getenv(variable);
    if (base && base[0] == '/')
        return fs_path("%s/%s", base, rest);
    const char *home = getenv("HOME");
    return fs_path("%s/%s/%s", home ? home : "/tmp", below_home, rest);
}

static char *default_images(void)
{
    const char *images = getenv("PLIMSOLL_IMAGES");
    return fs_path("%s", images && images[0] ? images : "/var/lib/plimsoll/images");
}

static int default_cpus(struct host *h, struct err *e)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) < 0)
        return err_system(e, errno, "cannot read the CPUs this process may use");
    h->cpus = calloc((size_t)CPU_COUNT(&set), sizeof *h->cpus);
    if (!h->cpus)
        return err_system(e, ENOMEM, "cannot list CPUs");
    h->n_cpus = 0;
    for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++)
        if (CPU_ISSET(cpu, &set))
            h->cpus[h->n_cpus++] = (int)cpu;
    return 0;
}

static int set_defaults(struct host *h, struct err *e)
{
    if (!h->state_folder)
        h->state_folder = geteuid() == 0
                              ? fs_path("/var/lib/plimsoll/agent")
                              : user_folder("XDG_STATE_HOME", ".local/state", "plimsoll/agent");
    if (!h->images_folder)
        h->images_folder = default_images();
    if (!h->run_folder)
        h->run_folder = fs_run_folder();
    if (!h->runner_path)
        h->runner_path = own_program("plimsoll-runner");
    if (!h->guestd_path) {
        h->guestd_path = own_program("plimsoll-guestd");
        if (access(h->guestd_path, X_OK) < 0)
            h->guestd_path[0] = '\0';
    }
    if (!h->libvirt_uri)
        h->libvirt_uri = fs_path("qemu:///system");
    return h->cpus ? 0 : default_cpus(h, e);
}

/* The lock file stays when the agent ends: removing it would let two agents lock two files. */
static int lock_state(const char *state_folder, int *ret_fd, struct err *e)
{
    cleanup_free char *path = fs_path("%s/lock", state_folder);
    cleanup_close int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_system(e, errno, "cannot open %s", path);
    if (flock(fd, LOCK_EX | LOCK_NB) == 0) {
        *ret_fd = steal_fd(&fd);
        return 0;
    }
    if (errno == EWOULDBLOCK)
        return err_set(e, ERR_REFUSED, "another agent runs on the state folder %s", state_folder);
    return err_system(e, errno, "cannot lock %s", path);
}

static int draw_id(const char *path, char ret[9], struct err *e)
{
    uint32_t drawn = 0;
    if (getrandom(&drawn, sizeof drawn, 0) != (ssize_t)sizeof drawn)
        return err_system(e, errno, "cannot draw the agent's id");
    char text[10];
    snprintf(text, sizeof text, "%08x\n", drawn);
    if (fs_write_atomic(path, text, strlen(text), 0600, e) < 0)
        return -1;
    memcpy(ret, text, 8);
    ret[8] = '\0';
    return 0;
}

static int read_id(const char *state_folder, char ret[9], struct err *e)
{
    cleanup_free char *path = fs_path("%s/id", state_folder);
    cleanup_free char *text = NULL;
    size_t length = 0;
    cleanup_err struct err reading = ERR_INIT;
    if (fs_read(path, 64, &text, &length, &reading) < 0)
        return reading.errnum == ENOENT ? draw_id(path, ret, e) : err_move(e, &reading);
    text[strcspn(text, "\n")] = '\0';
    if (!registry_is_id(text))
        return err_set(e, ERR_INPUT, "%s:1: expected 8 lower-case hex digits, the agent's id",
                       path);
    memcpy(ret, text, 9);
    return 0;
}

/* Entries in the run folder are believed: they say whose journals to undo. In /tmp anybody could
 * have made the folder before us. */
static int check_run_folder(const char *path, struct err *e)
{
    struct stat st;
    if (lstat(path, &st) < 0)
        return err_system(e, errno, "cannot look at %s", path);
    if (!S_ISDIR(st.st_mode) || st.st_uid != geteuid() || (st.st_mode & (S_IWGRP | S_IWOTH)))
        return err_set(e, ERR_REFUSED,
                       "%s: expected a folder that belongs to user %u and that nobody else may "
                       "write to",
                       path, (unsigned)geteuid());
    return 0;
}

static int make_folders(const struct host *h, struct err *e)
{
    cleanup_free char *guests = fs_path("%s/guests", h->state_folder);
    cleanup_free char *agents = fs_path("%s/agents", h->run_folder);
    if (fs_make_dirs(h->state_folder, 0711, e) < 0 || fs_make_dirs(guests, 0711, e) < 0)
        return -1;
    if (fs_make_dirs(agents, 0755, e) < 0)
        return -1;
    return check_run_folder(agents, e);
}

static int open_journal(struct host *h, struct err *e)
{
    cleanup_free char *path = fs_path("%s/journal", h->state_folder);
    return journal_open(path, &h->journal, e);
}

static int claim_new(struct host *h, struct err *e)
{
    h->claim = calloc(1, sizeof *h->claim);
    if (!h->claim)
        return err_system(e, ENOMEM, "cannot open the host");
    h->claim->state_fd = -1;
    return 0;
}

static int open_steps(struct host *h, struct err *e)
{
    cleanup_close int cleaning = -1;
    if (set_defaults(h, e) < 0 || make_folders(h, e) < 0 ||
        host_lock_cleaning(h, &cleaning, e) < 0 ||
        lock_state(h->state_folder, &h->claim->state_fd, e) < 0 ||
        read_id(h->state_folder, h->id, e) < 0)
        return -1;
    if (registry_enter(h->run_folder, h->id, h->state_folder, h->libvirt_uri, &h->claim->entry, e) <
        0)
        return -1;
    return open_journal(h, e);
}

int host_open(struct host *h, struct err *e)
{
    if (claim_new(h, e) < 0)
        return -1;
    if (open_steps(h, e) == 0)
        return 0;
    host_close(h);
    return err_prefix(e, "agent's host");
}

void host_keep_registered(struct host *h)
{
    if (h->claim)
        h->claim->left_over = true;
}

int host_keep_guest(struct host *h, const char *guest, struct err *e)
{
    host_keep_registered(h);
    return registry_keep_guest(h->claim->entry, guest, e);
}

static void claim_free(struct host_claim *claim)
{
    if (!claim)
        return;
    registry_leave(&claim->entry, claim->left_over);
    if (claim->stand_in && !claim->left_over) {
        cleanup_err struct err e = ERR_INIT;
        if (fs_remove_tree(claim->stand_in, &e) < 0)
            log_warning("%s", err_text(&e));
    }
    free(claim->stand_in);
    if (claim->state_fd >= 0)
        close(claim->state_fd);
    free(claim);
}

void host_close(struct host *h)
{
    if (h->journal)
        journal_close(&h->journal);
    claim_free(h->claim);
    free(h->state_folder);
    free(h->images_folder);
    free(h->run_folder);
    free(h->runner_path);
    free(h->guestd_path);
    free(h->libvirt_uri);
    free(h->cpus);
    *h = (struct host){0};
}

/* ---- Sweeping ---- */

static int remove_guest_folders(const char *state_folder, unsigned *removed, struct err *e)
{
    cleanup_free char *guests = fs_path("%s/guests", state_folder);
    DIR *folder = opendir(guests);
    if (!folder)
        return errno == ENOENT ? 0 : err_system(e, errno, "cannot read %s", guests);
    struct err first = ERR_INIT;
    struct dirent *entry;
    while ((entry = readdir(folder))) {
        if (entry->d_name[0] == '.')
            continue;
        cleanup_free char *path = fs_path("%s/%s", guests, entry->d_name);
        cleanup_err struct err one = ERR_INIT;
        if (fs_remove_tree(path, &one) == 0)
            ++*removed;
        else if (first.code == ERR_NONE)
            err_move(&first, &one);
    }
    closedir(folder);
    return err_move(e, &first);
}

int host_sweep(struct host *h, unsigned *removed, struct err *e)
{
    cleanup_err struct err undo = ERR_INIT;
    cleanup_err struct err folders = ERR_INIT;
    /* Mounts lie in guests' folders, so they go first; one that stays keeps its folder. */
    journal_undo_all(h->journal, removed, &undo);
    remove_guest_folders(h->state_folder, removed, &folders);
    if (err_move(e, &undo) < 0)
        return -1;
    return err_move(e, &folders);
}

/* ---- Dead agents ---- */

int host_registered(const char *run_folder, char (**ret_ids)[9], size_t *ret_n, struct err *e)
{
    return registry_list(run_folder, ret_ids, ret_n, e);
}

static bool still_its_folder(const char *state_folder, const char *id)
{
    cleanup_free char *path = fs_path("%s/id", state_folder);
    cleanup_free char *text = NULL;
    size_t length = 0;
    return fs_read(path, 64, &text, &length, NULL) == 0 && strncmp(text, id, 8) == 0;
}

/* A test's or a campaign's folder may be deleted while its guests still run: they are found by id.
 */
static int make_stand_in(struct host *h, struct err *e)
{
    h->claim->stand_in = fs_path("%s/agents/%s.state", h->run_folder, h->id);
    free(h->state_folder);
    h->state_folder = fs_path("%s", h->claim->stand_in);
    return make_folders(h, e);
}

static char *copy_text(const char *text)
{
    return text ? fs_path("%s", text) : NULL;
}

static int open_dead_steps(const char *id, struct host *h, struct err *e)
{
    if (set_defaults(h, e) < 0 || registry_take_over(h->run_folder, id, &h->claim->entry,
                                                     &h->state_folder, &h->libvirt_uri, e) < 0)
        return -1;
    memcpy(h->id, id, 9);
    /* From here on a failure must leave the entry for the next start. */
    h->claim->left_over = true;
    if (!still_its_folder(h->state_folder, id) && make_stand_in(h, e) < 0)
        return -1;
    if (lock_state(h->state_folder, &h->claim->state_fd, e) < 0 || open_journal(h, e) < 0)
        return -1;
    h->claim->left_over = false;
    return 0;
}

int host_open_dead(const struct host *own, const char *id, struct host *ret, struct err *e)
{
    struct host h = {
        .images_folder = copy_text(own->images_folder),
        .run_folder = copy_text(own->run_folder),
        .runner_path = copy_text(own->runner_path),
        .guestd_path = copy_text(own->guestd_path),
    };
    if (claim_new(&h, e) < 0 || open_dead_steps(id, &h, e) < 0) {
        host_close(&h);
        return -1;
    }
    *ret = h;
    return 0;
}
