// SPDX-License-Identifier: GPL-3.0-or-later
#include "agent/guestd/containers.h"

#include "common/cleanup.h"
#include "common/fs.h"

#include <errno.h>
#include <lxc/lxccontainer.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LOG_MOST_BYTES = 1 << 20 };

struct container {
    struct container *next;
    struct lxc_container *lxc;
    char *log;
    char *lock_folder; /* liblxc leaves it behind */
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

/* liblxc's error_string is mostly empty; the first ERROR of its log is what a person wants to read:
 * "lxc NAME DATE ERROR MODULE - FILE:FUNCTION:LINE - TEXT". */
static char *first_error(const char *log)
{
    cleanup_free char *text = NULL;
    size_t length = 0;
    if (fs_read(log, LOG_MOST_BYTES, &text, &length, NULL) < 0)
        return NULL;
    char *line = strstr(text, " ERROR ");
    char *place = line ? strstr(line, " - ") : NULL;
    char *words = place ? strstr(place + 3, " - ") : NULL;
    if (!words)
        return NULL;
    words += 3;
    words[strcspn(words, "\n")] = '\0';
    return fs_path("%s", words);
}

static int lxc_failed(const struct container *c, const char *what, struct err *e)
{
    cleanup_free char *words = first_error(c->log);
    if (!words && c->lxc->error_string)
        words = fs_path("%s", c->lxc->error_string);
    return err_set(e, ERR_SYSTEM, "liblxc could not %s %s: %s", what, c->lxc->name,
                   words ? words : "it gave no reason");
}

/* liblxc makes /run/lxc/lock/FOLDER; folders are removed upwards as long as nobody else uses them.
 */
static void remove_locks(char *folder)
{
    while (strlen(folder) >= strlen("/run/lxc") && rmdir(folder) == 0)
        *strrchr(folder, '/') = '\0';
}

static void container_free(struct container *c)
{
    if (c->lxc)
        lxc_container_put(c->lxc);
    if (c->lock_folder)
        remove_locks(c->lock_folder);
    free(c->lock_folder);
    free(c->log);
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
    lxc->want_daemonize(lxc, true);
    return 0;
}

int container_create(const Plimsoll__ContainerCreate *request, struct err *e)
{
    if (*find(request->name))
        return err_set(e, ERR_INPUT, "a container %s was made before", request->name);
    struct container *c = calloc(1, sizeof(*c));
    if (!c)
        return err_system(e, ENOMEM, "cannot make the container %s", request->name);
    c->log = fs_path("%s", request->log);
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

int container_start(const Plimsoll__ContainerStart *request, pid_t *ret_init, struct err *e)
{
    struct container *c = NULL;
    if (known(request->name, &c, e) < 0)
        return -1;
    char **argv = calloc(request->n_argv + 1, sizeof(*argv));
    if (!argv)
        return err_system(e, ENOMEM, "cannot start %s", request->name);
    memcpy(argv, request->argv, request->n_argv * sizeof(*argv));
    bool started = c->lxc->start(c->lxc, 0, request->n_argv ? argv : NULL);
    free(argv);
    if (!started)
        return lxc_failed(c, "start", e);
    /* Negative when the container has ended already, which is no failure of the start. */
    *ret_init = c->lxc->init_pid(c->lxc);
    return 0;
}

int container_stop(const char *name, struct err *e)
{
    struct container *c = NULL;
    if (known(name, &c, e) < 0)
        return -1;
    if (c->lxc->is_running(c->lxc) && !c->lxc->stop(c->lxc) && c->lxc->is_running(c->lxc))
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
