/* SPDX-License-Identifier: GPL-3.0-or-later */
/* coordctl keys: makes key pairs and says who may connect. It works on the files of this machine
 * alone: nobody can allow a key over the network. */
#include "proto/key_table.h"

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/fs.h"
#include "common/units.h"
#include "coordinator/ctl/options.h"
#include "coordinator/ctl/verb.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int run(int argc, char **argv);

const struct verb verb_keys = {
    .name = "keys",
    .arguments = "make [FILE] | allow --agent|--client NAME KEY | rotate [--agent|--client NAME] "
                 "KEY|FILE | revoke NAME [KEY] | list",
    .summary = "Make key pairs; allow, rotate, revoke and list those that may connect",
    .help =
        "  make [FILE]                write a new pair to FILE (default: coordinator.key in the "
        "folder\n"
        "                             of keys), mode 0600, never over another, and print its "
        "public\n"
        "                             key\n"
        "  allow --agent NAME KEY     let the agent NAME connect with KEY\n"
        "  allow --client NAME KEY    the same for a client (coordctl on another machine)\n"
        "  rotate FILE                on an agent's host: write its next pair to FILE.next and "
        "print\n"
        "                             the public key; the agent takes it up once it is allowed\n"
        "  rotate --agent NAME KEY    let NAME connect with KEY too, its results go on as one "
        "row,\n"
        "                             and let its present key expire (--overlap)\n"
        "  rotate --client NAME KEY   the same for a client\n"
        "  revoke NAME [KEY]          NAME is out at once: with that key, or with all; with "
        "--agent\n"
        "                             or --client before a NAME that is both\n"
        "  list                       role, name and public key of all, and until when\n\n"
        "KEY is a public key (40 characters) or a file that holds one.\n\n"
        "  --expires WHEN   of the key that is allowed or rotated in: after a time (30d), at one\n"
        "                   (2026-12-24T10:00:00Z), or never\n"
        "  --overlap TIME   how long the key before a rotated one stays allowed; default 1d\n"
        "  --keys FOLDER    the coordinator's folder of keys; default /etc/plimsoll/keys, not "
        "root:\n"
        "                   $XDG_CONFIG_HOME/plimsoll/keys\n\n"
        "But for make and rotate FILE, run it on the coordinator's own machine; a running "
        "coordinator\n"
        "sees the change at once. The time that counts is that of the coordinator's clock. What "
        "was\n"
        "revoked stays known, so that its owner is told, and cannot be allowed again.\n\n"
        "On the host b:          coordctl keys make /etc/plimsoll/agent.key\n"
        "On the coordinator's:   coordctl keys allow --agent b 'the key that make printed'\n"
        "A new key, later, on b: coordctl keys rotate /etc/plimsoll/agent.key\n"
        "On the coordinator's:   coordctl keys rotate --agent b 'the key that rotate printed'\n",
    .run = run,
};

enum { MOST_WORDS = 3 };

struct options {
    const char *folder, *agent, *client, *expires, *overlap;
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

static void print_key(const struct allowed_key *k, int64_t now_ns)
{
    char time[KEY_TIME_BYTES];
    printf("%-7s %-24s %s", key_role_name(k->role), k->name, k->public_z85);
    if (k->revoked_ns != 0)
        printf("  revoked %s", key_time_format(k->revoked_ns, time));
    else if (k->expires_ns != KEY_NEVER_NS)
        printf("  expire%s %s", k->expires_ns > now_ns ? "s" : "d",
               key_time_format(k->expires_ns, time));
    putchar('\n');
}

static int list(const char *folder)
{
    cleanup_err struct err e = ERR_INIT;
    struct key_table *t = NULL;
    if (key_table_load(folder, &t, &e) < 0)
        return complain(&e);
    int64_t now_ns = clock_realtime_ns();
    /* By role, then as the table has them, which is no order that a person sees. */
    static const enum key_role roles[] = {KEY_ROLE_AGENT, KEY_ROLE_CLIENT};
    for (size_t r = 0; r < sizeof roles / sizeof *roles; r++)
        for (size_t i = 0; i < key_table_count(t); i++)
            if (key_table_at(t, i)->role == roles[r])
                print_key(key_table_at(t, i), now_ns);
    if (key_table_count(t) == 0)
        fprintf(stderr, "coordctl keys: nobody may connect: there is no key in %s\n", folder);
    key_table_free(t);
    return EXIT_GOOD;
}

/* A Z85 key as it stands, else the path of a file with one. */
static int read_key(const char *text, char ret_z85[KEY_Z85_BYTES], struct err *e)
{
    if (!key_is_z85(text) && !fs_exists(text))
        return err_set(e, ERR_INPUT,
                       "`%s` is neither a public key (40 characters of Z85) nor a file", text);
    if (!key_is_z85(text))
        return key_public_load(text, ret_z85, e);
    memcpy(ret_z85, text, KEY_Z85_BYTES);
    return 0;
}

/* 0 where nothing was said. */
static int read_expiry(const char *text, int64_t *ret_ns, struct err *e)
{
    int64_t span_ns = 0;
    *ret_ns = 0;
    if (!text)
        return 0;
    if (strcmp(text, "never") == 0) {
        *ret_ns = KEY_NEVER_NS;
        return 0;
    }
    if (units_parse_duration(text, &span_ns, NULL) == 0)
        *ret_ns = clock_realtime_ns() + span_ns;
    else if (key_time_parse(text, ret_ns, e) < 0)
        return err_prefix(e, "--expires (or a time from now like 30d, or never)");
    if (*ret_ns <= clock_realtime_ns())
        return err_set(e, ERR_INPUT, "--expires %s is in the past; `revoke` takes a key away",
                       text);
    return 0;
}

static enum key_role role_of(const struct options *o)
{
    return o->agent ? KEY_ROLE_AGENT : KEY_ROLE_CLIENT;
}

static const char *name_of(const struct options *o)
{
    return o->agent ? o->agent : o->client;
}

static void tell(const struct options *o, const char *what, int64_t expires_ns)
{
    char time[KEY_TIME_BYTES];
    bool ends = expires_ns != 0 && expires_ns != KEY_NEVER_NS;
    fprintf(stderr, "coordctl keys: %s `%s` may connect%s%s%s\n", key_role_name(role_of(o)),
            name_of(o), what, ends ? " until " : "", ends ? key_time_format(expires_ns, time) : "");
}

static int allow(const struct options *o, const char *folder, const char *key)
{
    cleanup_err struct err e = ERR_INIT;
    char public_z85[KEY_Z85_BYTES];
    int64_t expires_ns = 0;
    if (read_key(key, public_z85, &e) < 0 || read_expiry(o->expires, &expires_ns, &e) < 0 ||
        key_table_allow(folder, role_of(o), name_of(o), public_z85, expires_ns, &e) < 0)
        return complain(&e);
    tell(o, "", expires_ns);
    return EXIT_GOOD;
}

static int rotate(const struct options *o, const char *folder, const char *key)
{
    cleanup_err struct err e = ERR_INIT;
    char public_z85[KEY_Z85_BYTES], time[KEY_TIME_BYTES];
    int64_t expires_ns = 0, overlap_ns = 0;
    if (read_key(key, public_z85, &e) < 0 || read_expiry(o->expires, &expires_ns, &e) < 0)
        return complain(&e);
    if (units_parse_duration(o->overlap ? o->overlap : "1d", &overlap_ns, &e) < 0) {
        err_prefix(&e, "--overlap");
        return complain(&e);
    }
    int64_t until_ns = clock_realtime_ns() + overlap_ns;
    if (key_table_rotate(folder, role_of(o), name_of(o), public_z85, expires_ns, until_ns, &e) < 0)
        return complain(&e);
    tell(o, " with this key too", expires_ns);
    fprintf(stderr,
            "coordctl keys: its earlier key is allowed until %s; `revoke %s OLD-KEY` ends it "
            "sooner\n",
            key_time_format(until_ns, time), name_of(o));
    return EXIT_GOOD;
}

/* -1 when it is none or both. */
static int find_role(const char *folder, const char *name, enum key_role *ret, struct err *e)
{
    struct key_table *t = NULL;
    bool found[KEY_ROLE_CLIENT + 1] = {false};
    if (key_table_load(folder, &t, e) < 0)
        return -1;
    for (size_t i = 0; i < key_table_count(t); i++)
        if (strcmp(key_table_at(t, i)->name, name) == 0)
            found[key_table_at(t, i)->role] = true;
    key_table_free(t);
    if (found[KEY_ROLE_AGENT] && found[KEY_ROLE_CLIENT])
        return err_set(e, ERR_INPUT,
                       "`%s` is an agent and a client: say `revoke --agent %s` or "
                       "`revoke --client %s`",
                       name, name, name);
    if (!found[KEY_ROLE_AGENT] && !found[KEY_ROLE_CLIENT])
        return err_set(e, ERR_NOT_FOUND, "nobody of the name `%s` has a key in %s", name, folder);
    *ret = found[KEY_ROLE_AGENT] ? KEY_ROLE_AGENT : KEY_ROLE_CLIENT;
    return 0;
}

static int take_away(const struct options *o, const char *folder, const char *name, const char *key)
{
    cleanup_err struct err e = ERR_INIT;
    char public_z85[KEY_Z85_BYTES];
    enum key_role role = role_of(o);
    if ((key && read_key(key, public_z85, &e) < 0) ||
        (!name_of(o) && find_role(folder, name, &role, &e) < 0) ||
        key_table_revoke(folder, role, name, key ? public_z85 : NULL, &e) < 0)
        return complain(&e);
    fprintf(stderr, "coordctl keys: %s `%s` is out%s\n", key_role_name(role), name,
            key ? " with this key" : "");
    return EXIT_GOOD;
}

static int make_next(const char *path)
{
    cleanup_err struct err e = ERR_INIT;
    struct key_pair present;
    if (key_pair_load(path, &present, &e) < 0)
        return complain(&e);
    sodium_memzero(&present, sizeof present);
    cleanup_free char *next = fs_path("%s.next", path);
    return make(next);
}

static int dispatch_change(const struct options *o, const char *folder, char **words, int n)
{
    bool named = name_of(o) != NULL;
    const char *action = words[0];
    if (strcmp(action, "revoke") == 0 && n + named >= 2 && n + named <= 3 && !o->expires)
        return named ? take_away(o, folder, name_of(o), words[1])
                     : take_away(o, folder, words[1], n == 3 ? words[2] : NULL);
    if (strcmp(action, "allow") == 0 && n == 2 && named)
        return allow(o, folder, words[1]);
    if (strcmp(action, "rotate") == 0 && n == 2)
        return named ? rotate(o, folder, words[1]) : make_next(words[1]);
    return options_complain(&verb_keys,
                            "expected `allow --agent NAME KEY`, `allow --client NAME KEY`, "
                            "`rotate FILE`, `rotate --agent NAME KEY` or `revoke NAME`");
}

static int dispatch(const struct options *o, const char *folder, char **words, int n)
{
    const char *action = n > 0 ? words[0] : "";
    bool named = o->agent || o->client;
    if (o->agent && o->client)
        return options_complain(&verb_keys, "expected one of --agent and --client");
    if (strcmp(action, "make") == 0 && n <= 2 && !named) {
        cleanup_free char *own = fs_path("%s/coordinator.key", folder);
        return make(n == 2 ? words[1] : own);
    }
    if (strcmp(action, "list") == 0 && n == 1 && !named)
        return list(folder);
    if (strcmp(action, "allow") == 0 || strcmp(action, "rotate") == 0 ||
        strcmp(action, "revoke") == 0)
        return dispatch_change(o, folder, words, n);
    return options_complain(&verb_keys,
                            "expected `make [FILE]`, `allow`, `rotate`, `revoke` or `list`");
}

static int run(int argc, char **argv)
{
    struct options o = {0};
    const struct option_row rows[] = {
        {.name = "keys", .text = &o.folder},     {.name = "agent", .text = &o.agent},
        {.name = "client", .text = &o.client},   {.name = "expires", .text = &o.expires},
        {.name = "overlap", .text = &o.overlap}, {.name = NULL},
    };
    char **words = NULL;
    if (options_parse(&verb_keys, argc, argv, rows, 1, MOST_WORDS, &words) < 0)
        return EXIT_USAGE;
    cleanup_free char *folder = o.folder ? fs_path("%s", o.folder) : default_folder();
    int n = 0;
    while (words[n])
        n++;
    return dispatch(&o, folder, words, n);
}
