/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Where the coordinator is: the command line first, then client.conf. */
#include "coordinator/ctl/client.h"

#include "common/cleanup.h"
#include "common/conf.h"
#include "common/fs.h"

#include <stdlib.h>
#include <string.h>

#define SYSTEM_CONF "/etc/plimsoll/client.conf"

const struct key_row client_target_keys[] = {
    {.name = "coordinator",
     .type = KEY_TEXT,
     .least = 1,
     .most = 255,
     .help = "Where the coordinator listens for clients, as tcp://HOST:7462"},
    {.name = "coordinator_key",
     .type = KEY_TEXT,
     .least = 1,
     .most = 4095,
     .help = "The coordinator's public key, or the path of a file that holds it"},
    {.name = "key",
     .type = KEY_TEXT,
     .least = 1,
     .most = 4095,
     .help = "Path of this client's own key pair"},
    {.name = "name",
     .type = KEY_NAME,
     .most = 63,
     .help = "The name under which the coordinator allowed the key"},
    {.name = NULL},
};

void client_target_clear(struct client_target *t)
{
    free(t->endpoint);
    free(t->server_key);
    free(t->key);
    free(t->name);
    *t = (struct client_target){0};
}

/* The first of the places that exists, else the last. */
static char *conf_path(void)
{
    const char *told = getenv("PLIMSOLL_CLIENT_CONF");
    if (told && *told)
        return fs_path("%s", told);
    const char *config = getenv("XDG_CONFIG_HOME");
    const char *home = getenv("HOME");
    cleanup_free char *own = NULL;
    if (config && *config)
        own = fs_path("%s/plimsoll/client.conf", config);
    else if (home && *home)
        own = fs_path("%s/.config/plimsoll/client.conf", home);
    return own && fs_exists(own) ? steal(own) : fs_path(SYSTEM_CONF);
}

static char *own_copy(const char *option, const struct conf *conf, const char *key)
{
    const char *text = option ? option : conf ? conf_text(conf, key) : NULL;
    return text ? fs_path("%s", text) : NULL;
}

/* "/etc/plimsoll/keys/anna.key" -> "anna" */
static char *name_of_key(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *name = fs_path("%s", slash ? slash + 1 : path);
    char *suffix = strrchr(name, '.');
    if (suffix && suffix != name && strcmp(suffix, ".key") == 0)
        *suffix = '\0';
    return name;
}

static int check_target(const struct client_target *t, const char *path, struct err *e)
{
    static const char text[] = "%s is neither on the command line (%s) nor in %s (%s)%s";
    if (!t->endpoint)
        return err_set(e, ERR_INPUT, text, "the coordinator's address", "--coordinator", path,
                       "coordinator", "");
    if (!t->server_key)
        return err_set(e, ERR_INPUT, text, "the coordinator's public key", "--server-key", path,
                       "coordinator_key", "");
    if (!t->key)
        return err_set(e, ERR_INPUT, text, "our own key pair", "--key", path, "key",
                       "; `coordctl keys make FILE` makes one");
    return 0;
}

bool client_is_configured(const struct client_options *options)
{
    cleanup_free char *path = conf_path();
    return options->endpoint || fs_exists(path);
}

int client_target_find(const struct client_options *options, struct client_target *ret,
                       struct err *e)
{
    cleanup_free char *path = conf_path();
    cleanup_conf struct conf *conf = NULL;
    bool complete = options->endpoint && options->server_key && options->key;
    cleanup_err struct err why = ERR_INIT;
    if (!complete && conf_load(path, client_target_keys, &conf, &why) < 0 &&
        why.code != ERR_NOT_FOUND)
        return err_move(e, &why);
    struct client_target t = {
        .endpoint = own_copy(options->endpoint, conf, "coordinator"),
        .server_key = own_copy(options->server_key, conf, "coordinator_key"),
        .key = own_copy(options->key, conf, "key"),
        .name = own_copy(options->name, conf, "name"),
    };
    if (check_target(&t, path, e) < 0) {
        client_target_clear(&t);
        return -1;
    }
    if (!t.name)
        t.name = name_of_key(t.key);
    *ret = t;
    return 0;
}
