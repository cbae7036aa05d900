// SPDX-License-Identifier: GPL-3.0-or-later
#include "agent/guestd/containers.h"

#include "common/cleanup.h"
#include "common/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <lxc/lxccontainer.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct container {
    struct container *next;
    struct lxc_container *lxc; /* configured here; once started, the way to its monitor */
    pid_t monitor;             /* 0: not started, or ended and reaped */
    char *lock_folder;         /* liblxc leaves it behind */
};

static struct container *containers;

static struct container **find(const char *name)
{
    struct container **at = &containers;
    while (*at && strcmp((*at)->lxc->name, name) != 0)
        at = &(*at)->next;
    return at;
}

static int known(const char *name, struct container **ret, struct err *e)
{
    struct container *c = *find(name);
    if (!c)
        return err_set(e, ERR_NOT_FOUND, "no container %s was made", name);
    *ret = c;
    return 0;
}

/* liblxc's error_string is mostly empty; whoever asked has its log. */
static int lxc_failed(const struct container *c, const char *what, struct err *e)
{
    return err_set(e, ERR_SYSTEM, "liblxc could not %s %s: %s", what, c->lxc->name,
                   c->lxc->error_string ? c->lxc->error_string : "it gave no reason");
}

/* liblxc makes /run/lxc/lock/FOLDER; folders are removed upwards as long as nobody else uses them.
 */
static void remove_locks(char *folder)
{
    while (strlen(folder) >= strlen("/run/lxc") && (rmdir(folder) == 0 || errno == ENOENT))
        *strrchr(folder, '/') = '\0';
}

static void container_free(struct container *c)
{
    if (c->lxc)
        lxc_container_put(c->lxc);
    if (c->lock_folder)
        remove_locks(c->lock_folder);
    free(c->lock_folder);
    free(c);
}

static int configure(struct container *c, const Plimsoll__ContainerCreate *request, struct err *e)
{
    struct lxc_container *lxc = c->lxc;
    if (!lxc->set_config_item(lxc, "lxc.log.file", request->log) ||
        !lxc->set_config_item(lxc, "lxc.log.level", "WARN"))
        return lxc_failed(c, "open the log of", e);
    for (size_t i = 0; i < request->n_items; i++) {
        const Plimsoll__Factor *item = request->items[i];
        if (!lxc->set_config_item(lxc, item->key, item->value))
            return err_set(e, ERR_SYSTEM, "liblxc does not take %s = %s", item->key, item->value);
    }
    /* The monitor must not hold this process's socket: its end would go unnoticed. */
    lxc->want_close_all_fds(lxc, true);
    /* container_start forks once; liblxc's own way into the background forks twice and waits. */
    lxc->want_daemonize(lxc, false);
    return 0;
}

int container_create(const Plimsoll__ContainerCreate *request, struct err *e)
{
    if (*find(request->name))
        return err_set(e, ERR_INPUT, "a container %s was made before", request->name);
    struct container *c = calloc(1, sizeof(*c));
    if (!c)
        return err_system(e, ENOMEM, "cannot make the container %s", request->name);
    c->lock_folder = fs_path("/run/lxc/lock%s", request->folder);
    c->lxc = lxc_container_new(request->name, request->folder);
    if (!c->lxc)
        err_set(e, ERR_SYSTEM, "liblxc cannot make the container %s in %s", request->name,
                request->folder);
    if (!c->lxc || configure(c, request, e) < 0) {
        container_free(c);
        return -1;
    }
    c->next = containers;
    containers = c;
    return 0;
}

/* In the child. Whatever this process's own signals do is not the guest's business. */
static void leave_the_terminal(void)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    for (int fd = STDIN_FILENO; null >= 0 && fd <= STDERR_FILENO; fd++)
        dup2(null, fd);
    signal(SIGCHLD, SIG_DFL);
    signal(SIGPIPE, SIG_DFL);
    setsid();
}

/* Becomes the container's monitor and ends with it. */
_Noreturn static void monitor(struct container *c, char **argv)
{
    leave_the_terminal();
    bool started = c->lxc->start(c->lxc, 0, argv);
    _exit(started ? EXIT_SUCCESS : EXIT_FAILURE);
}

int container_start(const Plimsoll__ContainerStart *request, pid_t *ret_monitor, struct err *e)
{
    struct container *c = NULL;
    if (known(request->name, &c, e) < 0)
        return -1;
    if (c->monitor)
        return err_set(e, ERR_INPUT, "the container %s was started before", request->name);
    cleanup_free char **argv = calloc(request->n_argv + 1, sizeof(*argv));
    if (!argv)
        return err_system(e, ENOMEM, "cannot start %s", request->name);
    memcpy(argv, request->argv, request->n_argv * sizeof(*argv));
    pid_t pid = fork();
    if (pid < 0)
        return err_system(e, errno, "cannot start %s", request->name);
    if (pid == 0)
        monitor(c, request->n_argv ? argv : NULL);
    c->monitor = pid;
    *ret_monitor = pid;
    return 0;
}

int container_find_init(const char *name, pid_t *ret_init, struct err *e)
{
    struct container *c = NULL;
    if (known(name, &c, e) < 0)
        return -1;
    pid_t init = c->lxc->init_pid(c->lxc);
    if (init <= 0)
        return err_set(e, ERR_NOT_FOUND, "%s does not run", name);
    *ret_init = init;
    return 0;
}

void container_reaped(pid_t pid)
{
    for (struct container *c = containers; c; c = c->next)
        if (c->monitor == pid)
            c->monitor = 0;
}

int container_stop(const char *name, struct err *e)
{
    struct container *c = NULL;
    if (known(name, &c, e) < 0)
        return -1;
    if (!c->lxc->is_running(c->lxc)) {
        /* Not yet, perhaps: its init dies with the monitor (PR_SET_PDEATHSIG, by liblxc). */
        if (c->monitor)
            kill(c->monitor, SIGKILL);
        return 0;
    }
    if (!c->lxc->stop(c->lxc) && c->lxc->is_running(c->lxc))
        return lxc_failed(c, "stop", e);
    return 0;
}

int container_destroy(const char *name, struct err *e)
{
    struct container **at = find(name);
    struct container *c = *at;
    if (!c)
        return 0;
    if (container_stop(name, e) < 0)
        return -1;
    *at = c->next;
    container_free(c);
    return 0;
}
