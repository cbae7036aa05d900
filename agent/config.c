/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agent/config.h"

#include "common/cleanup.h"
#include "common/conf.h"
#include "common/fs.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

const struct key_row agent_config_keys[] = {
    {.name = "name",
     .type = KEY_NAME,
     .required = true,
     .help = "What the coordinator calls this host: the name its key was allowed under"},
    {.name = "coordinator",
     .type = KEY_TEXT,
     .required = true,
     .least = 1,
     .most = 512,
     .help = "The coordinator's port for agents, like tcp://10.0.0.1:7461"},
    {.name = "coordinator_key",
     .type = KEY_TEXT,
     .required = true,
     .least = 1,
     .most = 4096,
     .help = "The coordinator's public key, 40 characters of Z85, or the path of a file with it"},
    {.name = "key",
     .type = KEY_TEXT,
     .required = true,
     .least = 1,
     .most = 4096,
     .help = "Path of this agent's own pair of keys"},
    {.name = "state",
     .type = KEY_TEXT,
     .least = 1,
     .most = 4096,
     .help = "The folder of this agent's id, journal and spool"},
    {.name = "images", .type = KEY_TEXT, .least = 1, .most = 4096, .help = "The folder of images"},
    {.name = "libvirt_uri",
     .type = KEY_TEXT,
     .least = 1,
     .most = 512,
     .help = "Which libvirt runs this host's VMs; qemu:///system where it is not given"},
    {.name = "allow_process",
     .type = KEY_FLAG,
     .fallback = "false",
     .help = "Whether plans may run programs on the host itself"},
    {.name = "allow_fake",
     .type = KEY_FLAG,
     .fallback = "false",
     .help = "Whether the backend for tests may be used"},
    {.name = "cpus",
     .type = KEY_INTEGER,
     .is_list = true,
     .least = 0,
     .most = CPU_SETSIZE - 1,
     .help =
         "The CPUs guests may be confined to; all that the agent may use where it is not given"},
    {0},
};

static void take_text(char **to, const struct conf *c, const char *key)
{
    if (!conf_has(c, key))
        return;
    free(*to);
    *to = fs_path("%s", conf_text(c, key));
}

static int take_cpus(struct host *h, const struct conf *c, const char *path, struct err *e)
{
    size_t n = 0;
    const char *const *items = conf_list(c, "cpus", &n);
    if (n == 0)
        return 0;
    cpu_set_t usable;
    if (sched_getaffinity(0, sizeof usable, &usable) < 0)
        return err_system(e, errno, "cannot read the CPUs this process may use");
    free(h->cpus);
    h->cpus = calloc(n, sizeof *h->cpus);
    if (!h->cpus)
        return err_system(e, ENOMEM, "cannot list CPUs");
    for (size_t i = 0; i < n; i++) {
        h->cpus[i] = (int)strtol(items[i], NULL, 10);
        if (!CPU_ISSET((size_t)h->cpus[i], &usable))
            return err_set(e, ERR_INPUT, "%s: cpus: %d is no CPU that this agent may use", path,
                           h->cpus[i]);
    }
    h->n_cpus = (int)n;
    return 0;
}

static int take_host(struct host *h, const struct conf *c, const char *path, struct err *e)
{
    take_text(&h->state_folder, c, "state");
    take_text(&h->images_folder, c, "images");
    take_text(&h->libvirt_uri, c, "libvirt_uri");
    h->allow_process = conf_flag(c, "allow_process", false);
    h->allow_fake = conf_flag(c, "allow_fake", false);
    return take_cpus(h, c, path, e);
}

static int take_keys(struct agent_config *to, const struct conf *c, const char *path, struct err *e)
{
    const char *server = conf_text(c, "coordinator_key");
    if (key_is_z85(server))
        memcpy(to->server_z85, server, KEY_Z85_BYTES);
    else if (strchr(server, '/') == NULL)
        return err_set(e, ERR_INPUT,
                       "%s: coordinator_key: expected 40 characters of Z85 or a path with a slash",
                       path);
    else if (key_public_load(server, to->server_z85, e) < 0)
        return err_prefix(e, "%s: coordinator_key", path);
    if (key_pair_load(conf_text(c, "key"), &to->key, e) < 0)
        return err_prefix(e, "%s: key", path);
    return 0;
}

int agent_config_load(const char *path, struct agent_config *ret, struct host *host, struct err *e)
{
    cleanup_conf struct conf *c = NULL;
    struct agent_config config = {0};
    if (conf_load(path, agent_config_keys, &c, e) < 0 || take_host(host, c, path, e) < 0 ||
        take_keys(&config, c, path, e) < 0)
        return -1;
    config.name = fs_path("%s", conf_text(c, "name"));
    config.endpoint = fs_path("%s", conf_text(c, "coordinator"));
    config.key_path = fs_path("%s", conf_text(c, "key"));
    *ret = config;
    return 0;
}

int agent_config_load_host(const char *path, struct host *host, struct err *e)
{
    cleanup_conf struct conf *c = NULL;
    return conf_load(path, agent_config_keys, &c, e) < 0 ? -1 : take_host(host, c, path, e);
}

void agent_config_clear(struct agent_config *c)
{
    free(c->name);
    free(c->endpoint);
    free(c->key_path);
    explicit_bzero(c, sizeof *c);
}
