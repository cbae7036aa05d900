/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "coordinator/ctl/run_folder.h"

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/conf.h"
#include "common/fs.h"
#include "coordinator/ctl/place.h"
#include "proto/key_table.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

static const struct key_row endpoint_rows[] = {
    {.name = "agents", .type = KEY_TEXT, .least = 1, .most = 255, .required = true},
    {.name = "clients", .type = KEY_TEXT, .least = 1, .most = 255, .required = true},
    {.name = NULL},
};

/* As an agent's name must be: [a-z0-9][a-z0-9._-]*, at most 63 bytes. */
static char *host_name(void)
{
    struct utsname u;
    char *name = fs_path("%.63s", uname(&u) == 0 ? u.nodename : "");
    for (char *s = name; *s; s++) {
        if (*s >= 'A' && *s <= 'Z')
            *s = (char)(*s - 'A' + 'a');
        bool good =
            (*s >= 'a' && *s <= 'z') || (*s >= '0' && *s <= '9') || (s > name && strchr("._-", *s));
        if (!good)
            *s = s > name ? '-' : 'h';
    }
    if (*name)
        return name;
    free(name);
    return fs_path("localhost");
}

/* As a coordinator makes one: UTC time, name, 4 hex digits. */
static char *new_campaign(const char *plan_name)
{
    unsigned short random = 0;
    char when[32];
    struct tm tm;
    time_t now = (time_t)(clock_realtime_ns() / NS_PER_S);
    gmtime_r(&now, &tm);
    strftime(when, sizeof when, "%Y%m%dT%H%M%SZ", &tm);
    if (getrandom(&random, sizeof random, 0) != (ssize_t)sizeof random)
        random = (unsigned short)(clock_monotonic_ns() >> 8);
    return fs_path("%s-%s-%04x", when, plan_name, random);
}

static void fill_paths(struct run_folder *f)
{
    f->store = fs_path("%s/store.db", f->path);
    f->endpoints = fs_path("%s/endpoints", f->path);
    f->coordinator_conf = fs_path("%s/coordinator.conf", f->path);
    f->agent_conf = fs_path("%s/agent.conf", f->path);
    f->host = host_name();
}

void run_folder_clear(struct run_folder *f)
{
    free(f->path);
    free(f->campaign);
    free(f->store);
    free(f->endpoints);
    free(f->coordinator_conf);
    free(f->agent_conf);
    free(f->host);
    if (f->lock_fd >= 0)
        close(f->lock_fd);
    *f = (struct run_folder){.lock_fd = -1};
}

static int make_pair(const char *path, const char *keys, enum key_role role, const char *name,
                     struct err *e)
{
    struct key_pair pair;
    if (key_pair_make(&pair, e) < 0 || key_pair_save(path, &pair, e) < 0)
        return -1;
    return role == KEY_ROLE_NONE ? 0 : key_table_allow(keys, role, name, pair.public_z85, 0, e);
}

static int make_keys(const struct run_folder *f, struct err *e)
{
    cleanup_free char *keys = fs_path("%s/keys", f->path);
    cleanup_free char *agents = fs_path("%s/agents", keys);
    cleanup_free char *clients = fs_path("%s/clients", keys);
    cleanup_free char *own = fs_path("%s/coordinator.key", keys);
    cleanup_free char *agent = fs_path("%s/agent.key", f->path);
    cleanup_free char *client = fs_path("%s/client.key", f->path);
    if (fs_make_dirs(agents, 0700, e) < 0 || fs_make_dirs(clients, 0700, e) < 0)
        return -1;
    if (make_pair(own, keys, KEY_ROLE_NONE, NULL, e) < 0 ||
        make_pair(agent, keys, KEY_ROLE_AGENT, f->host, e) < 0)
        return -1;
    return make_pair(client, keys, KEY_ROLE_CLIENT, "run", e);
}

/* Paths are put between quotes in libconfig's syntax. */
static int check_path(const char *path, struct err *e)
{
    for (const unsigned char *s = (const unsigned char *)path; *s; s++)
        if (*s < 0x20 || *s == '"' || *s == '\\')
            return err_set(e, ERR_INPUT,
                           "%s: a run's folder cannot have quotes, backslashes or control "
                           "characters in its path",
                           path);
    return 0;
}

static int write_coordinator_conf(const struct run_folder *f, struct err *e)
{
    cleanup_free char *text = fs_path("agents = \"tcp://127.0.0.1:*\"\n"
                                      "clients = \"tcp://127.0.0.1:*\"\n"
                                      "keys = \"%s/keys\"\n"
                                      "store = \"%s\"\n"
                                      "endpoints = \"%s\"\n",
                                      f->path, f->store, f->endpoints);
    return fs_write_atomic(f->coordinator_conf, text, strlen(text), 0600, e);
}

/* ---- One at a time ---- */

static int open_lock(const char *path, int *ret_fd, struct err *e)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_system(e, errno, "cannot open %s", path);
    *ret_fd = fd;
    return 0;
}

static int take(struct run_folder *f, struct err *e)
{
    cleanup_free char *path = fs_path("%s/lock", f->path);
    if (open_lock(path, &f->lock_fd, e) < 0)
        return -1;
    if (flock(f->lock_fd, LOCK_EX | LOCK_NB) < 0)
        return err_set(e, ERR_REFUSED, "another coordctl runs it now");
    return 0;
}

/* Until whoever has this lock has ended; Ctrl-C ends us, since nothing has been started yet. */
static int wait_for(const char *path, struct err *e)
{
    cleanup_close int fd = -1;
    if (open_lock(path, &fd, e) < 0)
        return -1;
    if (flock(fd, LOCK_EX | LOCK_NB) == 0)
        return 0;
    fputs("Waiting until the programs of the earlier run have cleaned up.\n", stderr);
    return flock(fd, LOCK_EX) < 0 ? err_system(e, errno, "cannot lock %s", path) : 0;
}

static int wait_for_earlier(const struct run_folder *f, struct err *e)
{
    cleanup_free char *agent = fs_path("%s/agent/lock", f->path);
    cleanup_free char *store = fs_path("%s.lock", f->store);
    return wait_for(agent, e) < 0 || wait_for(store, e) < 0 ? -1 : 0;
}

/* ---- Making and opening ---- */

int run_folder_make(const char *plan_name, struct run_folder *ret, struct err *e)
{
    cleanup_free char *runs = place_runs();
    struct run_folder f = {.campaign = new_campaign(plan_name), .lock_fd = -1};
    f.path = fs_path("%s/%s", runs, f.campaign);
    fill_paths(&f);
    cleanup_free char *agent = fs_path("%s/agent", f.path);
    if (check_path(f.path, e) < 0 || fs_make_dirs(agent, 0700, e) < 0 || take(&f, e) < 0 ||
        make_keys(&f, e) < 0 || write_coordinator_conf(&f, e) < 0) {
        run_folder_clear(&f);
        return -1;
    }
    *ret = f;
    return 0;
}

int run_folder_open(const char *campaign, struct run_folder *ret, struct err *e)
{
    cleanup_free char *store = NULL;
    struct run_folder f = {.lock_fd = -1};
    if (place_store(campaign, &store, &f.campaign, e) < 0)
        return -1;
    char *slash = strrchr(store, '/');
    f.path = fs_path("%.*s", slash ? (int)(slash - store) : 1, slash ? store : ".");
    fill_paths(&f);
    if (check_path(f.path, e) < 0 || take(&f, e) < 0 || wait_for_earlier(&f, e) < 0 ||
        (unlink(f.endpoints) < 0 && errno != ENOENT) || write_coordinator_conf(&f, e) < 0) {
        run_folder_clear(&f);
        return err_prefix(e, "cannot resume %s", campaign);
    }
    *ret = f;
    return 0;
}

static int write_agent_conf(const struct run_folder *f, const char *agents,
                            const struct key_pair *coordinator, struct err *e)
{
    cleanup_free char *images = place_images();
    cleanup_free char *text =
        fs_path("name = \"%s\"\n"
                "coordinator = \"%s\"\n"
                "coordinator_key = \"%s\"\n"
                "key = \"%s/agent.key\"\n"
                "state = \"%s/agent\"\n"
                "images = \"%s\"\n"
                "allow_process = true\n"
                "allow_fake = true\n",
                f->host, agents, coordinator->public_z85, f->path, f->path, images);
    return fs_write_atomic(f->agent_conf, text, strlen(text), 0600, e);
}

int run_folder_connect(const struct run_folder *f, struct client_target *ret, struct err *e)
{
    struct conf *endpoints = NULL;
    struct key_pair coordinator;
    cleanup_free char *own = fs_path("%s/keys/coordinator.key", f->path);
    if (conf_load(f->endpoints, endpoint_rows, &endpoints, e) < 0)
        return -1;
    int result = key_pair_load(own, &coordinator, e);
    if (result == 0)
        result = write_agent_conf(f, conf_text(endpoints, "agents"), &coordinator, e);
    if (result == 0)
        *ret = (struct client_target){
            .endpoint = fs_path("%s", conf_text(endpoints, "clients")),
            .server_key = fs_path("%s", coordinator.public_z85),
            .key = fs_path("%s/client.key", f->path),
            .name = fs_path("run"),
        };
    conf_free(&endpoints);
    return result;
}
