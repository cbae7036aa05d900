/* SPDX-License-Identifier: GPL-3.0-or-later */
/* coordctl keys: makes key pairs and says who may connect. It works on the files of this machine
 * alone: nobody can allow a key over the network. */
#include "proto/keys.h"

#include "common/cleanup.h"
#include "common/fs.h"
#include "coordinator/ctl/options.h"
#include "coordinator/ctl/verb.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int run(int argc, char **argv);

const struct verb verb_keys = {
    .name = "keys",
    .arguments = "make [FILE] | allow --agent NAME KEY | allow --client NAME KEY | list",
    .summary = "Make key pairs, and list or allow those that may connect",
    .help =
        "  make [FILE]               write a new pair to FILE (default: coordinator.key in the "
        "folder of\n"
        "                            keys), mode 0600, never over another, and print its public "
        "key\n"
        "  allow --agent NAME KEY    let the agent NAME connect with KEY\n"
        "  allow --client NAME KEY   the same for a client (coordctl on another machine)\n"
        "  list                      role, name and public key of all that may connect\n\n"
        "KEY is a public key (40 characters) or a file that holds one.\n\n"
        "  --keys FOLDER    the coordinator's folder of keys; default /etc/plimsoll/keys, not "
        "root:\n"
        "                   $XDG_CONFIG_HOME/plimsoll/keys\n\n"
        "Run `allow` on the coordinator's own machine; a running coordinator sees the change at "
        "once.\n"
        "To take a key away, remove its file, agents/NAME.key or clients/NAME.key.\n\n"
        "On the host b:          coordctl keys make /etc/plimsoll/agent.key\n"
        "On the coordinator's:   coordctl keys allow --agent b 'the key that make printed'\n",
    .run = run,
};

struct options {
    const char *folder, *agent, *client;
};

static int complain(const struct err *e)
{
    fprintf(stderr, "coordctl keys: %s\n", err_text(e));
    return EXIT_USAGE;
}

static char *default_folder(void)
{
    const char *config = getenv("XDG_CONFIG_HOME");
    const char *home = getenv("HOME");
    if (geteuid() == 0 || (!(config && *config) && !(home && *home)))
        return fs_path("/etc/plimsoll/keys");
    if (config && *config)
        return fs_path("%s/plimsoll/keys", config);
    return fs_path("%s/.config/plimsoll/keys", home);
}

/* The folder that the file is to be in. */
static int make_folder_of(const char *path, struct err *e)
{
    cleanup_free char *folder = fs_path("%s", path);
    char *slash = strrchr(folder, '/');
    if (!slash || slash == folder)
        return 0;
    *slash = '\0';
    return fs_exists(folder) ? 0 : fs_make_dirs(folder, 0700, e);
}

static int make(const char *path)
{
    cleanup_err struct err e = ERR_INIT;
    struct key_pair pair;
    if (make_folder_of(path, &e) < 0 || key_pair_make(&pair, &e) < 0 ||
        key_pair_save(path, &pair, &e) < 0)
        return complain(&e);
    printf("%s\n", pair.public_z85);
    fprintf(stderr, "coordctl keys: the pair is in %s\n", path);
    sodium_memzero(&pair, sizeof pair);
    return EXIT_GOOD;
}

static int list(const char *folder)
{
    cleanup_err struct err e = ERR_INIT;
    struct key_table *t = NULL;
    if (key_table_load(folder, &t, &e) < 0)
        return complain(&e);
    /* By role, then as the table has them, which is no order that a person sees. */
    static const enum key_role roles[] = {KEY_ROLE_AGENT, KEY_ROLE_CLIENT};
    for (size_t r = 0; r < sizeof roles / sizeof *roles; r++)
        for (size_t i = 0; i < key_table_count(t); i++) {
            const char *name, *public_z85;
            if (key_table_at(t, i, &name, &public_z85) == roles[r])
                printf("%-7s %-24s %s\n", key_role_name(roles[r]), name, public_z85);
        }
    if (key_table_count(t) == 0)
        fprintf(stderr, "coordctl keys: nobody may connect: there is no key in %s\n", folder);
    key_table_free(t);
    return EXIT_GOOD;
}

static int allow(const struct options *o, const char *folder, const char *key)
{
    cleanup_err struct err e = ERR_INIT;
    char public_z85[KEY_Z85_BYTES];
    if (key_is_z85(key))
        memcpy(public_z85, key, sizeof public_z85);
    else if (!fs_exists(key))
        return options_complain(
            &verb_keys, "`%s` is neither a public key (40 characters of Z85) nor a file", key);
    else if (key_public_load(key, public_z85, &e) < 0)
        return complain(&e);
    enum key_role role = o->agent ? KEY_ROLE_AGENT : KEY_ROLE_CLIENT;
    const char *name = o->agent ? o->agent : o->client;
    if (key_table_allow(folder, role, name, public_z85, &e) < 0)
        return complain(&e);
    fprintf(stderr, "coordctl keys: %s `%s` may connect\n", key_role_name(role), name);
    return EXIT_GOOD;
}

static int dispatch(const struct options *o, const char *folder, char **words, int n)
{
    const char *action = n > 0 ? words[0] : "";
    bool named = o->agent || o->client;
    if (strcmp(action, "make") == 0 && n <= 2 && !named) {
        cleanup_free char *own = fs_path("%s/coordinator.key", folder);
        return make(n == 2 ? words[1] : own);
    }
    if (strcmp(action, "list") == 0 && n == 1 && !named)
        return list(folder);
    if (strcmp(action, "allow") == 0 && n == 2 && named && !(o->agent && o->client))
        return allow(o, folder, words[1]);
    if (strcmp(action, "allow") == 0)
        return options_complain(&verb_keys,
                                "expected `allow --agent NAME KEY` or `allow --client NAME KEY`");
    return options_complain(&verb_keys, "expected `make [FILE]`, `allow` or `list`");
}

static int run(int argc, char **argv)
{
    struct options o = {0};
    const struct option_row rows[] = {
        {.name = "keys", .text = &o.folder},
        {.name = "agent", .text = &o.agent},
        {.name = "client", .text = &o.client},
        {.name = NULL},
    };
    char **words = NULL;
    if (options_parse(&verb_keys, argc, argv, rows, 1, 2, &words) < 0)
        return EXIT_USAGE;
    cleanup_free char *folder = o.folder ? fs_path("%s", o.folder) : default_folder();
    int n = 0;
    while (words[n])
        n++;
    return dispatch(&o, folder, words, n);
}
