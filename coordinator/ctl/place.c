/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "coordinator/ctl/place.h"

#include "common/cleanup.h"
#include "common/fs.h"
#include "coordinator/child.h"
#include "coordinator/store/read.h"

#include <limits.h>
#include <string.h>
#include <sys/stat.h>

/* Takes the path; NULL where nobody can execute it. */
static char *executable(char *path)
{
    if (access(path, X_OK) == 0)
        return path;
    free(path);
    return NULL;
}

int place_image_builder(char **ret_path, struct err *e)
{
    cleanup_free char *folder = child_folder();
    char *path = executable(fs_path("%s/../libexec/plimsoll/image", folder));
    if (!path)
        path = executable(fs_path("%s/deploy/image", PLIMSOLL_SOURCE_DIR));
    if (!path)
        return err_set(e, ERR_NOT_FOUND, "the image builder is not in %s/../libexec/plimsoll",
                       folder);
    *ret_path = path;
    return 0;
}

char *place_images(void)
{
    const char *told = getenv("PLIMSOLL_IMAGES");
    return fs_path("%s", told && *told ? told : "/var/lib/plimsoll/images");
}

char *place_state(void)
{
    if (geteuid() == 0)
        return fs_path("/var/lib/plimsoll");
    const char *state = getenv("XDG_STATE_HOME");
    if (state && *state)
        return fs_path("%s/plimsoll", state);
    const char *home = getenv("HOME");
    return fs_path("%s/.local/state/plimsoll", home && *home ? home : "/tmp");
}

char *place_runs(void)
{
    const char *told = getenv("PLIMSOLL_RUNS");
    if (told && *told)
        return fs_path("%s", told);
    cleanup_free char *state = place_state();
    return fs_path("%s/runs", state);
}

static bool is_folder(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* What `id` may stand for, as the path of a store that exists; NULL. */
static char *find_store(const char *id)
{
    cleanup_free char *runs = place_runs();
    cleanup_free char *run = fs_path("%s/%s", runs, id);
    const char *folder = !strchr(id, '/') && is_folder(run) ? run : is_folder(id) ? id : NULL;
    char *store = folder ? fs_path("%s/store.db", folder) : fs_path("%s", id);
    struct stat st;
    if (stat(store, &st) == 0 && S_ISREG(st.st_mode) && *id)
        return store;
    free(store);
    return NULL;
}

static int take_id(void *arg, const struct read_campaign *c, struct err *e)
{
    (void)e;
    *(char **)arg = fs_path("%s", c->id);
    return 0;
}

int place_store(const char *id, char **ret_store, char **ret_campaign, struct err *e)
{
    cleanup_free char *store = find_store(id);
    if (!store) {
        cleanup_free char *runs = place_runs();
        return err_set(e, ERR_NOT_FOUND, "no campaign `%s` was run on this host (looked in %s)", id,
                       runs);
    }
    struct reader *r = NULL;
    char *campaign = NULL;
    if (read_open(store, &r, e) < 0)
        return -1;
    int result = read_campaigns(r, 1, take_id, &campaign, e);
    read_close(&r);
    if (result < 0)
        return -1;
    if (!campaign)
        return err_set(e, ERR_NOT_FOUND, "%s holds no campaign", store);
    *ret_store = steal(store);
    *ret_campaign = campaign;
    return 0;
}
